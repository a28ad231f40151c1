"""Where every new input enters: the run's keys are reset, its objective and settings fixed."""

from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.types import Overwrite

from plan_execute.agent.build import Build
from plan_execute.agent.context import Context
from plan_execute.agent.errors import ConfigurationError
from plan_execute.agent.interrupts import can_interrupt
from plan_execute.agent.nodes.finish import finish_run
from plan_execute.agent.state import SCHEMA_VERSION, RunState

ASKING = ("review", "approve_tools", "ask_user")
"""The settings by which a person is asked."""


def begin_run(state: RunState, build: Build) -> dict[str, Any]:
    """Start a run of its own on whatever the thread holds; only the conversation is kept.

    A resume does not pass here, so a run goes on with the settings it began with.

    Raises:
        ConfigurationError: The settings want a person to be asked, and there is no checkpointer to wait for him.
    """
    context = build.context(None)
    wants = [name for name in ASKING if getattr(context, name) != Context.model_fields[name].default]
    if wants and not can_interrupt():
        raise ConfigurationError(
            f"{wants[0]!r} needs a checkpointer, which keeps the run while a person is asked: "
            "give one to create_plan_execute_agent, or to the graph around it; open_checkpointer() makes one."
        )
    objective = next((m.text for m in reversed(state["messages"]) if isinstance(m, HumanMessage)), "")
    update: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "objective": objective,
        "settings": context.freeze(),
        "plan": None,
        "milestones": Overwrite({}),
        "decision": None,
        "replans": 0,
        "usage": Overwrite({}),
        "log": Overwrite([]),
        "status": "running",
        "error": None,
        "answer": None,
        "structured_response": None,
        "seconds": Overwrite(0.0),
    }
    if not objective.strip():
        message = "The request is empty: say what the agent is to do."
        ending = finish_run({"messages": []}, "aborted", code="empty_request", message=message)
        update |= ending | {"log": Overwrite(ending["log"])}
    return update
