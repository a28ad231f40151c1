"""The planner: turns the objective, or what is left of it, into milestones."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from pydantic import ValidationError

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.context import Context
from plan_execute.agent.errors import ModelError
from plan_execute.agent.events import log_event
from plan_execute.agent.llm.models import compact_forms, find_model, find_other_models
from plan_execute.agent.llm.parsing import Reply
from plan_execute.agent.llm.structured_output import (
    Dialogue,
    Question,
    as_reply,
    describe_no_reply,
    is_worth_repeating,
    question_options,
)
from plan_execute.agent.llm.usage import crossed_budget, heavy_calls, measured, total
from plan_execute.agent.nodes.finish import NOTHING_LEFT, Problem, describe_finished, finish_run
from plan_execute.agent.nodes.plan_validation import adopt_draft, validate_draft
from plan_execute.agent.nodes.replan_gate import ready_milestones, start_milestones
from plan_execute.agent.schemas import PlanDraft
from plan_execute.agent.state import (
    Decision,
    ErrorCode,
    LogEntry,
    Milestone,
    Plan,
    Rule,
    RunState,
    Spent,
    merge_milestones,
)
from plan_execute.agent.truncation import truncate_middle

REPAIRS = 2
"""How often one draft may be sent back, or its call repeated, before the planner is given up."""
REVIEW_DUE: Rule = "review_due"
"""The rule by which a plan waits for a person before its first round."""


def make_plan(state: RunState, build: Build) -> Dialogue[dict[str, Any]]:
    """Make the first plan or the next revision.

    The draft is checked before anything runs; what is wrong with it goes back to the model at most `REPAIRS` times.

    Returns:
        The state update: a plan with its first round started, a direct answer, or a typed ending.
    """
    context = build.context(state["settings"])
    spent = Spent(usage={}, seconds=0.0)
    code: ErrorCode = "planner_unavailable"
    try:
        model = yield from find_model("planner", context)
        code = "model_unavailable"
        yield from find_other_models(context, structured=build.response_format is not None)
    except ModelError as error:
        return _give_up(state, Problem(code, str(error)), spent)
    draft = yield from measured("planner", context, _draft(state, build, context, model, spent), spent)
    if isinstance(draft, Problem):
        return _give_up(state, draft, spent)
    if not draft.milestones:
        return _plan_nothing(state, build, draft, spent)
    if crossed := crossed_budget(context.budget, state, spent):
        return _give_up(state, Problem("budget", f"Crossed {crossed}."), spent)
    return adopt_plan(state, build, context, draft, spent)


def _draft(
    state: RunState, build: Build, context: Context, model: BaseChatModel, spent: Spent
) -> Dialogue[PlanDraft | Problem]:
    """Ask until a draft may run, or the repairs are used up."""
    asked = _question_messages(state, build, context)
    repair: list[BaseMessage] = []
    objections: list[str] = []
    problem = Problem("planner_unavailable", "The planner was not asked.")
    for attempt in range(1, 2 + REPAIRS):
        most = context.budget.heavy_calls
        if most is not None and heavy_calls(total(state, spent)["usage"]) >= most:
            return Problem("budget", f"The budget of {most} heavy calls is used up.")
        if repair and (crossed := crossed_budget(context.budget, state, spent)):
            return Problem("budget", f"Crossed {crossed}. {problem.message}")
        if forms := compact_forms(model):
            tools = list(build.tools.values())
            reply = yield from as_reply(
                forms.draft_plan(state["objective"], tools, objections=objections, milestones=state["milestones"])
            )
        else:
            reply = yield Question(model, [*asked, *repair], PlanDraft, **question_options(context, state["seconds"]))
        if reply.error is not None:
            problem = Problem("planner_unavailable", describe_no_reply("planner", model, reply.error))
            if not is_worth_repeating(reply.error):
                break
            continue
        draft, objections = _read(reply, state, build, context)
        if draft is not None and not objections:
            return draft
        tries = f"{attempt} attempts" if attempt > 1 else "1 attempt"
        problem = Problem(
            "plan_unparsable" if draft is None else "plan_invalid",
            f"The planner gave no usable plan in {tries}: {' '.join(objections)}",
        )
        said = draft.model_dump_json() if draft else reply.text
        quoted = AIMessage(truncate_middle(said or "(nothing)", prompts.RESULT_LIMIT))
        advice = [] if draft else [f"{reply.advice} Fill in the PlanDraft schema.".strip()]
        repair = [quoted, prompts.objection_message([*objections, *advice])]
    return problem


def _question_messages(state: RunState, build: Build, context: Context) -> list[BaseMessage]:
    progress = None
    if plan := state["plan"]:
        decision = state["decision"]
        progress = prompts.describe_progress(plan, state["milestones"], decision["reason"] if decision else "")
    return prompts.planner_messages(
        state["objective"],
        tools=list(build.tools.values()),
        context=context,
        conversation=_conversation(state),
        progress=progress,
    )


def _read(reply: Reply, state: RunState, build: Build, context: Context) -> tuple[PlanDraft | None, list[str]]:
    """Turn a reply into a draft and what is wrong with it; no draft when it cannot be read as one."""
    if reply.data is None:
        return None, [reply.objection]
    try:
        draft = PlanDraft.model_validate(reply.data)
    except ValidationError as error:
        places = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]]
        return None, [f"It does not fit the schema at {place}." for place in places]
    plan = state["plan"]
    return draft, validate_draft(
        draft,
        tools=build.tools,
        max_milestones=context.milestone_limit,
        requirements=plan["requirements"] if plan else (),
        finished=_completed(state["milestones"]),
    )


def adopt_plan(
    state: RunState, build: Build, context: Context, draft: PlanDraft, spent: Spent, *, reviewed: bool = False
) -> dict[str, Any]:
    """Put a checked draft into the state; what was still to come is skipped.

    Its first round starts at once, unless a person is to see the plan first and has not `reviewed` it.
    """
    before = state["plan"]
    plan = _next_plan(before, draft)
    new, plan["requirements"] = adopt_draft(
        draft,
        revision=plan["revision"],
        known=state["milestones"],
        requirements=before["requirements"] if before else (),
    )
    if not new:
        return _plan_nothing(state, build, draft, spent)
    dropped = _skip_rest(state["milestones"], "superseded by a new plan")
    merged = merge_milestones(state["milestones"], [dropped, new])
    decision = state["decision"]
    entry = log_event(
        "plan_revised" if before else "plan_created",
        revision=plan["revision"],
        reason=decision["reason"] if before and decision else "",
        plan=plan,
        added=list(new),
        dropped=list(dropped),
        changes={**dropped, **new},
    )
    waits = not reviewed and (context.review == "every" or (context.review == "first" and not approvals(state)))
    keys = [] if waits else ready_milestones(merged, context.max_parallel)
    rule = REVIEW_DUE if waits else "planned"
    started, log = start_milestones(merged, keys, plan["revision"])
    return {
        "plan": plan,
        "milestones": merge_milestones({}, [dropped, new, started]),
        "decision": Decision(action="continue", rule=rule, reason="", code=None, milestones=keys),
        **spent,
        "log": [entry, *log],
    }


def approvals(state: RunState) -> list[LogEntry]:
    """The log's entries of plans that a person approved in this run, as they were or as he edited them."""
    reviews = (entry for entry in state["log"] if entry["type"] == "plan_reviewed")
    return [entry for entry in reviews if entry["rule"] in {"approve", "edit"}]


def _plan_nothing(state: RunState, build: Build, draft: PlanDraft, spent: Spent) -> dict[str, Any]:
    """Go on without milestones: with a direct answer, or because what is finished meets every requirement."""
    before = state["plan"]
    if before is None and build.response_format is None:
        ended = finish_run(state, "completed", answer=draft.answer or "")
        return {**ended, **spent}
    dropped = _skip_rest(state["milestones"], "every requirement is met without it")
    plan = _next_plan(before, draft)
    plan["requirements"] = [{**r, "met": None, "note": None} for r in before["requirements"]] if before else []
    entry = log_event(
        "plan_revised" if before else "plan_created",
        revision=plan["revision"],
        plan=plan,
        added=[],
        dropped=list(dropped),
        changes=dict(dropped),
    )
    reason = "Nothing is left to be done."
    return {
        "plan": plan,
        "milestones": dropped,
        "answer": draft.answer,
        "decision": Decision(action="finish", rule=NOTHING_LEFT, reason=reason, code=None, milestones=[]),
        **spent,
        "log": [entry],
    }


def _give_up(state: RunState, problem: Problem, spent: Spent) -> dict[str, Any]:
    """End without a plan: aborted, or partial when an earlier plan got something done."""
    done = describe_finished(state["milestones"])
    ended = finish_run(
        state, "partial" if done else "aborted", answer=done or None, code=problem.code, message=problem.message
    )
    return {**ended, **spent}


def _next_plan(before: Plan | None, draft: PlanDraft) -> Plan:
    return Plan(
        revision=before["revision"] + 1 if before else 1,
        strategy=draft.strategy,
        requirements=[],
        givens=draft.givens,
        unknowns=draft.unknowns,
        pitfalls=draft.pitfalls,
    )


def _conversation(state: RunState) -> Sequence[AnyMessage]:
    """What was said on the thread before the request."""
    messages = state["messages"]
    asked = max((i for i, message in enumerate(messages) if isinstance(message, HumanMessage)), default=0)
    return messages[:asked]


def _completed(milestones: Mapping[str, Milestone]) -> dict[str, Milestone]:
    return {key: milestone for key, milestone in milestones.items() if milestone["status"] == "completed"}


def _skip_rest(milestones: Mapping[str, Milestone], reason: str) -> dict[str, Milestone]:
    return {
        key: Milestone(status="skipped", result=reason)
        for key, milestone in milestones.items()
        if milestone["status"] in {"pending", "running"}
    }
