"""Typed values: what a milestone passes on, read by code from a JSON result or from an executor's words."""

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, get_args
from urllib.parse import urlsplit

from jsonpointer import JsonPointer, JsonPointerException

from plan_execute.agent.schemas import ScalarKind
from plan_execute.agent.state import Yield
from plan_execute.agent.truncation import sanitize

KINDS = frozenset(get_args(ScalarKind))
LONGEST_VALUE = 20_000
"""Most characters of a text that is passed on."""
LONGEST_NAME = 254
"""Most characters of an id, a choice or an e-mail address."""
LONGEST_URL = 2_000
MOST_ITEMS = 200
"""Most items of a list."""

_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_ID = re.compile(r"[\w.:/@#+=-]+")
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?")
_YES, _NO = frozenset({"true", "yes"}), frozenset({"false", "no"})


class ValueKindError(ValueError):
    """A value is not of its kind; the message never has the value, which an attacker may have written."""


def is_list(kind: str) -> bool:
    """Tell whether a kind is that of a list, `list[kind of its items]`."""
    return kind.startswith("list[")


def item_kind(kind: str) -> str:
    """Return the kind of the items of a list; of a single value its own kind."""
    return kind[5:-1] if is_list(kind) else kind


def value_at(result: str, path: str) -> Any:
    """Read the value at a JSON pointer (RFC 6901) in a result; the empty pointer is the whole result.

    Raises:
        ValueKindError: The result is no JSON, or has nothing there.
    """
    try:
        document = json.loads(result)
    except (ValueError, RecursionError):
        if not path:
            return result
        raise ValueKindError("the result is not JSON") from None
    try:
        return JsonPointer(path).resolve(document)
    except (JsonPointerException, TypeError, ValueError):
        raise ValueKindError(f"the result has nothing at {path!r}") from None


def is_pointer(path: str) -> bool:
    """Tell whether a text is a JSON pointer."""
    try:
        JsonPointer(path)
    except JsonPointerException:
        return False
    return True


def read_value(raw: Any, wanted: Yield) -> Any:
    """Read a value of the kind that a milestone yields.

    Args:
        raw: JSON data, or the value as text.
        wanted: The kind, and for a choice its options.

    Returns:
        A text, a number, a boolean, or a list of them. Dates are ISO 8601 texts.

    Raises:
        ValueKindError: It is not of that kind.
    """
    kind = wanted["kind"]
    if not is_list(kind):
        return _scalar(raw, kind, wanted["options"])
    if isinstance(raw, str):
        raw = _items(raw)
    if not isinstance(raw, list):
        raise ValueKindError("it is no list")
    if len(raw) > MOST_ITEMS:
        raise ValueKindError(f"it has more than {MOST_ITEMS} items")
    return [_scalar(item, item_kind(kind), wanted["options"]) for item in raw]


def example_value(wanted: Mapping[str, Any]) -> Any:
    """Return some value of a kind, with which a call can be checked before the value is known."""
    kind = item_kind(wanted["kind"])
    options = wanted.get("options") or ["a"]
    examples = {
        "number": 1,
        "integer": 1,
        "boolean": True,
        "date": "2026-01-31",
        "email": "someone@example.org",
        "url": "https://example.org/",
        "choice": options[0],
    }
    value = examples.get(kind, "a")
    return [value] if is_list(wanted["kind"]) else value


def _items(text: str) -> list[Any]:
    """Read a list that is written as JSON, or with one item a line, or with commas between its items."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        lines = text.strip().splitlines()
        return [item.strip(" -*\t") for item in (lines if len(lines) > 1 else text.split(",")) if item.strip()]
    return parsed if isinstance(parsed, list) else [parsed]


def _scalar(raw: Any, kind: str, options: list[str]) -> Any:
    if isinstance(raw, dict | list) or raw is None:
        if kind != "text" or raw is None:
            raise ValueKindError(f"it is no {kind}")
        raw = json.dumps(raw, ensure_ascii=False)
    match kind:
        case "number" | "integer":
            return _number(raw, kind)
        case "boolean":
            word = str(raw).strip().casefold()
            if word not in _YES | _NO:
                raise ValueKindError("it is neither true nor false")
            return word in _YES
    text = sanitize(raw if isinstance(raw, str) else json.dumps(raw)).strip()
    match kind:
        case "text":
            return text[:LONGEST_VALUE]
        case "date":
            return _date(text)
        case "email" if len(text) <= LONGEST_NAME and _EMAIL.fullmatch(text):
            return text
        case "url" if len(text) <= LONGEST_URL and _is_url(text):
            return text
        case "id" if len(text) <= LONGEST_NAME and _ID.fullmatch(text):
            return text
        case "choice":
            chosen = [option for option in options if option.casefold() == text.casefold()]
            if chosen:
                return chosen[0]
            raise ValueKindError("it is none of the options")
    raise ValueKindError(f"it is no {kind}")


def _number(raw: Any, kind: str) -> float | int:
    if isinstance(raw, str):
        text = raw.strip().strip("$€£%").strip()
        if not text or not _NUMBER.fullmatch(text):
            raise ValueKindError(f"it is no {kind}")
        text = text.replace(",", "")
        raw = int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
    if isinstance(raw, bool) or not math.isfinite(raw) or abs(raw) >= 2**63:
        raise ValueKindError(f"it is no {kind}")
    whole = int(raw) == raw
    if kind == "integer" and not whole:
        raise ValueKindError("it is no integer")
    return int(raw) if kind == "integer" else raw


def _date(text: str) -> str:
    try:
        return (date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)).isoformat()
    except ValueError:
        raise ValueKindError("it is no date in the form 2026-01-31") from None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not re.search(r"[\s<>\"\\]", text)
