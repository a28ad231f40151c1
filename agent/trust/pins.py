"""Pinned calls: which milestones need no model to act, and what their calls are once the values are known."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plan_execute.agent.trust.references import Reference, fill_in_args, parse_args, references_in
from plan_execute.agent.trust.values import ValueKindError

Values = Mapping[str, Mapping[str, Any]]
"""What milestones yield, by their ids."""


def all_pinned(tools: Sequence[str], calls: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether a milestone has calls and all its tools are pinned, so that code can make its calls."""
    pinned = {call["tool"] for call in calls}
    return bool(pinned) and pinned >= set(tools)


def resolve_args(call: Mapping[str, Any], values: Values, languages: Mapping[str, str]) -> dict[str, Any] | None:
    """Put the values of earlier milestones into the arguments of a pinned call.

    Args:
        call: The call.
        values: What the milestones it depends on yield.
        languages: In which language an argument of the tool is written, by its name.

    Returns:
        The arguments; None if they are none, if a value is missing, or if one cannot stand where it should.
    """
    args = parse_args(call["args"])

    def look_up(reference: Reference) -> Any:
        return values[reference.of][reference.name]

    try:
        return None if args is None else fill_in_args(args, look_up, values, languages)
    except (KeyError, ValueKindError):
        return None


def milestones_used(call: Mapping[str, Any]) -> set[str]:
    """Return the ids of the milestones whose values a pinned call refers to."""
    return {reference.of for reference, _ in references_in(parse_args(call["args"]))}
