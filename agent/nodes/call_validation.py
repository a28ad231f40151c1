"""Validation of what a draft pins: calls against their tools, references against what earlier milestones yield."""

from collections.abc import Collection, Mapping
from typing import Any

from langchain_core.tools import BaseTool

from plan_execute.agent.schemas import MilestoneDraft, PinnedCallDraft
from plan_execute.agent.state import Milestone
from plan_execute.agent.trust.arguments import argument_problem
from plan_execute.agent.trust.pins import all_pinned
from plan_execute.agent.trust.references import INPUT, Reference, fill_in_args, parse_args, references_in
from plan_execute.agent.trust.tool_kinds import KINDS, acts, kind_of, languages_of
from plan_execute.agent.trust.values import ValueKindError, example_value, is_pointer, item_kind

Yields = Mapping[str, Mapping[str, Any]]
"""What a milestone yields, by name: the kind of each value, and its options."""


def yields_of(milestone: MilestoneDraft | Milestone) -> Yields:
    """Return what a milestone of a draft yields, or the values of a finished one."""
    if isinstance(milestone, MilestoneDraft):
        return {wanted.name: wanted.model_dump() for wanted in milestone.yields}
    values = milestone.get("values", {})
    return {wanted["name"]: wanted for wanted in milestone.get("yields", []) if wanted["name"] in values}


def call_objections(
    name: str,
    milestone: MilestoneDraft,
    tools: Collection[str],
    earlier: Mapping[str, Yields],
    *,
    strict: bool,
    most_calls: int | None,
) -> list[str]:
    """Find what is wrong with what one milestone of a draft pins and yields.

    Args:
        name: Its name in the draft.
        milestone: The milestone.
        tools: The catalogue; with the tools themselves, arguments are checked against them.
        earlier: What may be referred to: what each other milestone yields, and each finished one.
        strict: Whether the run is in strict trust.
        most_calls: The most calls a milestone may make.
    """
    known = tools if isinstance(tools, Mapping) else {}
    objections = []
    for call in milestone.calls:
        if call.tool not in milestone.tools:
            objections.append(f"Milestone {name!r} pins a call of {call.tool!r}, which is not among its tools.")
        elif (args := parse_args(call.args)) is None:
            objections.append(f"Milestone {name!r} pins arguments for {call.tool!r} that are not a JSON object.")
        else:
            objections += _argument_objections(name, call, args, known.get(call.tool), earlier)
    if most_calls is not None and len(milestone.calls) > most_calls:
        objections.append(f"Milestone {name!r} pins {len(milestone.calls)} calls; at most {most_calls} are allowed.")
    objections += _yield_objections(name, milestone)
    if strict and not milestone.open:
        objections += _strict_objections(name, milestone, known)
    return objections


def _argument_objections(
    name: str, call: PinnedCallDraft, args: dict[str, Any], tool: BaseTool | None, earlier: Mapping[str, Yields]
) -> list[str]:
    vague = {argument for argument, value in args.items() if any(True for _ in references_in(value))}
    for reference, whole in references_in(args):
        if reference.of == name:
            return [f"Milestone {name!r} pins {reference}, a value of its own: refer to earlier milestones only."]
        if reference.of in earlier and reference.name not in earlier[reference.of]:
            there = ", ".join(earlier[reference.of]) or "nothing"
            what = "the plan has the inputs" if reference.of == INPUT else f"{reference.of!r} yields"
            return [f"Milestone {name!r} pins {reference}, but {what}: {there}."]
        if reference.of not in earlier and whole:
            return [f"Milestone {name!r} pins {reference}, but there is no milestone {reference.of!r}."]

    def example(reference: Reference) -> Any:
        return example_value(earlier[reference.of][reference.name])

    try:
        filled = fill_in_args(args, example, earlier, languages_of(tool))
    except ValueKindError as error:
        return [f"Milestone {name!r} pins arguments for {call.tool!r} that cannot be filled in: {error}."]
    problem = argument_problem(tool, filled, vague)
    return [f"Milestone {name!r} pins arguments that {call.tool!r} does not take: {problem}"] if problem else []


def _yield_objections(name: str, milestone: MilestoneDraft) -> list[str]:
    objections = []
    given = [wanted.name for wanted in milestone.yields]
    if len(set(given)) < len(given):
        objections.append(f"Milestone {name!r} yields the same name twice.")
    for wanted in milestone.yields:
        if not (wanted.name.isidentifier() and wanted.name.isascii() and not wanted.name.startswith("_")):
            objections.append(f"Milestone {name!r} yields {wanted.name!r}: a name has letters and digits only.")
        if item_kind(wanted.kind) == "choice" and not wanted.options:
            objections.append(f"Milestone {name!r} yields {wanted.name!r} as a choice without options.")
        if wanted.path is not None and not is_pointer(wanted.path):
            objections.append(
                f"Milestone {name!r} yields {wanted.name!r} from the path {wanted.path!r}, which is no JSON pointer: "
                "write it like /0/total, or null."
            )
    return objections


def _strict_objections(name: str, milestone: MilestoneDraft, tools: Mapping[str, BaseTool]) -> list[str]:
    """Object to a milestone in which a model that reads what others wrote could act."""
    acting = [tool for tool in milestone.tools if acts(tools.get(tool))]
    if not acting or all_pinned(milestone.tools, [call.model_dump() for call in milestone.calls]):
        return []
    what = KINDS[kind_of(tools[acting[0]])]
    return [
        f"Milestone {name!r} grants {acting[0]!r}, which {what}, without pinning all its calls: give it a milestone of "
        "its own with every call in `calls`, its arguments literal or values that earlier milestones yield; if they "
        "cannot be known in advance, set `open`, and a person is asked."
    ]
