"""References in pinned calls: `$m1.total` is a value of an earlier milestone, `$input.country` a parameter of the plan.

An argument that is nothing but a reference becomes the value itself, with its type; inside a longer text a reference
becomes the value as text. In a draft `$done:m1.total` is a value of a milestone that an earlier plan has finished.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from plan_execute.agent.trust.values import ValueKindError

INPUT = "input"
"""The name under which the parameters of a plan are referred to."""
_REFERENCE = re.compile(r"\$(?P<brace>\{)?(?P<of>(?:done:)?[A-Za-z][\w-]*)\.(?P<name>[A-Za-z]\w*)(?(brace)\})")
EXACT = 2**53
"""Up to here a float holds every whole number."""
ESCAPES: Mapping[str, Callable[[str], str]] = {"sql": lambda text: text.replace("'", "''")}
"""How a text is written into an argument in a language, by the name that `metadata={"languages": ...}` gives it."""


class Reference(NamedTuple):
    """A value by the id of its milestone, or `INPUT`, and its name."""

    of: str
    name: str

    def __str__(self) -> str:
        return f"${self.of}.{self.name}"


Lookup = Callable[[Reference], Any]
"""Returns the value of a reference; raises `KeyError` for one that does not exist."""


def references_in(value: Any) -> Iterator[tuple[Reference, bool]]:
    """Find the references in JSON data, each with whether it is the whole text."""
    if isinstance(value, str):
        for found in _REFERENCE.finditer(value):
            yield _reference(found), found[0] == value
    elif isinstance(value, dict):
        for item in value.values():
            yield from references_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from references_in(item)


def fill_in(value: Any, lookup: Lookup, known: Collection[str], escape: Callable[[str], str] = str) -> Any:
    """Put values in place of references.

    Args:
        value: JSON data.
        lookup: Finds the values.
        known: Ids of milestones, and `INPUT`; what looks like a reference to anything else is a text like any other.
        escape: How a text is written into a longer one.

    Raises:
        KeyError: There is no such value.
    """
    if isinstance(value, str):
        whole = _REFERENCE.fullmatch(value)
        if whole and (reference := _reference(whole)).of in known:
            return lookup(reference)
        return _REFERENCE.sub(lambda found: _written(found, lookup, known, escape), value)
    if isinstance(value, dict):
        return {key: fill_in(item, lookup, known, escape) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_in(item, lookup, known, escape) for item in value]
    return value


def fill_in_args(
    args: Mapping[str, Any], lookup: Lookup, known: Collection[str], languages: Mapping[str, str]
) -> dict[str, Any]:
    """Put values in place of the references in a call's arguments; see `fill_in`.

    Args:
        args: The arguments.
        lookup: Finds the values.
        known: Ids of milestones, and `INPUT`.
        languages: In which language an argument is written, by its name, so that no value can leave its place in it.

    Raises:
        KeyError: There is no such value.
        ValueKindError: A value cannot stand in an argument in this language.
    """
    return {name: fill_in(value, lookup, known, _escape_for(languages.get(name, ""))) for name, value in args.items()}


def rename(text: str, names: Mapping[str, str]) -> str:
    """Give the references in a text the ids that milestones have in the run."""

    def renamed(found: re.Match[str]) -> str:
        reference = _reference(found)
        own = names.get(reference.of)
        written = f"{own}.{reference.name}"
        return found[0] if own is None else f"${{{written}}}" if found["brace"] else f"${written}"

    return _REFERENCE.sub(renamed, text)


def parse_args(text: str) -> dict[str, Any] | None:
    """Read the arguments of a pinned call; None if they are not a JSON object."""
    try:
        args = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return args if isinstance(args, dict) else None


def as_text(value: Any) -> str:
    """Write a value as part of a text; a whole number has no decimal point."""
    if isinstance(value, list):
        return ", ".join(map(as_text, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def _reference(found: re.Match[str]) -> Reference:
    return Reference(found["of"], found["name"])


def _written(found: re.Match[str], lookup: Lookup, known: Collection[str], escape: Callable[[str], str]) -> str:
    reference = _reference(found)
    return escape(as_text(lookup(reference))) if reference.of in known else found[0]


def _escape_for(language: str) -> Callable[[str], str]:
    return _only_numbers if language == "arithmetic" else ESCAPES.get(language, str)


def _only_numbers(text: str) -> str:
    if not re.fullmatch(r"[-+]?[\d.]+(?:e[-+]?\d+)?(?:, [-+]?[\d.]+)*", text):
        raise ValueKindError("only numbers can stand in an expression")
    return text
