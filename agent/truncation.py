"""Truncation, and what else makes a text safe to store and to show: valid Unicode, and no secret in it.

Every text that enters a run passes `sanitize` or `json_safe`: requests, replies of models, results of tools, errors. A
tool reads on in a text that was truncated.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.tools import StructuredTool, ToolException
from langgraph.types import Overwrite

from plan_execute.agent.redaction import redact

SHOWN_LIMIT = 12_000
"""Most characters of one tool result that a model is shown at once."""
STORED_LIMIT = 1_000_000
"""Most characters of one text, such as a tool result, that are stored at all."""
LARGEST_BLOCK = 7_000_000
"""Most characters of a picture, a file or the like in a message: 5 MB in base64, the most that providers take."""
DEEPEST = 100
"""How deep lists and dicts may be nested."""


def truncate_middle(text: str, limit: int, reference: str | None = None) -> str:
    """Truncate a long text in the middle, with a note of how much is left out and how to read it; both ends stay."""
    if len(text) <= limit:
        return text
    half = limit // 2
    note = f"{len(text) - 2 * half:,} characters left out"
    if reference is not None:
        note += f'; read on with {READER_NAME}(reference="{reference}", offset={half})'
    return f"{text[:half]}\n[... {note} ...]\n{text[-half:]}"


def sanitize(text: str, limit: int = STORED_LIMIT) -> str:
    """Make any text safe to store and send.

    NUL and invalid Unicode are replaced, secrets are redacted, more than `limit` characters are truncated.
    """
    if not (text.isascii() and "\0" not in text):
        text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")
    return redact(truncate_middle(text, limit))


def fold(text: str) -> str:
    """Reduce a text to what tells it from another: no case, single spaces, no full stop at its end."""
    return " ".join(text.split()).rstrip(".").casefold()


def json_safe(value: Any, limit: int = STORED_LIMIT, above: tuple[int, ...] = ()) -> Any:
    """Make any value safe to store on any checkpointer, also the messages in it.

    Texts are sanitized; objects, and integers beyond 64 bits, become texts; pictures and the like that are too large
    are left out.

    Args:
        value: The value; it stays as it is, a copy is returned.
        limit: Most characters of a text.
        above: The ids of the containers it is in, of which none may hold itself.
    """
    match value:
        case str():
            return sanitize(value, limit)
        case None | bool() | float():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case bytes():
            return value if len(value) <= limit else f"[{len(value):,} bytes left out]"
    if id(value) in above or len(above) == DEEPEST:
        return "..."
    inside = partial(json_safe, limit=limit, above=(*above, id(value)))
    match value:
        case dict():
            return {inside(key if isinstance(key, str) else _as_text(key)): inside(item) for key, item in value.items()}
        case tuple():
            return tuple(map(inside, value))
        case list() | set() | frozenset():
            return list(map(inside, value))
        case Overwrite():
            return Overwrite(inside(value.value))
        case BaseMessage():
            fields = {**value.__dict__, **(value.model_extra or {})}
            content = fields.pop("content")
            content = list(map(_storable_block, content)) if isinstance(content, list) else inside(content)
            return value.model_copy(update={**inside(fields), "content": content})
    return sanitize(_as_text(value), limit)


def _storable_block(block: Any) -> Any:
    """Make a block of a message safe to store; data of a picture or the like is stored whole or not at all."""
    kind = block.get("type") or next(iter(block), None) if isinstance(block, dict) else "text"
    if kind == "text":
        return json_safe(block)
    block = json_safe(block, LARGEST_BLOCK)
    if len(str(block)) > LARGEST_BLOCK:
        return {"type": "text", "text": f"[{kind} left out: more than {LARGEST_BLOCK:,} characters]"}
    return block


def _as_text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a class may have any __str__
        return type(value).__name__


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
