"""The synthesize node: turns results into one answer, and checks it against the requirements."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.utils.json_schema import dereference_refs
from pydantic import AfterValidator, Field, ValidationError, WithJsonSchema, create_model

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.codes import ErrorCode
from plan_execute.agent.context import Context
from plan_execute.agent.errors import ConfigurationError, ModelError, validation_problems
from plan_execute.agent.events import log_decision, log_event
from plan_execute.agent.failures import describe_error
from plan_execute.agent.llm.attachments import attached_for
from plan_execute.agent.llm.models import compact_forms, find_model
from plan_execute.agent.llm.parsing import Reply
from plan_execute.agent.llm.structured_output import (
    MOST_NAMES,
    Dialogue,
    Limits,
    Question,
    describe_no_reply,
    is_worth_repeating,
    question_options,
)
from plan_execute.agent.llm.usage import crossed_budget, heavy_calls, measured
from plan_execute.agent.nodes.chat import without_progress
from plan_execute.agent.nodes.finish import (
    NOTHING_LEFT,
    Problem,
    describe_finished,
    describe_unmet,
    ended_early,
    finish_run,
)
from plan_execute.agent.nodes.hand_over import handed_over, plan_handed_over
from plan_execute.agent.nodes.replan_gate import STEPS_FOR_REPLAN
from plan_execute.agent.prompts import DIGEST_LIMIT
from plan_execute.agent.schemas import RequirementVerdict, Synthesis
from plan_execute.agent.state import (
    Decision,
    Milestone,
    Plan,
    Requirement,
    RunState,
    RunUpdate,
    Spent,
    with_status,
)
from plan_execute.agent.truncation import json_safe, truncate_middle
from plan_execute.agent.trust.references import as_text, fill_in

NOT_CHECKED = "not checked"
"""The note of a requirement that no model judged."""
REPAIRS = 1
"""How often an unusable synthesis is asked for again before the answer is made without a model."""

LEFT_OUT_IF_TRUNCATED: Limits = {"RequirementVerdict.milestones": None, "RequirementVerdict.note": None}
"""What a synthesizer is not asked for after a reply that was truncated."""


class UncheckedSynthesis(Synthesis):
    """A synthesis that was put together by code, in place of a model that cannot judge."""

    by: str
    """The model, and what it is worth."""


def synthesize(state: RunState, build: Build) -> Dialogue[RunUpdate]:
    """Write the answer and end the run, or replan while a requirement is unmet.

    Returns:
        The state update: `usage`, `seconds`, `plan`, `structured_response` and `log`, with the keys of `finish_run`, or
        `decision` and `replans` for a replan.
    """
    context = build.context(state["settings"])
    spent = Spent(usage={}, seconds=0.0)
    if build.response_format is None and (filled := _fill_in_answer(state)):
        return {**_judge(state, context, filled, spent), **spent}
    synthesis = yield from measured("synthesizer", context, _ask_for_synthesis(state, build, context), spent)
    if isinstance(synthesis, Problem):
        return {**_answer_without_model(state, synthesis), **spent}
    return {**_judge(state, context, synthesis, spent), **spent}


def synthesis_schema(response_format: Any) -> type[Synthesis]:
    """Return the schema to fill in, with a field for the `response_format` if there is one.

    Args:
        response_format: A type, a JSON schema, or None.

    Raises:
        ConfigurationError: It is not a valid JSON schema.
    """
    if response_format is None:
        return Synthesis
    if isinstance(response_format, dict):
        response_format = _type_of(response_format)
    return create_model(
        "Synthesis",
        __base__=Synthesis,
        __doc__=Synthesis.__doc__,
        structured_response=(response_format, Field(description="The answer in the requested form.")),
    )


def _fill_in_answer(state: RunState) -> Synthesis | None:
    """Put the values into the answer of a plan that was given; milestones meet the requirements that they cover.

    Returns:
        The answer; None if the plan has none, if the run ended early, or if a value is missing.
    """
    plan = state["plan"]
    if plan is None or not plan.get("answer") or ended_early(state):
        return None
    values = {key: m["values"] for key, m in with_status(state["milestones"], "completed").items()}
    try:
        answer = as_text(fill_in(plan["answer"], lambda reference: values[reference.of][reference.name], values))
    except KeyError:
        return None
    met = [RequirementVerdict(number=r["number"], met=True, milestones=[], note=None) for r in plan["requirements"]]
    return Synthesis(answer=answer, requirements=met)


def _ask_for_synthesis(state: RunState, build: Build, context: Context) -> Dialogue[Synthesis | Problem]:
    """Ask until a synthesis is usable, or the repairs are used up; an answer in prose needs only verdicts."""
    plan, budget = state["plan"], context.budget.heavy_calls
    schema = synthesis_schema(build.response_format)
    try:
        model = yield from find_model("synthesizer", context)
    except ModelError as error:
        return Problem("synthesis_failed", str(error))
    if plan is None:
        return Problem("synthesis_failed", "there is no plan")
    messages = prompts.synthesizer_messages(
        state["objective"],
        plan=plan,
        milestones=handed_over(state, texts=True),
        context=context,
        nonce=state["settings"].get("nonce", ""),
        draft_answer=state["answer"],
        conversation=without_progress(state["messages"]),
        **attached_for(model, state["messages"]),
    )
    repair: list[BaseMessage] = []
    problem, prose, truncated = Problem("synthesis_failed", "the synthesizer was not asked"), "", False
    calls_before = heavy_calls(state["usage"])
    for attempt in range(1 + REPAIRS):
        if budget is not None and calls_before + attempt >= budget:
            return Problem("budget", f"the budget of {budget} heavy calls is used up")
        if forms := compact_forms(model):
            joined = forms.synthesize(plan["requirements"], state["milestones"])  # no model reads them
            return UncheckedSynthesis(**joined, by=forms.describe())
        limits = {**_limits(plan, state["milestones"]), **(LEFT_OUT_IF_TRUNCATED if truncated else {})}
        options = question_options(context, state["seconds"])
        reply = yield Question(model, [*messages, *repair], schema, limits=limits, **options)
        if reply.error is not None:
            problem = Problem("synthesis_failed", describe_no_reply("synthesizer", model, reply.error))
            if not is_worth_repeating(reply.error):
                break
            continue
        truncated = reply.is_truncated
        prose = prose or reply.prose
        synthesis, objection = _read(reply, schema, prose)
        if synthesis is not None:
            return synthesis
        message = f"The synthesizer gave no usable answer in {1 + REPAIRS} attempts: {objection}"
        problem = Problem("synthesis_failed", message)
        advice = f"{reply.advice} {prompts.JUDGE_IT if prose else 'Fill in the Synthesis schema.'}".strip()
        quoted = [AIMessage(prose)] if prose else []
        repair = [*quoted, prompts.objection_message([objection, advice])]
    return problem._replace(prose=prose)


def _limits(plan: Plan, milestones: Mapping[str, Milestone]) -> Limits:
    """Limit the verdicts to the requirements there are, and to milestones that can show something."""
    count, completed = len(plan["requirements"]), list(with_status(milestones, "completed"))
    limits: dict[str, dict[str, Any] | None] = {}
    if count:
        limits["Synthesis.requirements"] = {"minItems": count, "maxItems": count}
        limits["RequirementVerdict.number"] = {"minimum": 1, "maximum": count}
    if 0 < len(completed) <= MOST_NAMES:
        limits["RequirementVerdict.milestones[]"] = {"enum": completed}
    return limits


def _read(reply: Reply, schema: type[Synthesis], prose: str) -> tuple[Synthesis | None, str]:
    """Turn a reply, and the answer if it was given in prose before, into a synthesis; or say what is wrong with it."""
    if reply.data is None:
        return None, reply.objection
    try:
        synthesis = schema.model_validate({**reply.data, "answer": reply.data.get("answer") or prose})
    except ValidationError as error:
        return None, f"It does not match the schema at {validation_problems(error, 'the top')[0]}."
    return (synthesis, "") if synthesis.answer.strip() else (None, "Its answer is empty.")


def _type_of(schema: dict[str, Any]) -> Any:
    """Make a type of a JSON schema, which pydantic validates by that schema."""
    # Imported here because it is slow, and only a JSON schema needs it.
    from jsonschema.exceptions import SchemaError, best_match  # type: ignore[import-untyped]  # it has no types
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]  # it has no types

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
        # The schema becomes part of a larger one, in which its references would not resolve.
        resolved = dereference_refs(schema)
    except (SchemaError, KeyError, ValueError) as error:
        reason = error.message if isinstance(error, SchemaError) else describe_error(error)
        raise ConfigurationError(f"`response_format` is not a valid JSON schema: {reason}") from None
    validator = kind(schema)

    def check(value: Any) -> Any:
        mismatch = best_match(validator.iter_errors(value))
        if mismatch is not None:
            raise ValueError(f"{mismatch.json_path}: {truncate_middle(mismatch.message, DIGEST_LIMIT)}")
        return value

    resolved = {key: value for key, value in resolved.items() if key not in {"$defs", "definitions"}}
    return Annotated[Any, AfterValidator(check), WithJsonSchema(resolved)]


def _judge(state: RunState, context: Context, synthesis: Synthesis, spent: Spent) -> RunUpdate:
    """End the run as completed or partial, or replan, by the requirements that are met."""
    plan = state["plan"]
    assert plan is not None
    requirements = plan["requirements"] or _implied_requirements(state, synthesis)
    requirements = judge_requirements(requirements, state["milestones"], synthesis.requirements)
    judged: Plan = {**plan, "requirements": requirements}
    unmet = [requirement for requirement in requirements if not requirement["met"]]
    entry = log_event("synthesized", revision=plan["revision"], requirements=requirements)
    structured = synthesis.model_dump(mode="json").get("structured_response")
    update: RunUpdate = {"plan": judged, "structured_response": json_safe(structured)}
    decision = state["decision"]
    early_end = ended_early(state)
    if isinstance(synthesis, UncheckedSynthesis):
        requirements = [r if r in unmet else {**r, "met": None, "note": NOT_CHECKED} for r in requirements]
        judged["requirements"] = entry["requirements"] = requirements
        if not unmet and not early_end:
            message = f"Not checked: the answer is what {synthesis.by}, looked up. For a checked one name a real model."
            run: RunState = {**state, "plan": judged}
            ended = finish_run(run, "partial", answer=synthesis.answer, code="not_checked", message=message)
            return {**update, **ended, "log": [entry, *ended["log"]]}
    if not unmet and not early_end:
        ended = finish_run({**state, "plan": judged}, "completed", answer=synthesis.answer)
        return {**update, **ended, "log": [entry, *ended["log"]]}
    nothing_left = decision is not None and decision["rule"] == NOTHING_LEFT
    replans_left = state["replans"] < context.max_replans and state["remaining_steps"] > STEPS_FOR_REPLAN
    may_replan = replans_left and not nothing_left and not early_end
    crossed = crossed_budget(context.budget, state, spent, heavy_ahead=2) if may_replan else None
    if may_replan and not crossed:
        decision = Decision(
            action="replan",
            rule="unmet_requirement",
            reason=describe_unmet(plan_handed_over(state, judged)),
            code="unmet_requirements",
            milestones=[],
        )
        log = [entry, log_decision(decision, plan["revision"])]
        return {**update, "decision": decision, "replans": state["replans"] + 1, "log": log}
    code: ErrorCode = early_end.code if early_end else ("budget" if crossed else "unmet_requirements")
    cause = early_end.message if early_end else f"Crossed {crossed}." if crossed else ""
    message = f"Stopped early: {cause}" if cause else ""
    ended = finish_run({**state, "plan": judged}, "partial", answer=synthesis.answer, code=code, message=message)
    return {**update, **ended, "log": [entry, *ended["log"]]}


def judge_requirements(
    requirements: Sequence[Requirement],
    milestones: Mapping[str, Milestone],
    verdicts: Sequence[RequirementVerdict],
) -> list[Requirement]:
    """Judge the requirements by the model's verdicts, accepting `met` only where completed milestones support it.

    The milestones that a verdict names must all be completed; if it names none, completed milestones that cover the
    requirement support it. A requirement without a verdict is unmet.

    Args:
        requirements: Those of the plan.
        milestones: All milestones of the run.
        verdicts: Those of the synthesis; of two on one requirement the worse one counts.
    """
    by_number = {verdict.number: verdict for verdict in sorted(verdicts, key=lambda verdict: not verdict.met)}
    completed = with_status(milestones, "completed")
    judged = []
    for requirement in requirements:
        number = requirement["number"]
        verdict = by_number.get(number)
        named = [key.removeprefix("done:") for key in verdict.milestones] if verdict else []
        support = named or [key for key, m in completed.items() if number in m["covers"]]
        met = verdict is not None and verdict.met and bool(support) and completed.keys() >= set(support)
        reason = (verdict.note if verdict else "no verdict") or "not shown by the results"
        note = None if met else truncate_middle(reason, DIGEST_LIMIT)
        judged.append(Requirement(**{**requirement, "met": met, "milestones": support, "note": note}))
    return judged


def _implied_requirements(state: RunState, synthesis: Synthesis) -> list[Requirement]:
    """Make the request itself a requirement, where the plan has none and the request may not be met.

    That is so after an unmet verdict, or if a milestone failed and no later plan replaced it.
    """
    ran = list(with_status(state["milestones"], "completed", "failed", "blocked").values())
    failed = any(m["status"] != "completed" and m["revision"] == ran[-1]["revision"] for m in ran)
    if not failed and all(verdict.met for verdict in synthesis.requirements):
        return []
    text = truncate_middle(state["objective"], DIGEST_LIMIT)
    return [Requirement(number=1, text=text, met=None, milestones=[], note=None)]


def _answer_without_model(state: RunState, problem: Problem) -> RunUpdate:
    """End the run with the results as they are, after the answer that was not checked, if there is one."""
    early_end = ended_early(state)
    reason = f"{early_end.message} " if early_end else ""
    results = describe_finished(state)
    how = "The answer lists the results as they are, without a model" if results else "Nothing was finished"
    if problem.prose:
        how = "The answer was not checked"
    return finish_run(
        state,
        "partial",
        answer="\n\n".join(filter(None, [problem.prose, results])) or None,
        code=early_end.code if early_end else problem.code,
        message=f"{reason}{how}: {problem.message}",
    )
