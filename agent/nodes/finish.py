"""How a run ends: whoever ends it writes status, error, answer and one AI message here."""

from typing import Any, NamedTuple, cast

from langchain_core.messages import AIMessage

from plan_execute.agent.events import log_event
from plan_execute.agent.prompts import DIGEST_LIMIT
from plan_execute.agent.state import ErrorCode, Milestone, Plan, Requirement, Rule, RunError, RunState, RunStatus
from plan_execute.agent.truncation import truncate_middle

NOTHING_LEFT: Rule = "nothing_left"
"""The rule by which a planner goes straight to the answer: it has nothing more to try."""


class Problem(NamedTuple):
    """Why a heavy role produced nothing: the code a run ends with, and the sentence that goes with it."""

    code: ErrorCode
    message: str


def finish_run(
    state: RunState,
    status: RunStatus,
    *,
    answer: str | None = None,
    code: ErrorCode | None = None,
    message: str = "",
    milestone: str | None = None,
) -> dict[str, Any]:
    """Write the end of a run.

    Args:
        state: The run, with everything that is part of its ending already in it.
        status: `completed`, `partial` or `aborted`.
        answer: The text, where there is one.
        code: Why it did not complete; None for a completed run.
        message: The same in words a person can act on.
        milestone: The milestone it stopped at.

    Returns:
        The state update.
    """
    plan = state.get("plan")
    if plan is not None and status != "completed":
        plan = _mark_unmet(plan, state["milestones"])
        message = f"{message} {describe_unmet(plan)}".strip()
    error = None
    if code is not None:
        error = RunError(code=code, message=message, milestone=milestone, replans=state.get("replans", 0))
    revision = plan["revision"] if plan else 0
    # Who sees nothing but the conversation is to know how the run ended.
    text = f"{message}\n\n{describe_finished(state.get('milestones') or {})}".strip()
    if answer is not None:
        text = answer if status == "completed" else f"{answer}\n\nNot complete: {message}"
    entry = log_event("answer", revision=revision, status=status, code=code, reason=message, answer=answer)
    if plan is not None:
        entry["requirements"] = plan["requirements"]
    return {
        "plan": plan,
        "status": status,
        "error": error,
        "answer": answer,
        "messages": [AIMessage(text)],
        "log": [entry],
    }


def ended_early(state: RunState) -> Problem | None:
    """Why the gate finished the run before all its work was done; None where it was done."""
    decision = state["decision"]
    if decision is None or decision["action"] != "finish" or decision["code"] is None:
        return None
    return Problem(cast("ErrorCode", decision["code"]), decision["reason"])  # rules that finish have codes of a run


def describe_finished(milestones: dict[str, Milestone]) -> str:
    """List what was finished with its results, for an answer put together without a model."""
    done = [milestone for milestone in milestones.values() if milestone["status"] == "completed"]
    return "\n".join(
        f"- {milestone['goal']}: {truncate_middle(milestone['result'], DIGEST_LIMIT)}" for milestone in done
    )


def describe_unmet(plan: Plan) -> str:
    """Name the requirements that are not met, with what is missing."""
    unmet = [
        f"{r['number']}. {r['text']}" + (f" ({r['note']})" if r["note"] else "")
        for r in plan["requirements"]
        if r["met"] is False
    ]
    return f"Unmet: {'; '.join(unmet)}" if unmet else ""


def _mark_unmet(plan: Plan, milestones: dict[str, Milestone]) -> Plan:
    """Mark every requirement unmet that was not judged and that no completed milestone covers."""
    done = {n for milestone in milestones.values() if milestone["status"] == "completed" for n in milestone["covers"]}
    requirements: list[Requirement] = [
        {**requirement, "met": False, "note": "not reached"}
        if requirement["met"] is None and requirement["number"] not in done
        else requirement
        for requirement in plan["requirements"]
    ]
    return {**plan, "requirements": requirements}
