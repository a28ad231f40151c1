"""The review node: interrupts the run for a person to approve, edit, reject or comment on a plan before it runs."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from langgraph.types import Overwrite
from pydantic import ValidationError

from plan_execute.agent.build import Build
from plan_execute.agent.codes import DecisionType
from plan_execute.agent.context import Context
from plan_execute.agent.errors import validation_problems
from plan_execute.agent.events import log_event
from plan_execute.agent.interrupts import (
    EDITED,
    REVIEW_PLAN,
    HumanDecision,
    HumanRequest,
    InvalidAnswer,
    interrupt_for_decision,
)
from plan_execute.agent.nodes.chat import show_progress
from plan_execute.agent.nodes.finish import finish_run
from plan_execute.agent.nodes.hand_over import permissions_needed
from plan_execute.agent.nodes.plan_validation import objections_to
from plan_execute.agent.nodes.planner import adopt_plan, approvals
from plan_execute.agent.nodes.replan_gate import ready_milestones, start_milestones
from plan_execute.agent.prompts import DIGEST_LIMIT
from plan_execute.agent.schemas import PlanDraft
from plan_execute.agent.state import (
    Decision,
    LogEntry,
    Milestone,
    RunState,
    RunUpdate,
    Spent,
    merge_milestones,
    revision_of,
    with_status,
)
from plan_execute.agent.truncation import truncate_middle

PINNED = ("calls", "yields", "open")
"""Fields of a milestone that a person is shown only where there is something in them."""


class PlanText(NamedTuple):
    """How a plan is a text that a person reads and edits."""

    write: Callable[[Mapping[str, Any]], str]
    read: Callable[[str, Mapping[str, Any]], dict[str, Any] | None]
    """Given the text, and the plan as it was. Raises ValueError, with a sentence, for what is no plan."""


def review_plan(state: RunState, build: Build, text: PlanText) -> RunUpdate:
    """Interrupt for a person's decision about the plan, and carry it out.

    Approved, the plan runs. Edited, it is validated like a planner's draft and runs as the next revision. Rejected, the
    plan is made anew for the reason that was given, at most `max_replans` times; without one the run is aborted. A
    comment goes back to the planner. An invalid edit is asked for again with the reason. A plan whose
    remaining work was approved before is not asked about again.

    Returns:
        The state update: `decision` and `log`; with a round that starts also `milestones`, with an edit also `plan`,
        with a rejection the keys of `finish_run`.
    """
    context = build.context(state["settings"])
    if any(entry.get("fingerprint") == fingerprint(state) for entry in approvals(state)):
        return _approve(state, context, "approved before")

    def handle(decision: HumanDecision) -> RunUpdate | InvalidAnswer:
        match decision.type:
            case "approve":
                return _approve(state, context, "approved")
            case "reject":
                return _reject(state, context, decision.message.strip())
            case "respond":
                return _plan_again(state, decision.message)
            case "edit":
                args = _read_edit(state, decision.edited_action.get("args"), text)
                return args if isinstance(args, InvalidAnswer) else _edit(state, build, context, args)

    return interrupt_for_decision(_review_request(state, context, text), handle)


def fingerprint(state: RunState) -> str:
    """Hash the work a plan has left, in order: goals, ends, tools, dependencies, coverage, and what is pinned."""
    milestones = state["milestones"]
    left: list[list[Any]] = []
    for m in _remaining(state):
        depends_on = [milestones[key]["goal"] for key in m["depends_on"]]
        pinned = [m.get(name) for name in PINNED]
        left.append([m["goal"], m["done_when"], m["tools"], depends_on, m["covers"], *(pinned if any(pinned) else ())])
    return hashlib.sha256(json.dumps(left).encode()).hexdigest()


def _review_request(state: RunState, context: Context, text: PlanText) -> HumanRequest:
    plan = state["plan"]
    assert plan is not None
    lines = [line for milestone in _remaining(state) for line in _describe_milestone(milestone)]
    needed = permissions_needed(state, PlanDraft.model_validate(editable_plan(state)))
    permitted = ["By approving it you permit:", *(f"- {text}" for text in needed)] if needed else []
    description = "\n".join([f"Plan, revision {plan['revision']}: {plan['strategy']}", *lines, *permitted])
    args = editable_plan(state)
    if context.client == "chat":  # which shows each argument in a field of its own, as one line if it is no text
        args = {"plan": text.write(args)}
    allowed: tuple[DecisionType, ...] = ("approve", "edit", "reject", "respond")
    return HumanRequest(REVIEW_PLAN, args, description, allowed, takes_words=True)


def _describe_milestone(milestone: Milestone) -> list[str]:
    calls = [f"   {call['tool']}({truncate_middle(call['args'], DIGEST_LIMIT)})" for call in milestone.get("calls", ())]
    return [f"{milestone['id']}. {milestone['goal']}", *calls]


def editable_plan(state: RunState) -> dict[str, Any]:
    """Return the part of a plan that a person may change, as a planner writes it."""
    plan = state["plan"]
    assert plan is not None
    fields = ("id", "goal", "done_when", "tools", "depends_on", "covers", "pitfalls")
    answer = {"answer": plan["answer"]} if plan.get("answer") else {}
    return {
        "strategy": plan["strategy"],
        "requirements": [requirement["text"] for requirement in plan["requirements"]],
        **answer,
        "milestones": [
            {name: value for name, value in milestone.items() if name in fields or (name in PINNED and value)}
            for milestone in _remaining(state)
        ],
    }


def _read_edit(state: RunState, args: object, text: PlanText) -> object | InvalidAnswer:
    """Read the plan out of edited arguments, where it is a text."""
    if not isinstance(args, dict) or not isinstance(written := args.get("plan"), str):
        return args
    plan = editable_plan(state)
    if written.split() == text.write(plan).split():  # forms change what is at the ends of lines
        return plan
    try:
        return text.read(written, plan)
    except ValueError as error:
        return InvalidAnswer(str(error))


def _edit(state: RunState, build: Build, context: Context, args: object) -> RunUpdate | InvalidAnswer:
    """Adopt an edited plan as the next revision; one without changes is approved."""
    if args == editable_plan(state):
        return _approve(state, context, "approved")
    try:
        draft = PlanDraft.model_validate({**editable_plan(state), **args} if isinstance(args, dict) else args)
    except ValidationError as error:
        return InvalidAnswer(f"{validation_problems(error, 'the plan')[0]}.")
    plan = state["plan"]
    finished = with_status(state["milestones"], "completed")
    # As long as nothing is finished, a person may reword the requirements too.
    frozen = plan["requirements"] if plan and finished else ()
    objections = objections_to(draft, build, context, requirements=frozen, finished=finished)
    if not draft.milestones:
        objections = ["a plan needs at least one milestone; reject it to end the run."]
    if objections:
        return InvalidAnswer(" ".join(objections))
    decision = Decision(action="replan", rule="edited", reason=EDITED, code=None, milestones=[])
    before: RunState = {**state, "decision": decision}
    if plan and not finished:
        before["plan"] = {**plan, "requirements": []}
    update = adopt_plan(before, build, context, draft, Spent(usage={}, seconds=0.0), reviewed=True)
    written: Any = update["milestones"]
    milestones = written.value if isinstance(written, Overwrite) else {**state["milestones"], **written}
    edited: RunState = {**state, "milestones": milestones, "plan": update["plan"]}
    return {**update, "log": [*update["log"], _log_review(edited, "edit", "edited")]}


def _approve(state: RunState, context: Context, reason: str) -> RunUpdate:
    keys = ready_milestones(state["milestones"], context.max_parallel)
    started, log = start_milestones(state["milestones"], keys, revision_of(state))
    show_progress(state["messages"], state["plan"], merge_milestones(state["milestones"], [started]))
    decision = Decision(action="continue", rule="reviewed", reason=reason, code=None, milestones=keys)
    return {"milestones": started, "decision": decision, "log": [_log_review(state, "approve", reason), *log]}


def _reject(state: RunState, context: Context, message: str) -> RunUpdate:
    """Plan anew for the reason that was given, unless that was done as often as it may be; without one, end the run."""
    reason = f"The plan was rejected: {message}" if message else "The plan was rejected."
    before = sum(entry["type"] == "plan_reviewed" and entry["rule"] == "reject" for entry in state["log"])
    if message and before < context.max_replans:
        decision = Decision(action="replan", rule="comment", reason=reason, code=None, milestones=[])
        return {"decision": decision, "log": [_log_review(state, "reject", reason)]}
    ended = finish_run(state, "aborted", code="rejected", message=reason)
    return {**ended, "log": [_log_review(state, "reject", reason), *ended["log"]]}


def _plan_again(state: RunState, message: str) -> RunUpdate:
    reason = f"A person commented on this plan: {message}"
    decision = Decision(action="replan", rule="comment", reason=reason, code=None, milestones=[])
    return {"decision": decision, "log": [_log_review(state, "respond", reason)]}


def _log_review(state: RunState, rule: DecisionType, reason: str) -> LogEntry:
    return log_event(
        "plan_reviewed", revision=revision_of(state), rule=rule, reason=reason, fingerprint=fingerprint(state)
    )


def _remaining(state: RunState) -> list[Milestone]:
    return list(with_status(state["milestones"], "pending", "running").values())
