"""The compiled graphs and how to make them; each is imported when it is first asked for, so that `--help` need not."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plan_execute.graphs.adapters import as_runnable, as_tool
    from plan_execute.graphs.executor import create_executor
    from plan_execute.graphs.persistence.checkpointer import open_checkpointer
    from plan_execute.graphs.plan_execute import create_plan_execute_agent

__all__ = ["as_runnable", "as_tool", "create_executor", "create_plan_execute_agent", "open_checkpointer"]

_HOMES = {
    "as_runnable": "plan_execute.graphs.adapters",
    "as_tool": "plan_execute.graphs.adapters",
    "create_executor": "plan_execute.graphs.executor",
    "create_plan_execute_agent": "plan_execute.graphs.plan_execute",
    "open_checkpointer": "plan_execute.graphs.persistence.checkpointer",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
