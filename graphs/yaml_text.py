"""YAML: arguments and plans as a text that a person reads and edits."""

import json
from collections.abc import Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]  # its types are a package of their own

from plan_execute.agent.truncation import json_safe
from plan_execute.graphs.formatting import visible


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # it has no types
    """Writes texts with invisible characters in quotes, where YAML reads escapes."""


def _represent_text(dumper: _Dumper, text: str) -> Any:
    hidden = visible(text, lines=True, strict=True) != text
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if hidden else None)


_Dumper.add_representer(str, _represent_text)


def write_yaml(args: Mapping[str, Any]) -> str:
    """Write arguments as YAML, so that a person sees all that is in them: what is invisible is an escape."""
    text = yaml.dump(dict(args), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return visible(text, lines=True, strict=True)


def write_plan(plan: Mapping[str, Any]) -> str:
    """Write a plan as YAML, without what is empty, and lists of names on one line."""
    filled = {name: value for name, value in plan.items() if value not in ("", [])}
    filled["milestones"] = [
        {name: value for name, value in milestone.items() if value not in ("", [])} for milestone in plan["milestones"]
    ]
    text = yaml.dump(filled, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
    return visible(text, lines=True, strict=True)


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
