"""The intake node: resets the keys of the run, and fixes its objective and settings."""

from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.messages import HumanMessage
from langgraph.types import Overwrite

from plan_execute.agent.build import Build
from plan_execute.agent.context import Context
from plan_execute.agent.errors import ConfigurationError
from plan_execute.agent.interrupts import can_interrupt
from plan_execute.agent.llm.attachments import attachments_of, count_attachments
from plan_execute.agent.nodes.chat import start_progress
from plan_execute.agent.nodes.finish import finish_run
from plan_execute.agent.nodes.given_plan import given_of
from plan_execute.agent.redaction import find_secrets
from plan_execute.agent.state import SCHEMA_VERSION, RunState, new_nonce
from plan_execute.agent.trust.tool_kinds import needs_strict

INTERRUPTING = ("review", "approve_tools", "approve_tainted", "ask_user")
"""The settings by which a run is interrupted for a person."""


def begin_run(state: RunState, build: Build) -> dict[str, Any]:
    """Start a new run on the thread; of earlier runs only the conversation remains.

    A resume does not pass here, so a run goes on with the settings it started with.

    Returns:
        The state update: all keys of a run. Not a `RunUpdate`, because `Overwrite` stands in for values.

    Raises:
        ConfigurationError: The settings may interrupt the run, and there is no checkpointer.
    """
    find_secrets()
    context = build.context(None)
    interrupting = [name for name in INTERRUPTING if getattr(context, name) != Context.model_fields[name].default]
    if interrupting and not can_interrupt():
        raise ConfigurationError(
            f"{interrupting[0]!r} needs a checkpointer, which stores the run while it waits for a person: "
            "pass one to create_plan_execute_agent, or to the host graph; open_checkpointer() makes one."
        )
    given = given_of(state)
    objective = _describe_given(given) if given else ""
    if not given or (state["messages"] and isinstance(state["messages"][-1], HumanMessage)):
        objective = next((m.text for m in reversed(state["messages"]) if isinstance(m, HumanMessage)), objective)
    if not objective.strip() and (attached := count_attachments(attachments_of(state["messages"]))):
        objective = f"(no words, only what is attached: {attached})"
    update: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "inputs": {},
        "given": given,
        "objective": objective,
        "settings": {**context.freeze(build.defaults), "trust": _trust(context, build), "nonce": new_nonce()},
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
        message = "The request is empty: say what the agent should do."
        ending = finish_run({"messages": []}, "aborted", code="empty_request", message=message)
        return update | ending | {"log": Overwrite(ending["log"])}
    start_progress(state["messages"])
    return update


def _describe_given(given: Mapping[str, Any]) -> str:
    """Say what a plan is for that comes without a request."""
    plan = given["plan"] if isinstance(given["plan"], dict) else {}
    return str(plan.get("strategy") or "") or "Carry out the given plan."


def _trust(context: Context, build: Build) -> Literal["strict", "open"]:
    """Decide the trust of a run, from its setting and its tools."""
    strict = context.trust == "strict" or (context.trust == "auto" and needs_strict(build.tools.values()))
    return "strict" if strict else "open"
