"""langgraph-plan-execute: a heavy model plans, a light model executes, plain rules decide when to plan again.

This is the front door: what an application imports is listed here. Three more packages may be imported from:
`plan_execute.tools` (tools to give an agent), `plan_execute.graphs.persistence` (stored threads) and
`plan_execute.graphs.report` (a run as a page of HTML). Everything else is private.

Each name is imported when it is first used, so `import plan_execute` costs nothing.
"""

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]  # it has no types

if TYPE_CHECKING:
    from plan_execute.agent.codes import Action as Action
    from plan_execute.agent.codes import DecisionType as DecisionType
    from plan_execute.agent.codes import ErrorCode as ErrorCode
    from plan_execute.agent.codes import EventType as EventType
    from plan_execute.agent.codes import FailureCode as FailureCode
    from plan_execute.agent.codes import MilestoneStatus as MilestoneStatus
    from plan_execute.agent.codes import Role as Role
    from plan_execute.agent.codes import Rule as Rule
    from plan_execute.agent.codes import RunStatus as RunStatus
    from plan_execute.agent.context import Budget as Budget
    from plan_execute.agent.context import Context as Context
    from plan_execute.agent.context import Price as Price
    from plan_execute.agent.errors import ConfigurationError as ConfigurationError
    from plan_execute.agent.errors import ModelError as ModelError
    from plan_execute.agent.errors import PlanExecuteError as PlanExecuteError
    from plan_execute.agent.errors import RequestError as RequestError
    from plan_execute.agent.llm.models import load_model as load_model
    from plan_execute.agent.schemas import PlanDraft as PlanDraft
    from plan_execute.agent.state import Brief as Brief
    from plan_execute.agent.state import Decision as Decision
    from plan_execute.agent.state import ExecutorInput as ExecutorInput
    from plan_execute.agent.state import ExecutorOutput as ExecutorOutput
    from plan_execute.agent.state import Failure as Failure
    from plan_execute.agent.state import LogEntry as LogEntry
    from plan_execute.agent.state import Milestone as Milestone
    from plan_execute.agent.state import ModelUsage as ModelUsage
    from plan_execute.agent.state import Plan as Plan
    from plan_execute.agent.state import PlanExecuteInput as PlanExecuteInput
    from plan_execute.agent.state import PlanExecuteOutput as PlanExecuteOutput
    from plan_execute.agent.state import Requirement as Requirement
    from plan_execute.agent.state import RoleUsage as RoleUsage
    from plan_execute.agent.state import RunError as RunError
    from plan_execute.agent.state import RunState as RunState
    from plan_execute.agent.state import ToolCallRecord as ToolCallRecord
    from plan_execute.graphs.adapters import as_runnable as as_runnable
    from plan_execute.graphs.adapters import as_tool as as_tool
    from plan_execute.graphs.executor import create_executor as create_executor
    from plan_execute.graphs.persistence.checkpointer import open_checkpointer as open_checkpointer
    from plan_execute.graphs.plan_execute import create_plan_execute_agent as create_plan_execute_agent

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "agent.codes": [
            "Action",
            "DecisionType",
            "ErrorCode",
            "EventType",
            "FailureCode",
            "MilestoneStatus",
            "Role",
            "Rule",
            "RunStatus",
        ],
        "agent.context": ["Budget", "Context", "Price"],
        "agent.errors": ["ConfigurationError", "ModelError", "PlanExecuteError", "RequestError"],
        "agent.llm.models": ["load_model"],
        "agent.schemas": ["PlanDraft"],
        "agent.state": [
            "Brief",
            "Decision",
            "ExecutorInput",
            "ExecutorOutput",
            "Failure",
            "LogEntry",
            "Milestone",
            "ModelUsage",
            "Plan",
            "PlanExecuteInput",
            "PlanExecuteOutput",
            "Requirement",
            "RoleUsage",
            "RunError",
            "RunState",
            "ToolCallRecord",
        ],
        "graphs.adapters": ["as_runnable", "as_tool"],
        "graphs.executor": ["create_executor"],
        "graphs.persistence.checkpointer": ["open_checkpointer"],
        "graphs.plan_execute": ["create_plan_execute_agent"],
    },
)
