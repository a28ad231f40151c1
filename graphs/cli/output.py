"""How every command ends: exit status, JSON document, refusal in one sentence.

Imports nothing heavy, so that a wrong command line is refused at once.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from plan_execute.graphs.formatting import visible

COMPLETED, UNFINISHED, MISUSE = 0, 1, 2
"""Exit status: the command did what it says; the run was aborted, is partial or waits; the command cannot work."""

KEYS = ("status", "answer", "error", "objective", "plan", "milestones", "usage", "log")
"""What a run's JSON document takes from its state; it also has the thread's id."""


def document(state: Mapping[str, Any], thread: str | None) -> dict[str, Any]:
    """What --json prints of a run."""
    return {**{key: state.get(key) for key in KEYS}, "thread": thread}


def failure(code: str, message: str, *, status: str | None = None, thread: str | None = None) -> dict[str, Any]:
    """What --json prints where no run has a state to print: the same keys, most of them null."""
    error = {"code": code, "message": message, "milestone": None, "replans": 0}
    return document({"status": status, "error": error}, thread)


def print_json(value: object) -> None:
    """Print a JSON document."""
    print(json.dumps(value, indent=2))


def refuse(error: Exception | str, *, as_json: bool, code: str = "misuse", status: int = MISUSE) -> int:
    """Say in one sentence what cannot work, and give the exit status."""
    if as_json:
        print_json(failure(code, str(error)))
    warn(f"plan-execute: {error}")
    return status


def warn(text: str) -> None:
    """Print a text on stderr."""
    print(visible(text, lines=True), file=sys.stderr)


def refuse_storage(failed: str, error: Exception, advice: str = "", *, as_json: bool) -> int:
    """Say what failed because of the database, and what to do; gives the exit status."""
    from plan_execute.graphs.persistence.checkpointer import describe_storage_error  # it is heavy

    message = f"{failed}: {describe_storage_error(error)}.{advice}"
    return refuse(message, as_json=as_json, code="storage", status=UNFINISHED)
