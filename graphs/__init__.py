"""The compiled graphs, how to make them, and what can be done with their threads."""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from plan_execute.graphs.adapters import as_runnable as as_runnable
    from plan_execute.graphs.adapters import as_tool as as_tool
    from plan_execute.graphs.executor import create_executor as create_executor
    from plan_execute.graphs.persistence.checkpointer import open_checkpointer as open_checkpointer
    from plan_execute.graphs.plan_execute import create_plan_execute_agent as create_plan_execute_agent

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "adapters": ["as_runnable", "as_tool"],
        "executor": ["create_executor"],
        "persistence.checkpointer": ["open_checkpointer"],
        "plan_execute": ["create_plan_execute_agent"],
    },
)
