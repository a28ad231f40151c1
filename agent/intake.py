"""Where every new input enters: the run's keys are reset, its objective and settings fixed."""

from typing import Any

from langchain_core.messages import HumanMessage

from plan_execute.agent.outcome import conclude
from plan_execute.agent.setup import Setup
from plan_execute.agent.state import SCHEMA_VERSION, RunState, fresh


def begin_run(state: RunState, setup: Setup) -> dict[str, Any]:
    """Start a run of its own on whatever the thread holds; only the conversation is kept.

    A resume does not pass here, so a run goes on with the settings it began with.
    """
    objective = next((m.text for m in reversed(state["messages"]) if isinstance(m, HumanMessage)), "")
    update: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "objective": objective,
        "settings": setup.context(None).freeze(),
        "plan": None,
        "milestones": fresh({}),
        "decision": None,
        "replans": 0,
        "usage": fresh({}),
        "log": fresh([]),
        "status": "running",
        "error": None,
        "answer": None,
        "structured_response": None,
        "seconds": fresh(0.0),
    }
    if not objective.strip():
        message = "The request is empty: say what the agent is to do."
        ending = conclude({"messages": []}, "aborted", code="empty_request", message=message)
        update |= ending | {"log": fresh(ending["log"])}
    return update
