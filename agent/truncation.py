"""Truncation: a long text becomes a digest with a reference, and a tool reads on from there."""

from collections.abc import Mapping
from typing import Any

from langchain_core.tools import StructuredTool, ToolException

SHOWN_LIMIT = 12_000
"""Most characters of one tool result that a model is shown at once."""
STORED_LIMIT = 1_000_000
"""Most characters of one tool result that are stored at all."""


def truncate_middle(text: str, limit: int, reference: str | None = None) -> str:
    """Truncate a long text in the middle, with a note of how much is left out and how to read it; both ends stay."""
    if len(text) <= limit:
        return text
    half = limit // 2
    note = f"{len(text) - 2 * half:,} characters left out"
    if reference is not None:
        note += f'; read on with {READER_NAME}(reference="{reference}", offset={half})'
    return f"{text[:half]}\n[... {note} ...]\n{text[-half:]}"


def sanitize(text: str) -> str:
    """Make any text safe to store and send: invalid Unicode is replaced, more than `STORED_LIMIT` is truncated."""
    return truncate_middle(text.encode("utf-8", "replace").decode("utf-8"), STORED_LIMIT)


def fold(text: str) -> str:
    """Reduce a text to what tells it from another: no case, single spaces, no full stop at its end."""
    return " ".join(text.split()).rstrip(".").casefold()


def json_safe(value: Any) -> Any:
    """Make plain JSON safe to store: texts are sanitized, integers beyond 64 bits become texts."""
    match value:
        case str():
            return value if value.isascii() and len(value) <= STORED_LIMIT else sanitize(value)
        case dict():
            return {json_safe(str(key)): json_safe(item) for key, item in value.items()}
        case list():
            return [json_safe(item) for item in value]
        case int() if not -(2**63) <= value < 2**63:
            return str(value)
    return value


def read_reference(texts: Mapping[str, str], reference: str, offset: int) -> str:
    """Return the part of a stored text that begins at `offset`, at most `SHOWN_LIMIT` characters.

    Raises:
        ToolException: There is no such reference, or the offset is outside the text; the message says what there is.
    """
    text = texts.get(reference)
    if text is None:
        raise ToolException(f"There is no reference {reference!r}; there are: {', '.join(texts) or 'none'}.")
    if not 0 <= offset < len(text):
        raise ToolException(f"{reference!r} has {len(text):,} characters: give an offset from 0 to {len(text) - 1}.")
    part = text[offset : offset + SHOWN_LIMIT]
    rest = len(text) - offset - len(part)
    return part + (f"\n[... {rest:,} characters follow; offset={offset + len(part)} ...]" if rest else "")


def _unreachable(reference: str, offset: int = 0) -> str:
    raise RuntimeError(f"The middleware answers {READER_NAME}; it did not run for {reference!r} at {offset}.")


READER_NAME = "read_result"

READER = StructuredTool.from_function(
    _unreachable,
    name=READER_NAME,
    description="Read on in a truncated result: from the character at `offset` of the text called `reference`.",
)
"""Bound only where something was truncated; the middleware answers it from the scratchpad."""
