"""langgraph-plan-execute: a heavy model plans, a light model executes, plain rules decide when to plan again.

This is the front door: what an application imports is listed here. Two more rooms may be imported from:
`plan_execute.tools` (tools to give the agent), `plan_execute.graphs.persistence` (stored threads) and
`plan_execute.graphs.report` (a run as a page of HTML). Everything else is private.

Each name is imported when it is first used (PEP 562), so that `import plan_execute` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plan_execute.agent.context import Budget as Budget
    from plan_execute.agent.context import Context as Context
    from plan_execute.agent.context import Price as Price
    from plan_execute.agent.errors import ConfigurationError as ConfigurationError
    from plan_execute.agent.errors import ModelError as ModelError
    from plan_execute.agent.errors import PlanExecuteError as PlanExecuteError
    from plan_execute.agent.errors import RequestError as RequestError
    from plan_execute.agent.schemas import PlanDraft as PlanDraft
    from plan_execute.graphs.adapters import as_runnable as as_runnable
    from plan_execute.graphs.adapters import as_tool as as_tool
    from plan_execute.graphs.executor import create_executor as create_executor
    from plan_execute.graphs.persistence.checkpointer import open_checkpointer as open_checkpointer
    from plan_execute.graphs.plan_execute import create_plan_execute_agent as create_plan_execute_agent

__version__: str

_EXPORTS = {
    "agent.context": ("Budget", "Context", "Price"),
    "agent.errors": ("ConfigurationError", "ModelError", "PlanExecuteError", "RequestError"),
    "agent.schemas": ("PlanDraft",),
    "graphs.adapters": ("as_runnable", "as_tool"),
    "graphs.executor": ("create_executor",),
    "graphs.persistence.checkpointer": ("open_checkpointer",),
    "graphs.plan_execute": ("create_plan_execute_agent",),
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _EXPORTS.items() for name in names}
__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604 - names of the table above


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # here, because it takes longer than everything else

        return version("langgraph-plan-execute")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
