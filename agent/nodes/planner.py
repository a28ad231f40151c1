"""The planner node: turns the objective, or what is left of it, into milestones."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.types import Overwrite
from pydantic import ValidationError

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.codes import ErrorCode, Rule
from plan_execute.agent.context import Context
from plan_execute.agent.errors import ModelError, validation_problems
from plan_execute.agent.events import log_event
from plan_execute.agent.interrupts import can_interrupt
from plan_execute.agent.llm.attachments import attached_for
from plan_execute.agent.llm.models import compact_forms, find_model, find_other_models
from plan_execute.agent.llm.parsing import Reply
from plan_execute.agent.llm.structured_output import (
    MOST_NAMES,
    Dialogue,
    Limits,
    Question,
    as_reply,
    describe_no_reply,
    is_worth_repeating,
    question_options,
)
from plan_execute.agent.llm.usage import crossed_budget, heavy_calls, measured, total
from plan_execute.agent.nodes.chat import show_progress
from plan_execute.agent.nodes.finish import NOTHING_LEFT, Problem, describe_finished, finish_run
from plan_execute.agent.nodes.given_plan import needs_model, read_given
from plan_execute.agent.nodes.hand_over import handed_over, permissions_needed, plan_handed_over
from plan_execute.agent.nodes.plan_validation import adopt_answer, adopt_draft, mend_draft, objections_to, without_pins
from plan_execute.agent.nodes.replan_gate import ready_milestones, start_milestones
from plan_execute.agent.schemas import PlanDraft
from plan_execute.agent.state import (
    Decision,
    LogEntry,
    Milestone,
    Plan,
    RunState,
    RunUpdate,
    Spent,
    merge_milestones,
    with_status,
)
from plan_execute.agent.truncation import truncate_middle
from plan_execute.agent.trust.tool_kinds import KINDS, acts, kind_of

REPAIRS = 2
"""How often a draft may be sent back, or its call repeated, before the run ends without a plan."""
MOST_PROBLEMS = 5
"""Most places at which a reply does not match the schema that are listed."""
LEFT_OUT_IF_TRUNCATED: Limits = {
    "PlanDraft.givens": None,
    "PlanDraft.unknowns": None,
    "PlanDraft.pitfalls": None,
    "MilestoneDraft.pitfalls": None,
}
"""What a planner is not asked for after a reply that was truncated."""
FEWEST_MILESTONES = 3
"""How many milestones and requirements a planner may always give, however often its reply was truncated."""
NOBODY_TO_ASK = (
    "In strict trust a person has to approve that, for which the agent needs a checkpointer. Where what tools "
    'return may steer it, build it with context={"trust": "open"}.'
)
"""What to do where a plan needs a person and there is none."""
REVIEW_WAITS = "The plan waits for your review."
REVIEW_DUE: Rule = "review_due"
"""The rule by which a plan waits for review before its first round."""


def make_plan(state: RunState, build: Build) -> Dialogue[RunUpdate]:
    """Make the first plan or the next revision.

    A draft is validated before anything runs; objections go back to the model at most `REPAIRS` times.

    Returns:
        The state update: `usage` and `seconds`, with `plan`, `milestones`, `decision` and `log` of a plan whose first
        round starts, or the keys of `finish_run` for a direct answer or a typed ending.
    """
    context = build.context(state["settings"])
    spent = Spent(usage={}, seconds=0.0)
    given = state.get("given")
    if given and state["plan"] is None:
        return (yield from _use_given(state, build, context, given, spent))
    code: ErrorCode = "planner_unavailable"
    try:
        model = yield from find_model("planner", context)
        code = "model_unavailable"
        yield from find_other_models(context, structured=build.response_format is not None)
    except ModelError as error:
        return _end_without_plan(state, Problem(code, str(error)), spent)
    draft = yield from measured("planner", context, _draft(state, build, context, model, spent), spent)
    if isinstance(draft, Problem):
        return _end_without_plan(state, draft, spent)
    if not draft.milestones:
        return _plan_nothing(state, build, draft, spent)
    if crossed := crossed_budget(context.budget, state, spent):
        return _end_without_plan(state, Problem("budget", f"Crossed {crossed}."), spent)
    return _adopt_permitted(state, build, context, draft, spent)


def _use_given(
    state: RunState, build: Build, context: Context, given: Mapping[str, Any], spent: Spent
) -> Dialogue[RunUpdate]:
    """Begin with the plan that the run was given; models are looked for only if one will be needed."""
    draft = read_given(given, build, context)
    if isinstance(draft, Problem):
        return _end_without_plan(state, draft, spent)
    if needs_model(draft) or build.response_format is not None:
        try:
            yield from find_other_models(context, structured=build.response_format is not None)
        except ModelError as error:
            return _end_without_plan(state, Problem("model_unavailable", str(error)), spent)
    return _adopt_permitted(state, build, context, draft, spent)


def _adopt_permitted(state: RunState, build: Build, context: Context, draft: PlanDraft, spent: Spent) -> RunUpdate:
    """Adopt a draft, unless a person has to permit something in it and there is nobody to ask."""
    if (needed := permissions_needed(state, draft)) and not can_interrupt():
        return _end_without_plan(state, Problem("needs_approval", f"{' '.join(needed)} {NOBODY_TO_ASK}"), spent)
    return adopt_plan(state, build, context, draft, spent)


def _draft(
    state: RunState, build: Build, context: Context, model: BaseChatModel, spent: Spent
) -> Dialogue[PlanDraft | Problem]:
    """Ask until a draft is valid, or the repairs are used up."""
    messages = _question_messages(state, build, context, model)
    repair: list[BaseMessage] = []
    objections: list[str] = []
    problem, said, truncations = Problem("planner_unavailable", "The planner was not asked."), "", 0
    for attempt in range(1, 2 + REPAIRS):
        most = context.budget.heavy_calls
        if most is not None and heavy_calls(total(state, spent)["usage"]) >= most:
            return Problem("budget", f"The budget of {most} heavy calls is used up.")
        if repair and (crossed := crossed_budget(context.budget, state, spent)):
            return Problem("budget", f"Crossed {crossed}. {problem.message}")
        if forms := compact_forms(model):
            tools = list(build.tools.values())
            reply = yield from as_reply(
                forms.draft_plan(
                    state["objective"], tools, objections=objections, milestones=handed_over(state, texts=False)
                )
            )
            if reply.data and (refused := reply.data.get("refused")):
                return Problem("unsupported", refused)
        else:
            limits = _limits(state, build, context, truncations)
            options = question_options(context, state["seconds"])
            reply = yield Question(model, [*messages, *repair], PlanDraft, limits=limits, **options)
        if reply.error is not None:
            problem = Problem("planner_unavailable", describe_no_reply("planner", model, reply.error))
            if not is_worth_repeating(reply.error):
                break
            continue
        truncations += reply.is_truncated
        draft, objections = _read(reply, state, build, context, may_unpin=attempt > 1 and context.trust != "strict")
        if draft is not None and not objections:
            return draft
        attempts = f"{attempt} attempts" if attempt > 1 else "1 attempt"
        problem = Problem(
            "plan_unparsable" if draft is None else "plan_invalid",
            f"The planner gave no usable plan in {attempts}: {' '.join(objections)}",
        )
        if reply.refusal and attempt > 1:
            break
        text = truncate_middle((draft.model_dump_json() if draft else reply.text) or "(nothing)", prompts.RESULT_LIMIT)
        advice = [] if draft else [f"{reply.advice} Fill in the PlanDraft schema.".strip()]
        if reply.is_truncated:
            advice.append(f"Give at most {_most_milestones(context, truncations)} milestones.")
        message = prompts.objection_message([*objections, *advice])
        # A model that sends the same again copies what it is shown.
        repair = [message] if text == said else [AIMessage(text), message]
        said = text
    return problem


def _question_messages(state: RunState, build: Build, context: Context, model: BaseChatModel) -> list[BaseMessage]:
    progress = None
    if plan := state["plan"]:
        decision = state["decision"]
        reason, nonce = decision["reason"] if decision else "", state["settings"].get("nonce", "")
        shown = handed_over(state, texts=False)
        progress = prompts.describe_progress(plan_handed_over(state, plan), shown, reason, nonce)
    messages = state["messages"]
    request = max((i for i, message in enumerate(messages) if isinstance(message, HumanMessage)), default=0)
    return prompts.planner_messages(
        state["objective"],
        tools=list(build.tools.values()),
        context=context,
        acting={name: KINDS[kind_of(tool)] for name, tool in build.tools.items() if acts(tool)},
        # Small models, of which LangChain has no profile, plan worse if they are told.
        may_pin=bool(model.profile) or context.trust == "strict",
        nonce=state["settings"].get("nonce", ""),
        conversation=messages[:request],
        progress=progress,
        **attached_for(model, messages),
    )


def _limits(state: RunState, build: Build, context: Context, truncations: int) -> Limits:
    """Limit a draft to what there is, tools of the catalogue and ids of milestones; to less after truncated replies."""
    most = context.milestone_limit
    fewer = {"maxItems": _most_milestones(context, truncations)}
    limits: dict[str, Mapping[str, Any] | None] = {"PlanDraft.milestones": fewer}
    if truncations:
        limits |= {**LEFT_OUT_IF_TRUNCATED, "PlanDraft.requirements": fewer}
    ids = [f"m{position}" for position in range(1, most + 1)]
    finished = [f"done:{key}" for key in with_status(state["milestones"], "completed")]
    if len(ids) + len(finished) <= MOST_NAMES:
        limits["MilestoneDraft.id"] = {"enum": ids}
        limits["MilestoneDraft.depends_on[]"] = {"enum": [*ids, *finished]}
    if 0 < len(build.tools) <= MOST_NAMES:
        limits["MilestoneDraft.tools[]"] = limits["PinnedCallDraft.tool"] = {"enum": list(build.tools)}
    if context.trust != "strict":
        limits["MilestoneDraft.open"] = None
    return limits | {"MilestoneDraft.covers[]": {"minimum": 1}}


def _most_milestones(context: Context, truncations: int) -> int:
    """Return how many milestones a planner may give: half as many after each truncated reply, but always a few."""
    most = context.milestone_limit
    return min(most, max(FEWEST_MILESTONES, most >> truncations))


def _read(
    reply: Reply, state: RunState, build: Build, context: Context, *, may_unpin: bool
) -> tuple[PlanDraft | None, list[str]]:
    """Turn a reply into a draft and what is wrong with it; the draft is None if the reply has none.

    Where only calls and yields are wrong, and the executor may go on without them, it `may_unpin`, or leave them out.
    """
    if reply.data is None:
        return None, [reply.objection]
    try:
        draft = PlanDraft.model_validate(reply.data)
    except ValidationError as error:
        problems = validation_problems(error, "the top")[:MOST_PROBLEMS]
        return None, [f"It does not match the schema at {problem}." for problem in problems]
    plan = state["plan"]
    requirements, finished = plan["requirements"] if plan else (), with_status(state["milestones"], "completed")
    draft = mend_draft(draft, tools=build.tools, requirements=requirements, finished=finished)
    find = partial(objections_to, build=build, context=context, requirements=requirements, finished=finished)
    objections = find(draft)
    if objections and may_unpin and not find(unpinned := without_pins(draft)):
        return unpinned, []
    return draft, objections


def adopt_plan(
    state: RunState, build: Build, context: Context, draft: PlanDraft, spent: Spent, *, reviewed: bool = False
) -> RunUpdate:
    """Make the next plan of a valid draft; milestones of the plan before that have not finished are skipped.

    Args:
        state: The run.
        build: What the graph is built with.
        context: The run's settings.
        draft: The draft.
        spent: What making it cost.
        reviewed: Whether a person has reviewed it, so that it needs no review to start.

    The answer of a plan that was given is kept for the end of the run; a planner's, beside milestones, means nothing.

    Returns:
        The state update: `plan`, `milestones`, `decision`, `usage`, `seconds`, `log`.
    """
    before = state["plan"]
    plan = _next_plan(before, draft)
    edited = with_status(state["milestones"], "pending") if reviewed else {}
    new, plan["requirements"] = adopt_draft(
        draft,
        revision=plan["revision"],
        known=state["milestones"],
        requirements=before["requirements"] if before else (),
        edited=edited,
    )
    if not new:
        return _plan_nothing(state, build, draft, spent)
    if draft.answer and state.get("given") and (before is None or reviewed):
        plan["answer"] = adopt_answer(draft, state["milestones"], edited)
    dropped = _skip_rest(state["milestones"], "superseded by a new plan", except_for=new)
    rest = {key: milestone for key, milestone in state["milestones"].items() if key not in new}
    merged = merge_milestones(rest, [dropped, new])
    decision = state["decision"]
    entry = _log_plan(plan, new, dropped, decision["reason"] if before and decision else "")
    wanted = context.review == "every" or (context.review == "first" and not approvals(state))
    waits = not reviewed and (wanted or bool(permissions_needed(state, draft)))
    keys = [] if waits else ready_milestones(merged, context.max_parallel)
    rule = REVIEW_DUE if waits else "planned"
    started, log = start_milestones(merged, keys, plan["revision"])
    running = merge_milestones(merged, [started])
    # An edit may put milestones into another order, which the merge of an update would not.
    written: Any = Overwrite(running) if edited else merge_milestones({}, [dropped, new, started])
    show_progress(state["messages"], plan, running, REVIEW_WAITS if waits else "")
    return {
        "plan": plan,
        "milestones": written,
        "decision": Decision(action="continue", rule=rule, reason="", code=None, milestones=keys),
        "usage": spent["usage"],
        "seconds": spent["seconds"],
        "log": [entry, *log],
    }


def approvals(state: RunState) -> list[LogEntry]:
    """Return the log entries of plans that a person approved in this run, unchanged or edited."""
    reviews = (entry for entry in state["log"] if entry["type"] == "plan_reviewed")
    return [entry for entry in reviews if entry["rule"] in {"approve", "edit"}]


def _plan_nothing(state: RunState, build: Build, draft: PlanDraft, spent: Spent) -> RunUpdate:
    """Go on without milestones: with a direct answer, or because the finished ones meet every requirement."""
    before = state["plan"]
    if before is None and build.response_format is None:
        ended = finish_run(state, "completed", answer=draft.answer or "")
        return {**ended, **spent}
    dropped = _skip_rest(state["milestones"], "every requirement is met without it")
    plan = _next_plan(before, draft)
    plan["requirements"] = [{**r, "met": None, "note": None} for r in before["requirements"]] if before else []
    reason = "Nothing is left to do."
    return {
        "plan": plan,
        "milestones": dropped,
        "answer": draft.answer,
        "decision": Decision(action="finish", rule=NOTHING_LEFT, reason=reason, code=None, milestones=[]),
        "usage": spent["usage"],
        "seconds": spent["seconds"],
        "log": [_log_plan(plan, {}, dropped)],
    }


def _end_without_plan(state: RunState, problem: Problem, spent: Spent) -> RunUpdate:
    """End the run: aborted, or partial if milestones of an earlier plan are finished."""
    refused = problem.code == "unsupported"  # of a request in part refused, the other part is no answer
    done = "" if refused else describe_finished(state)
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


def _log_plan(
    plan: Plan, new: Mapping[str, Milestone], dropped: Mapping[str, Milestone], reason: str | None = None
) -> LogEntry:
    facts = {} if reason is None else {"reason": reason}
    return log_event(
        "plan_created" if plan["revision"] == 1 else "plan_revised",
        revision=plan["revision"],
        **facts,
        plan=plan,
        added=list(new),
        dropped=list(dropped),
        changes={**dropped, **new},
    )


def _skip_rest(
    milestones: Mapping[str, Milestone], reason: str, *, except_for: Collection[str] = ()
) -> dict[str, Milestone]:
    left = with_status(milestones, "pending", "running")
    return {key: Milestone(status="skipped", result=reason) for key in left if key not in except_for}
