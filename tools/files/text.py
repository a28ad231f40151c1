"""The text in a file: how it is encoded, and how one passage of it is replaced."""

import codecs
import re
from collections import Counter

from langchain_core.tools import ToolException

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
"""The byte order marks that a text may begin with."""
_LINE_END = re.compile("\r?\n")


def decode(content: bytes) -> str | None:
    """Read a text in UTF-8, or in UTF-16 with a byte order mark; None if it is none."""
    mark, codec = _encoding(content)
    try:
        text = content[len(mark) :].decode(codec)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def replace_once(content: bytes, text: str, old: str, new: str) -> bytes:
    """Replace the only occurrence of a passage, and leave all else as it is, encoding and line ends included.

    Args:
        content: What is in the file.
        text: The same, decoded.
        old: The passage. A line end in it stands for either kind.
        new: What takes its place, with the line ends that most lines of the file have.

    Raises:
        ToolException: The passage does not occur, or more than once.
    """
    shown, wanted = plain(text), plain(old)
    start = shown.find(wanted) if wanted else -1
    if start < 0:
        raise ToolException(
            "This text does not occur in the file: copy `old` exactly from what read_file shows, without characters "
            "that it spells out, such as \\u200b."
        )
    if shown.find(wanted, start + 1) >= 0:
        raise ToolException("This text occurs more than once in the file: add the lines around it to `old`.")
    ends = _LINE_END.findall(text)
    usual = Counter(ends).most_common(1)[0][0] if ends else "\n"

    def place_in_text(place: int) -> int:
        return place + "".join(ends[: shown.count("\n", 0, place)]).count("\r")

    mark, codec = _encoding(content)
    before, after = text[: place_in_text(start)], text[place_in_text(start + len(wanted)) :]
    return mark + encode(before + plain(new).replace("\n", usual) + after, codec)


def encode(text: str, codec: str = "utf-8") -> bytes:
    """Write a text.

    Raises:
        ToolException: It holds a character that no text file has.
    """
    if "\0" in text:
        raise ToolException("The text has a NUL character in it, which no text file has: leave it out.")
    try:
        return text.encode(codec)
    except UnicodeEncodeError:
        raise ToolException("The text has half of a surrogate pair in it: write the character whole.") from None


def plain(text: str) -> str:
    """The text with all its lines ended by a line feed alone."""
    return text.replace("\r\n", "\n")


def _encoding(content: bytes) -> tuple[bytes, str]:
    return next((known for known in _MARKS.items() if content.startswith(known[0])), (b"", "utf-8"))
