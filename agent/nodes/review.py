"""The review: a person approves, edits, rejects or comments on a plan before it runs."""

import hashlib
import json
from typing import Any

from pydantic import ValidationError

from plan_execute.agent.build import Build
from plan_execute.agent.context import Context
from plan_execute.agent.events import log_event
from plan_execute.agent.interrupts import (
    EDITED,
    REVIEW_PLAN,
    HumanDecision,
    HumanRequest,
    InvalidAnswer,
    interrupt_for_decision,
)
from plan_execute.agent.nodes.finish import finish_run
from plan_execute.agent.nodes.plan_validation import validate_draft
from plan_execute.agent.nodes.planner import adopt_plan, approvals
from plan_execute.agent.nodes.replan_gate import ready_milestones, start_milestones
from plan_execute.agent.schemas import PlanDraft
from plan_execute.agent.state import Decision, Milestone, RunState, Spent


def review_plan(state: RunState, build: Build) -> dict[str, Any]:
    """Show a person the plan and do as he says.

    Approved, it runs. Edited, it is checked like a planner's draft and, if it will do, runs as the next revision.
    Rejected, the run is aborted. A comment goes back to the planner. What will not do is asked for again with the
    reason. A plan whose remaining work was approved before is not asked about twice.

    Returns:
        The state update: a round started, a revision, a decision to plan again, or a typed ending.
    """
    context = build.context(state["settings"])
    if any(entry.get("fingerprint") == fingerprint(state) for entry in approvals(state)):
        return _approve(state, context, "approved before")

    def take(verdict: HumanDecision) -> dict[str, Any] | InvalidAnswer:
        match verdict.type:
            case "approve":
                return _approve(state, context, "approved")
            case "reject":
                return _reject(state, verdict.message)
            case "respond":
                return _plan_again(state, verdict.message)
            case "edit":
                return _edit(state, build, context, verdict.edited_action.get("args"))

    return interrupt_for_decision(_asking(state), take)


def fingerprint(state: RunState) -> str:
    """The work a plan has left, compared exactly: goals, ends, tools, dependencies, coverage, in their order."""
    known = state["milestones"]
    left = [
        [m["goal"], m["done_when"], m["tools"], [known[key]["goal"] for key in m["depends_on"]], m["covers"]]
        for m in _left(state)
    ]
    return hashlib.sha256(json.dumps(left).encode()).hexdigest()


def _asking(state: RunState) -> HumanRequest:
    plan = state["plan"]
    assert plan is not None
    lines = [f"{m['id']}. {m['goal']}" for m in _left(state)]
    description = "\n".join([f"Plan, revision {plan['revision']}: {plan['strategy']}", *lines])
    return HumanRequest(REVIEW_PLAN, editable_plan(state), description, ("approve", "edit", "reject", "respond"))


def editable_plan(state: RunState) -> dict[str, Any]:
    """The part of a plan that a person may change, in the form a planner writes it."""
    plan = state["plan"]
    assert plan is not None
    fields = ("id", "goal", "done_when", "tools", "depends_on", "covers", "pitfalls")
    return {
        "strategy": plan["strategy"],
        "requirements": [requirement["text"] for requirement in plan["requirements"]],
        "milestones": [{name: milestone[name] for name in fields} for milestone in _left(state)],  # type: ignore[literal-required]  # names of fields
    }


def _edit(state: RunState, build: Build, context: Context, args: object) -> dict[str, Any] | InvalidAnswer:
    """Adopt an edited plan as the next revision; one in which nothing was changed is approved."""
    if args == editable_plan(state):
        return _approve(state, context, "approved")
    try:
        draft = PlanDraft.model_validate({**editable_plan(state), **args} if isinstance(args, dict) else args)
    except ValidationError as error:
        first = error.errors()[0]
        return InvalidAnswer(f"{'.'.join(map(str, first['loc'])) or 'the plan'}: {first['msg']}.")
    plan = state["plan"]
    finished = {key: m for key, m in state["milestones"].items() if m["status"] == "completed"}
    # What a person asks for counts, so before anything is done he may reword requirements, too.
    frozen = plan["requirements"] if plan and finished else ()
    objections = validate_draft(
        draft, tools=build.tools, max_milestones=context.milestone_limit, requirements=frozen, finished=finished
    )
    if not draft.milestones:
        objections = ["a plan needs at least one milestone; reject it to end the run."]
    if objections:
        return InvalidAnswer(" ".join(objections))
    decision = Decision(action="replan", rule="edited", reason=EDITED, code=None, milestones=[])
    before: RunState = {**state, "decision": decision}
    if plan and not finished:
        before["plan"] = {**plan, "requirements": []}
    update = adopt_plan(before, build, context, draft, Spent(usage={}, seconds=0.0), reviewed=True)
    merged: RunState = {**state, "milestones": {**state["milestones"], **update["milestones"]}, "plan": update["plan"]}
    return {**update, "log": [*update["log"], _entry(merged, "edit", "edited")]}


def _approve(state: RunState, context: Context, reason: str) -> dict[str, Any]:
    plan = state["plan"]
    keys = ready_milestones(state["milestones"], context.max_parallel)
    started, log = start_milestones(state["milestones"], keys, plan["revision"] if plan else 0)
    decision = Decision(action="continue", rule="reviewed", reason=reason, code=None, milestones=keys)
    return {"milestones": started, "decision": decision, "log": [_entry(state, "approve", reason), *log]}


def _reject(state: RunState, message: str) -> dict[str, Any]:
    reason = f"The plan was rejected: {message}" if message else "The plan was rejected."
    ended = finish_run(state, "aborted", code="rejected", message=reason)
    return {**ended, "log": [_entry(state, "reject", reason), *ended["log"]]}


def _plan_again(state: RunState, message: str) -> dict[str, Any]:
    reason = f"The person who asked says of this plan: {message}"
    decision = Decision(action="replan", rule="comment", reason=reason, code=None, milestones=[])
    return {"decision": decision, "log": [_entry(state, "respond", reason)]}


def _entry(state: RunState, verdict: str, reason: str) -> Any:
    plan = state["plan"]
    return log_event(
        "plan_reviewed",
        revision=plan["revision"] if plan else 0,
        rule=verdict,
        reason=reason,
        fingerprint=fingerprint(state),
    )


def _left(state: RunState) -> list[Milestone]:
    return [m for m in state["milestones"].values() if m["status"] in {"pending", "running"}]
