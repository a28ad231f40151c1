"""Arguments and plans in a person's editor, and plans in files."""

import signal
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import click

from plan_execute.agent.errors import RequestError
from plan_execute.agent.schemas import PlanDraft
from plan_execute.graphs.cli.signals import handle
from plan_execute.graphs.formatting import visible
from plan_execute.graphs.yaml_text import read_yaml, write_yaml


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


def add_comments(text: str, *comments: str) -> str:
    """Put comments at the top of YAML."""
    lines = [f"# {line}\n" for comment in comments for line in comment.splitlines()]
    return "".join([*lines, "\n", text])


def strip_comments(text: str) -> str:
    """Take the comments at the top of YAML away."""
    lines = text.splitlines(keepends=True)
    first = next((n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "".join(lines[first:])


def read_plan(path: str) -> dict[str, Any]:
    """Read a plan from a file; `-` is standard input.

    Raises:
        RequestError: There is no plan in it; one sentence says why.
    """
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise RequestError(f"The plan {path!r} cannot be read ({reason}): name a YAML file.") from None
    try:
        plan = read_yaml(text, {"milestones": ()})
    except ValueError as error:
        raise RequestError(f"The plan {path!r} cannot be read: {error}") from None
    if plan is None:
        raise RequestError(f"The plan {path!r} is empty: plan-execute show THREAD --plan prints one.")
    return plan


def write_plan(plan: Mapping[str, Any], thread: str) -> str:
    """Write a plan as a file, with a line that tells editors its schema."""
    how = f"The plan of thread {thread!r}. To carry it out: plan-execute run plan.yaml"
    schema = "yaml-language-server: $schema=plan.schema.json"
    return add_comments(write_yaml(plan), schema, "plan-execute schema > plan.schema.json", visible(how, strict=True))


def plan_schema() -> dict[str, Any]:
    """Return the JSON schema of a plan in a file: what a planner fills in, of which a person may leave out most."""
    schema = deepcopy(PlanDraft.model_json_schema())
    needed = {
        "PlanDraft": ["milestones"],
        "MilestoneDraft": ["goal"],
        "PinnedCallDraft": ["tool"],
        "YieldDraft": ["name", "kind"],
    }
    for title, required in needed.items():
        form = schema if title == "PlanDraft" else schema["$defs"][title]
        form |= {"required": required, "additionalProperties": False}
    args = schema["$defs"]["PinnedCallDraft"]["properties"]["args"]
    args.pop("type")
    args |= {"anyOf": [{"type": "object"}, {"type": "string"}], "description": "Its arguments, by name."}
    schema["properties"]["answer"]["description"] = "The answer, in which $m1.total stands for the value `total` of m1."
    inputs = {"type": "object", "description": "Values of $input.name where the command gives no others."}
    schema["properties"]["inputs"] = inputs
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
