"""Opens arguments as YAML in a person's editor, and reads what they saved."""

import json
import signal
from collections.abc import Mapping
from typing import Any

import click
import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from plan_execute.agent.truncation import json_safe
from plan_execute.graphs.cli.signals import handle


def edit(text: str) -> str:
    """Open text in the person's editor, $VISUAL or $EDITOR, and give what they saved.

    Raises:
        OSError: There is no editor, or it failed; one sentence says it.
    """
    try:
        with handle(lambda *_: None, signal.SIGINT):  # Ctrl-C is for the editor
            return click.edit(text, extension=".yaml", require_save=False) or ""
    except (click.ClickException, ValueError) as error:
        reason = error.message if isinstance(error, click.ClickException) else error
        raise OSError(f"The editor does not work ({reason}): name another in the environment as EDITOR.") from None


def write_yaml(args: Mapping[str, Any]) -> str:
    """Write arguments as YAML."""
    text: str = yaml.safe_dump(dict(args), sort_keys=False, allow_unicode=True, width=100)
    return text


def add_comments(text: str, *comments: str) -> str:
    """Put comments at the top of YAML."""
    lines = [f"# {line}\n" for comment in comments for line in comment.splitlines()]
    return "".join([*lines, "\n", text])


def strip_comments(text: str) -> str:
    """Take the comments at the top of YAML away."""
    lines = text.splitlines(keepends=True)
    first = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "".join(lines[first:])


def read_yaml(text: str, before: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read edited arguments as plain JSON data.

    Args:
        text: The YAML.
        before: The arguments as they were, whose names a message can tell.

    Returns:
        The arguments; None if there is nothing in the text.

    Raises:
        ValueError: They cannot be read; the message says where.
    """
    try:
        # Through JSON, because YAML also has dates and the like, which no arguments have.
        args = json_safe(json.loads(json.dumps(yaml.safe_load(text), default=str)))
    except yaml.YAMLError as error:
        raise ValueError(_describe_problem(error, text)) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"this cannot be read ({error}).") from None
    if args is None:
        return None
    if not isinstance(args, dict):
        raise ValueError(f"expected {', '.join(f'{name}:' for name in before)} each at the beginning of a line.")
    return args


def _describe_problem(error: yaml.YAMLError, text: str) -> str:
    problem, mark = getattr(error, "problem", None) or str(error), getattr(error, "problem_mark", None)
    lines = text.splitlines()
    where = f" at {lines[mark.line].strip()!r}" if mark and mark.line < len(lines) else ""
    return f"this is not YAML: {problem}{where}."
