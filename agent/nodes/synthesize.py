"""The synthesizer: turns results into one answer and checks it against what was asked."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from langchain_core.utils.json import parse_partial_json
from langchain_core.utils.json_schema import dereference_refs
from pydantic import AfterValidator, Field, ValidationError, WithJsonSchema, create_model

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.context import Context
from plan_execute.agent.errors import ConfigurationError, ModelError
from plan_execute.agent.events import emit, log_decision, log_event, now
from plan_execute.agent.failures import describe_error
from plan_execute.agent.llm.models import compact_forms, find_model
from plan_execute.agent.llm.parsing import Reply
from plan_execute.agent.llm.structured_output import (
    Dialogue,
    Question,
    describe_no_reply,
    is_worth_repeating,
    question_options,
)
from plan_execute.agent.llm.usage import crossed_budget, heavy_calls, measured
from plan_execute.agent.nodes.finish import (
    NOTHING_LEFT,
    Problem,
    describe_finished,
    describe_unmet,
    ended_early,
    finish_run,
)
from plan_execute.agent.nodes.replan_gate import STEPS_FOR_REPLAN
from plan_execute.agent.prompts import DIGEST_LIMIT
from plan_execute.agent.schemas import RequirementVerdict, Synthesis
from plan_execute.agent.state import Decision, ErrorCode, Milestone, Plan, Requirement, RunState, Spent
from plan_execute.agent.truncation import json_safe, truncate_middle

REPAIRS = 1
"""How often an unusable synthesis is asked for again before the results are put together without a model."""


def synthesize(state: RunState, build: Build) -> Dialogue[dict[str, Any]]:
    """Write the answer and end the run, or send it back to the planner while a requirement is unmet.

    Returns:
        The state update: completed, partial, or a decision to replan.
    """
    context = build.context(state["settings"])
    spent = Spent(usage={}, seconds=0.0)
    synthesis = yield from measured("synthesizer", context, _ask_for_synthesis(state, build, context), spent)
    if isinstance(synthesis, Problem):
        return {**_without_model(state, synthesis), **spent}
    return {**_settle(state, context, synthesis, spent), **spent}


def synthesis_schema(response_format: Any) -> type[Synthesis]:
    """The schema to fill in: with a `response_format` (a type or a JSON schema), it has a field of that form more.

    Raises:
        ConfigurationError: It is no valid JSON schema.
    """
    if response_format is None:
        return Synthesis
    if isinstance(response_format, dict):
        response_format = _of_json_schema(response_format)
    return create_model(
        "Synthesis",
        __base__=Synthesis,
        __doc__=Synthesis.__doc__,
        structured_response=(response_format, Field(description="The answer in the form asked for.")),
    )


def _ask_for_synthesis(state: RunState, build: Build, context: Context) -> Dialogue[Synthesis | Problem]:
    """The synthesis, or why there is none."""
    plan, budget = state["plan"], context.budget.heavy_calls
    schema = synthesis_schema(build.response_format)
    try:
        model = yield from find_model("synthesizer", context)
    except ModelError as error:
        return Problem("synthesis_failed", str(error))
    if plan is None:
        return Problem("synthesis_failed", "there is no plan")
    messages = prompts.synthesizer_messages(
        state["objective"], plan=plan, milestones=state["milestones"], context=context, draft_answer=state["answer"]
    )
    repair: list[BaseMessage] = []
    problem = Problem("synthesis_failed", "the synthesizer was not asked")
    made = heavy_calls(state["usage"])
    for attempt in range(1 + REPAIRS):
        if budget is not None and made + attempt >= budget:
            return Problem("budget", f"the budget of {budget} heavy calls is used up")
        if forms := compact_forms(model):
            reply = Reply(data=forms.synthesize(plan["requirements"], state["milestones"]))
        else:
            reply = yield Question(model, [*messages, *repair], schema, **question_options(context, state["seconds"]))
        if reply.error is not None:
            problem = Problem("synthesis_failed", describe_no_reply("synthesizer", model, reply.error))
            if not is_worth_repeating(reply.error):
                break
            continue
        synthesis, objection = _read(reply, schema)
        if synthesis is not None:
            return synthesis
        message = f"The synthesizer gave no usable answer in {1 + REPAIRS} attempts: {objection}"
        problem = Problem("synthesis_failed", message)
        repair = [prompts.objection_message([objection, f"{reply.advice} Fill in the Synthesis schema.".strip()])]
    return problem


def _read(reply: Reply, schema: type[Synthesis]) -> tuple[Synthesis | None, str]:
    """Turn a reply into a synthesis, or say what is wrong with it."""
    if reply.data is None:
        return None, reply.objection
    try:
        synthesis = schema.model_validate(reply.data)
    except ValidationError as error:
        first = error.errors()[0]
        place, reason = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        return None, f"It does not fit the schema at {place}: {reason}."
    return (synthesis, "") if synthesis.answer.strip() else (None, "Its answer is empty.")


def _of_json_schema(form: dict[str, Any]) -> Any:
    """A type for what fits a JSON schema."""
    # Imported here because it takes long and only such a form needs it.
    from jsonschema.exceptions import SchemaError, best_match  # type: ignore[import-untyped]  # it has no types
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]  # it has no types

    kind = validator_for(form)
    try:
        kind.check_schema(form)
        # The form becomes part of a larger schema, in which its references would lead nowhere.
        shown = dereference_refs(form)
    except (SchemaError, KeyError, ValueError) as error:
        reason = error.message if isinstance(error, SchemaError) else describe_error(error)
        raise ConfigurationError(f"`response_format` is no valid JSON schema: {reason}") from None
    validator = kind(form)

    def check(value: Any) -> Any:
        misfit = best_match(validator.iter_errors(value))
        if misfit is not None:
            raise ValueError(f"{misfit.json_path}: {truncate_middle(misfit.message, DIGEST_LIMIT)}")
        return value

    shown = {key: value for key, value in shown.items() if key not in {"$defs", "definitions"}}
    return Annotated[Any, AfterValidator(check), WithJsonSchema(shown)]


def _settle(state: RunState, context: Context, synthesis: Synthesis, spent: Spent) -> dict[str, Any]:
    plan = state["plan"]
    if plan is None:
        raise ValueError("A synthesis needs a plan: the run did not pass the planner.")
    requirements = plan["requirements"] or _implied_requirements(state, synthesis)
    judged = Plan(
        **{**plan, "requirements": judge_requirements(requirements, state["milestones"], synthesis.requirements)}
    )
    unmet = [requirement for requirement in judged["requirements"] if not requirement["met"]]
    entry = log_event("synthesized", revision=plan["revision"], requirements=judged["requirements"])
    structured = synthesis.model_dump(mode="json").get("structured_response")
    update: dict[str, Any] = {"plan": judged, "structured_response": json_safe(structured)}
    decision = state["decision"]
    cut_short = ended_early(state)
    if not unmet and not cut_short:
        ended = finish_run({**state, "plan": judged}, "completed", answer=synthesis.answer)
        return {**update, **ended, "log": [entry, *ended["log"]]}
    tried = decision is not None and decision["rule"] == NOTHING_LEFT
    may_replan = state["replans"] < context.max_replans and state["remaining_steps"] > STEPS_FOR_REPLAN
    wanted = bool(unmet) and may_replan and not tried and not cut_short
    crossed = crossed_budget(context.budget, state, spent, heavy_ahead=2) if wanted else None
    if wanted and not crossed:
        decision = Decision(
            action="replan",
            rule="unmet_requirement",
            reason=describe_unmet(judged),
            code="unmet_requirements",
            milestones=[],
        )
        ruling = log_decision(decision, plan["revision"])
        return {**update, "decision": decision, "replans": state["replans"] + 1, "log": [entry, ruling]}
    code: ErrorCode = cut_short.code if cut_short else ("budget" if crossed else "unmet_requirements")
    early = cut_short.message if cut_short else f"Crossed {crossed}." if crossed else ""
    message = f"Stopped early: {early}" if early else ""
    ended = finish_run({**state, "plan": judged}, "partial", answer=synthesis.answer, code=code, message=message)
    return {**update, **ended, "log": [entry, *ended["log"]]}


def judge_requirements(
    requirements: Sequence[Requirement],
    milestones: Mapping[str, Milestone],
    verdicts: Sequence[RequirementVerdict],
) -> list[Requirement]:
    """Lay the model's verdicts over the requirements, believing `met` only where the work bears it out.

    The milestones a verdict names, or if it names none those that cover the requirement, must all be completed; of
    those that cover it, what was superseded by a later plan does not count. No verdict is no.
    """
    # Of two verdicts on one requirement the worse one counts.
    by_number = {verdict.number: verdict for verdict in sorted(verdicts, key=lambda verdict: not verdict.met)}
    judged = []
    for requirement in requirements:
        number = requirement["number"]
        verdict = by_number.get(number)
        named = [key.removeprefix("done:") for key in verdict.milestones] if verdict else []
        support = named or [k for k, m in milestones.items() if number in m["covers"] and m["status"] == "completed"]
        done = [milestones[key]["status"] == "completed" if key in milestones else False for key in support]
        met = verdict is not None and verdict.met and bool(done) and all(done)
        said = (verdict.note if verdict else "no verdict") or "not shown by the results"
        note = None if met else truncate_middle(said, DIGEST_LIMIT)
        judged.append(Requirement(**{**requirement, "met": met, "milestones": support, "note": note}))
    return judged


def _implied_requirements(state: RunState, synthesis: Synthesis) -> list[Requirement]:
    """The request itself as a requirement, where a plan named none and something speaks against its being met.

    That is a verdict of the synthesis, or a milestone that failed and was not replaced by a later plan's.
    """
    ran = [m for m in state["milestones"].values() if m["status"] in {"completed", "failed", "blocked"}]
    failed = any(m["status"] != "completed" and m["revision"] == ran[-1]["revision"] for m in ran)
    if not failed and all(verdict.met for verdict in synthesis.requirements):
        return []
    text = truncate_middle(state["objective"], DIGEST_LIMIT)
    return [Requirement(number=1, text=text, met=None, milestones=[], note=None)]


def _without_model(state: RunState, problem: Problem) -> dict[str, Any]:
    """Put the results together as they are."""
    cut_short = ended_early(state)
    reason = f"{cut_short.message} " if cut_short else ""
    results = describe_finished(state["milestones"]) or None
    so_far = "The results are put together as they are, without a model" if results else "Nothing was finished"
    return finish_run(
        state,
        "partial",
        answer=results,
        code=cut_short.code if cut_short else problem.code,
        message=f"{reason}{so_far}: {problem.message}",
    )


STEP = 16
"""Fewest characters of JSON between two looks at it; a twentieth of it where that is more, so cost stays linear."""


def listen_for_answer(state: RunState) -> "AnswerStream":
    """Listen to the synthesis of a run."""
    plan = state["plan"]
    return AnswerStream(plan["revision"] if plan else 0)


class AnswerStream(BaseCallbackHandler):
    """Listens to one synthesis; it makes no model stream that does not stream anyway.

    A model streams when `messages` is among the stream modes of the run, or when it is built to. The events are
    `{"type": "answer_delta", "at", "revision", "attempt", "text"}`; the texts of an attempt in order are the answer as
    far as it was written. The answer that counts is that of the `answer` event.
    """

    run_inline = True

    def __init__(self, revision: int) -> None:
        """Listen on behalf of a plan's revision."""
        self._revision = revision
        self._attempt = 0
        self._written = ""
        self._looked_at = 0
        self._told = ""

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Begin anew: it is asked for the first time, or again."""
        self._attempt += 1
        self._written, self._looked_at, self._told = "", 0, ""

    def on_llm_new_token(
        self, token: object, *, chunk: GenerationChunk | ChatGenerationChunk | None = None, **_: Any
    ) -> None:
        """Take a token: text, or a piece of a tool call's arguments."""
        if not isinstance(chunk, ChatGenerationChunk) or not isinstance(chunk.message, AIMessageChunk):
            return
        pieces = chunk.message.tool_call_chunks
        self._written += "".join(piece["args"] or "" for piece in pieces) or chunk.message.text
        if len(self._written) - self._looked_at >= max(STEP, len(self._written) // 20):
            self._look()

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        """Tell what is left to tell."""
        self._look()

    def _look(self) -> None:
        self._looked_at = len(self._written)
        try:
            read = parse_partial_json(self._written)
        except ValueError:
            return
        answer = read.get("answer") if isinstance(read, dict) else None
        if isinstance(answer, str) and len(answer) > len(self._told) and answer.startswith(self._told):
            text, self._told = answer[len(self._told) :], answer
            place = {"revision": self._revision, "attempt": self._attempt}
            emit({"type": "answer_delta", "at": now(), **place, "text": text})
