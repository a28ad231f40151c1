"""A plan that is given instead of asked for: its parameters are put in, and it is validated like any draft."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from plan_execute.agent.build import Build
from plan_execute.agent.context import Context
from plan_execute.agent.errors import did_you_mean, validation_problems
from plan_execute.agent.nodes.finish import Problem
from plan_execute.agent.nodes.plan_validation import mend_draft, objections_to
from plan_execute.agent.schemas import MilestoneDraft, PinnedCallDraft, PlanDraft
from plan_execute.agent.state import Milestone, RunState
from plan_execute.agent.trust.pins import all_pinned
from plan_execute.agent.trust.references import (
    INPUT,
    Reference,
    as_text,
    fill_in,
    fill_in_args,
    parse_args,
    references_in,
)
from plan_execute.agent.trust.tool_kinds import languages_of
from plan_execute.agent.trust.values import ValueKindError

EXPORTED = ("id", "goal", "done_when", "tools", "calls", "yields", "open", "depends_on", "covers", "pitfalls")
"""The fields of a milestone that make it up, in the order in which a person reads them."""


def given_of(state: RunState) -> dict[str, Any] | None:
    """Return the plan, and its inputs, that the input of a run has; None if it has none.

    What stands under `plan` may also be that of an earlier run on the thread, which has a revision and no milestones.
    """
    plan: Any = state.get("plan")
    if plan is None or (isinstance(plan, dict) and "revision" in plan and "milestones" not in plan):
        return None
    return {"plan": plan, "inputs": state.get("inputs") or {}}


def read_given(given: Mapping[str, Any], build: Build, context: Context) -> PlanDraft | Problem:
    """Make a draft of a plan that was given, with its inputs in place.

    Returns:
        A draft without objections; or a problem with the code `plan_invalid`, which says all that is wrong.
    """
    try:
        draft = PlanDraft.model_validate(given["plan"])
    except ValidationError as error:
        return _refused(f"{validation_problems(error, 'the plan')[0]}.")
    if not draft.milestones:
        return _refused("it has no milestones.")
    inputs = given["inputs"]
    if not isinstance(inputs, dict):
        return _refused("its inputs are no mapping: write them as {name: value}.")
    draft = mend_draft(draft, tools=build.tools)
    used = {reference.name for reference, _ in references_in(draft.model_dump()) if reference.of == INPUT}
    if missing := sorted(used - inputs.keys()):
        there = ", ".join(inputs) or "none"
        return _refused(f"it needs the input {missing[0]!r}; the inputs given are: {there}.")
    if unknown := sorted(inputs.keys() - used):
        near = did_you_mean(unknown[0], used)
        advice = f"did you mean {near!r}?" if near else f"it has: {', '.join(sorted(used)) or 'none'}."
        return _refused(f"it has no input {unknown[0]!r}: {advice}")
    try:
        draft = _with_inputs(draft, inputs, build)
    except ValueKindError as error:
        return _refused(f"an input cannot stand where it should: {error}.")
    objections = [*objections_to(draft, build, context), *_answer_objections(draft)]
    return _refused(" ".join(objections)) if objections else draft


def plan_needs_model(plan: object) -> bool:
    """Tell whether carrying out a plan needs a model, before it is known whether the plan is valid."""
    try:
        return needs_model(PlanDraft.model_validate(plan))
    except ValidationError:
        return False


def needs_model(draft: PlanDraft) -> bool:
    """Tell whether carrying out a plan that was given needs a model: not if all is pinned, and it says its answer."""
    direct = all(
        all_pinned(m.tools or [c.tool for c in m.calls], [c.model_dump() for c in m.calls])
        and all(wanted.path is not None for wanted in m.yields)
        for m in draft.milestones
    )
    return not (direct and draft.answer)


def export_plan(state: RunState) -> dict[str, Any]:
    """Return the plan of a run as one that can be given, without what is empty and what a later plan dropped."""
    plan = state["plan"]
    if plan is None:
        return {}
    milestones = []
    for milestone in state["milestones"].values():
        if milestone["status"] == "skipped" or (_has_failed(milestone) and milestone["revision"] < plan["revision"]):
            continue
        fields: dict[str, Any] = {name: milestone[name] for name in EXPORTED if milestone.get(name)}  # type: ignore[literal-required]  # names of fields
        if calls := fields.get("calls"):
            fields["calls"] = [{"tool": call["tool"], "args": parse_args(call["args"])} for call in calls]
        if yields := fields.get("yields"):
            fields["yields"] = [{k: v for k, v in wanted.items() if v or k == "path"} for wanted in yields]
        milestones.append(fields)
    whole = {
        "strategy": plan["strategy"],
        "requirements": [requirement["text"] for requirement in plan["requirements"]],
        "milestones": milestones,
        "answer": plan.get("answer"),
    }
    return {name: value for name, value in whole.items() if value}


def _has_failed(milestone: Milestone) -> bool:
    return milestone["status"] in {"failed", "blocked"}


def _with_inputs(draft: PlanDraft, inputs: Mapping[str, Any], build: Build) -> PlanDraft:
    """Put the inputs in place of their references: as text in texts, with their types in the arguments of calls."""

    def look_up(reference: Reference) -> Any:
        return inputs[reference.name]

    def text(value: Any) -> Any:
        filled = fill_in(value, look_up, {INPUT})
        return filled if filled is value or isinstance(value, list) else as_text(filled)

    def call(pinned: PinnedCallDraft) -> PinnedCallDraft:
        args = parse_args(pinned.args)
        if args is None:
            return pinned
        filled = fill_in_args(args, look_up, {INPUT}, languages_of(build.tools.get(pinned.tool)))
        return pinned.model_copy(update={"args": json.dumps(filled, ensure_ascii=False)})

    def milestone(drafted: MilestoneDraft) -> MilestoneDraft:
        texts = {name: text(getattr(drafted, name)) for name in ("goal", "done_when")}
        pitfalls = [text(pitfall) for pitfall in drafted.pitfalls]
        return drafted.model_copy(update={**texts, "pitfalls": pitfalls, "calls": list(map(call, drafted.calls))})

    lists = {name: list(map(text, getattr(draft, name))) for name in ("requirements", "givens", "unknowns", "pitfalls")}
    filled = {"strategy": text(draft.strategy), "answer": text(draft.answer), **lists}
    return draft.model_copy(update={**filled, "milestones": list(map(milestone, draft.milestones))})


def _answer_objections(draft: PlanDraft) -> list[str]:
    """Find references in the answer to values that no milestone yields."""
    yields = {milestone.id: {wanted.name for wanted in milestone.yields} for milestone in draft.milestones}
    return [
        f"The answer has {reference}, but {reference.of!r} yields: {', '.join(yields[reference.of]) or 'nothing'}."
        for reference, _ in references_in(draft.answer)
        if reference.of in yields and reference.name not in yields[reference.of]
    ]


def _refused(reason: str) -> Problem:
    return Problem("plan_invalid", f"The given plan cannot be used: {reason}")
