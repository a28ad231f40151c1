"""What makes a text safe to store and show: it is truncated, a tool reads on from there, its secrets are redacted.

Every text that enters a run passes `sanitize` or `json_safe`: requests, replies of models, results of tools, errors.
"""

import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from langchain_core.messages import BaseMessage
from langchain_core.tools import StructuredTool, ToolException
from langgraph.types import Overwrite

SHOWN_LIMIT = 12_000
"""Most characters of one tool result that a model is shown at once."""
STORED_LIMIT = 1_000_000
"""Most characters of one text, such as a tool result, that are stored at all."""
LARGEST_BLOCK = 7_000_000
"""Most characters of a picture, a file or the like in a message: 5 MB in base64, the most that providers take."""
DEEPEST = 100
"""How deep lists and dicts may be nested."""


REDACTED = "[redacted]"
"""What stands for a secret."""
SHORTEST_SECRET = 8
"""Fewest characters of a value of the environment that is taken for a secret."""
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:API|AUTH|ACCESS|PG)?(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?$", re.IGNORECASE
)
_SECRET_FORMS: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    (("://",), re.compile(r"(?<=://)(?P<keep>[^\s:/?#@\"'<>]*:)[^\s/?#\"'<>]+(?=@)")),
    (("earer ",), re.compile(r"(?P<keep>\b[Bb]earer )[\w.~+/=-]{8,}")),
    (("asic ",), re.compile(r"(?P<keep>\bAuthorization: [Bb]asic )[\w+/=]{8,}")),
    (("sk-", "sk_", "rk_"), re.compile(r"(?<![\w+/-])(?P<keep>)(?:sk-[\w-]{16,}|[sr]k_(?:live|test)_\w{16,})")),
    (("gh", "glpat-"), re.compile(r"(?<![\w+/-])(?P<keep>)(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,})")),
    (("xox", "xapp-"), re.compile(r"(?<![\w+/-])(?P<keep>)(?:xox[a-z]-|xapp-)[\w-]{10,}")),
    (("AKIA", "ASIA"), re.compile(r"(?<![\w+/-])(?P<keep>)A[KS]IA[A-Z0-9]{16}\b")),
    (("AIza",), re.compile(r"(?<![\w+/-])(?P<keep>)AIza[\w-]{30,}")),
    (("hf_", "lsv2_"), re.compile(r"(?<![\w+/-])(?P<keep>)(?:hf_\w{20,}|lsv2_\w{20,})")),
    (("eyJ",), re.compile(r"(?<![\w+/-])(?P<keep>)eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+")),
    (
        ("PRIVATE KEY-",),
        re.compile(r"(?P<keep>-----BEGIN [A-Z ]*PRIVATE KEY-----)[^-]+(?:(?=-----END)|\Z)"),
    ),
    (
        ("key=", "token=", "secret=", "password="),
        re.compile(
            r"(?P<keep>[?&](?:api[-_]?key|access[-_]?(?:key|token)|auth[-_]?token|token|(?:client[-_])?secret|password)=)"
            r"[^&\s\"'<>]+",
            re.IGNORECASE,
        ),
    ),
)
"""How secrets are written in texts, each form after what such a text contains; `keep` is what stays of it.

None matches within base64, in which pictures and the signatures of models come.
"""
_HINTS = [(hint, form) for hints, form in _SECRET_FORMS for hint in hints]
_secrets: list[str] = []


def find_secrets() -> None:
    """Read the secrets of the environment again: values whose name says so, and passwords in URLs."""
    found = set()
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name):
            found.add(value.strip())
        elif "://" in value:
            found |= _passwords_in(value)
    _secrets[:] = sorted((secret for secret in found if len(secret) >= SHORTEST_SECRET), key=len, reverse=True)


def _passwords_in(url: str) -> set[str]:
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return set()
    return {password, unquote(password)}


def redact(text: str) -> str:
    """Put `REDACTED` in place of the secrets of the environment and of what is written like a secret."""
    if len(text) < SHORTEST_SECRET:
        return text
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, REDACTED)
    for hint, form in _HINTS:
        if hint in text:
            text = form.sub(rf"\g<keep>{REDACTED}", text)
    return text


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

find_secrets()
