"""The end of a run: every node that ends one writes status, error, answer and one AI message here."""

from typing import NamedTuple, cast

from langchain_core.messages import AIMessage

from plan_execute.agent.codes import ErrorCode, Rule, RunStatus
from plan_execute.agent.events import log_event
from plan_execute.agent.nodes.chat import remove_progress
from plan_execute.agent.nodes.hand_over import handed_over, plan_handed_over
from plan_execute.agent.prompts import DIGEST_LIMIT
from plan_execute.agent.state import (
    Milestone,
    Plan,
    Requirement,
    RunError,
    RunState,
    RunUpdate,
    revision_of,
    with_status,
)
from plan_execute.agent.truncation import truncate_middle

NOTHING_LEFT: Rule = "nothing_left"
"""The rule by which the planner goes straight to the answer: it has nothing more to try."""


class Problem(NamedTuple):
    """Why a heavy role has no result: the code that the run ends with, and a sentence for a person."""

    code: ErrorCode
    message: str
    prose: str = ""
    """What the role said instead; its answer, if it is the synthesizer."""


def finish_run(
    state: RunState,
    status: RunStatus,
    *,
    answer: str | None = None,
    code: ErrorCode | None = None,
    message: str = "",
    milestone: str | None = None,
) -> RunUpdate:
    """Write the end of a run.

    Args:
        state: The run; `plan`, `milestones` and `replans` may be missing.
        status: `completed`, `partial` or `aborted`.
        answer: The answer, if there is one.
        code: Why it did not complete; None for a completed run.
        message: The same in a sentence a person can act on.
        milestone: The milestone it stopped at.

    Returns:
        The state update: `plan`, `status`, `error`, `answer`, `messages`, `log`.
    """
    plan = state.get("plan")
    if plan is not None and status != "completed":
        plan = _mark_unmet(plan, state["milestones"])
        if code != "unsupported":  # its message says all
            message = f"{message} {describe_unmet(plan_handed_over(state, plan))}".strip()
    error = None
    if code is not None:
        error = RunError(code=code, message=message, milestone=milestone, replans=state.get("replans", 0))
    # The conversation alone should tell how the run ended.
    text = f"{message}\n\n{describe_finished(state)}".strip()
    if answer is not None:
        why = message if code == "not_checked" else f"Not complete: {message}"
        text = answer if status == "completed" else f"{answer}\n\n{why}"
    entry = log_event("answer", revision=revision_of(state), status=status, code=code, reason=message, answer=answer)
    if plan is not None:
        entry["requirements"] = plan["requirements"]
    return {
        "plan": plan,
        "status": status,
        "error": error,
        "answer": answer,
        "messages": [*remove_progress(state["messages"]), AIMessage(text)],
        "log": [entry],
    }


def ended_early(state: RunState) -> Problem | None:
    """Return why the gate finished the run before its work was done; None where it was done."""
    decision = state["decision"]
    if decision is None or decision["action"] != "finish" or decision["code"] is None:
        return None
    return Problem(cast("ErrorCode", decision["code"]), decision["reason"])  # rules that finish have run codes


def describe_finished(state: RunState) -> str:
    """List the finished milestones with their results, for an answer without a model."""
    done = with_status(handed_over(state, texts=True), "completed").values()
    return "\n".join(f"- {m['goal']}: {truncate_middle(m['result'], DIGEST_LIMIT)}" for m in done)


def describe_unmet(plan: Plan) -> str:
    """Name the unmet requirements, with what is missing."""
    unmet = [
        f"{r['number']}. {r['text']}" + (f" ({r['note']})" if r["note"] else "")
        for r in plan["requirements"]
        if r["met"] is False
    ]
    return f"Unmet: {'; '.join(unmet)}" if unmet else ""


def _mark_unmet(plan: Plan, milestones: dict[str, Milestone]) -> Plan:
    """Mark as unmet every requirement that was not judged and that no completed milestone covers."""
    done = {number for m in with_status(milestones, "completed").values() for number in m["covers"]}
    requirements: list[Requirement] = [
        {**requirement, "met": False, "note": "not reached"}
        if requirement["met"] is None and requirement["number"] not in done
        else requirement
        for requirement in plan["requirements"]
    ]
    return {**plan, "requirements": requirements}
