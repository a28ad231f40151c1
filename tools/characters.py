"""Characters that nobody sees: format and control characters, variation selectors, tags, fillers.

With them a text can say what a model reads and a person does not. Joiners and variation selectors stay where a script
or an emoji needs them.
"""

import re
import unicodedata
from collections.abc import Callable


def drop_invisible(text: str) -> str:
    """Take invisible characters out of a text, except for line ends and tabs; every space becomes a plain one."""
    return _translate(text, _DROPPED)


def spell_out_invisible(text: str, *, lines: bool = False, strict: bool = False) -> str:
    r"""Replace invisible characters by escapes such as `\u202e`.

    Args:
        text: The text, from whatever source.
        lines: Whether line ends and tabs stay.
        strict: Whether even those are replaced that a script or an emoji needs.
    """
    table = _SPELLED_OUT_BUT_LINES if lines else _SPELLED_OUT
    return text.translate(table) if strict else _translate(text, table)


def is_invisible(character: str) -> bool:
    """Whether a character shows nothing by itself."""
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or bool(_IGNORABLE.match(character))


class _Table(dict[int, str]):
    """What `str.translate` looks characters up in: it asks once for each."""

    def __init__(self, replace: Callable[[str], str]) -> None:
        super().__init__()
        self._replace = replace

    def __missing__(self, code: int) -> str:
        return self.setdefault(code, self._replace(chr(code)))


def _translate(text: str, table: _Table) -> str:
    if text.isascii() and text.isprintable():
        return text
    parts = _NEEDED.split(text)  # at odd places stands what is needed
    return "".join(part if place % 2 else part.translate(table) for place, part in enumerate(parts))


def _drop(character: str) -> str:
    if character in "\n\t":
        return character
    if is_invisible(character):
        return ""
    return " " if character.isspace() else character


def _spell_out(character: str) -> str:
    code = ord(character)
    if not is_invisible(character):
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_DROPPED = _Table(_drop)
_SPELLED_OUT = _Table(_spell_out)
_SPELLED_OUT_BUT_LINES = _Table(lambda character: character if character in "\n\t" else _spell_out(character))

_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
"""What Unicode calls default ignorable and does not count as format or control characters."""
_JOINED = "[\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc]"
"""Scripts that join or stack letters: Arabic and its neighbours, those of India, Burmese, Khmer, Mongolian."""
_EMOJI = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_NEEDED = re.compile(
    rf"((?<={_JOINED})[\u200c\u200d](?={_JOINED})"
    rf"|(?<={_EMOJI})\ufe0f?\u200d(?={_EMOJI})"
    rf"|(?<={_EMOJI})[\ufe0e\ufe0f]"
    r"|(?<=[#*0-9])\ufe0f(?=\u20e3))"
)
