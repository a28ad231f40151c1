"""Headings of Markdown, reStructuredText, AsciiDoc and plain text, found line by line."""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

MAX_HEADING = 200
"""Most characters of a heading; what is longer is text."""


class Heading(NamedTuple):
    """A heading in a text."""

    start: int
    """Where its first line begins."""
    end: int
    """Where the text below it begins."""
    text: str
    """Its words, without its marks."""


class _Line(NamedTuple):
    start: int
    text: str
    end: int


def find_headings(text: str, ending: str) -> list[Heading]:
    """Find the headings of a text, in time that grows with its length only.

    Args:
        text: The text, whose lines end with newlines.
        ending: The ending of the file's name, such as ".md".
    """
    lines = list(_lines(text))
    if ending == ".rst":
        found = _rst(lines)
    elif ending in {".adoc", ".asciidoc"}:
        found = _asciidoc(lines)
    else:
        found = _markdown(lines, plain=ending not in {".md", ".markdown", ".mdx"})
    return [heading for heading in found if heading.text and len(heading.text) <= MAX_HEADING]


def _lines(text: str) -> Iterator[_Line]:
    start = 0
    for line in text.split("\n"):
        end = min(start + len(line) + 1, len(text))
        yield _Line(start, line, end)
        start = end


def _markdown(lines: list[_Line], *, plain: bool) -> Iterator[Heading]:
    """Headings that begin with `#`, and lines that are underlined, outside of code and of the head of the file.

    Plain text has neither fences nor a head.
    """
    fence = ""
    above: list[_Line] = []  # the lines of the paragraph so far
    for line in lines[0 if plain else _front_matter(lines) :]:
        bare = line.text.strip()
        indented = line.text.startswith(("    ", "\t", " \t", "  \t", "   \t"))
        if fence:
            if not indented and bare.startswith(fence) and not bare.strip(fence[0]):
                fence = ""
        elif not bare:
            above = []
        elif indented:
            above.append(line)
        elif not plain and (opened := _fence(bare)):
            fence, above = opened, []
        elif title := _after_hashes(bare):
            yield Heading(line.start, line.end, title)
            above = []
        elif len(above) == 1 and _is_underline(bare, "=-~" if plain else "=-") and _can_be_underlined(above[0].text):
            yield Heading(above[0].start, line.end, above[0].text.strip())
            above = []
        else:
            above.append(line)


def _front_matter(lines: list[_Line]) -> int:
    """How many lines the YAML or TOML at the head of a file takes."""
    closing = {"---": ("---", "..."), "+++": ("+++",)}.get(lines[0].text.rstrip(), ())
    places = (place for place, line in enumerate(lines) if place and line.text.rstrip() in closing)
    return next(places, -1) + 1


def _fence(bare: str) -> str:
    """The marks that open a block of code."""
    mark = bare[0]
    marks = bare[: len(bare) - len(bare.lstrip(mark))]
    return marks if mark in "`~" and len(marks) >= 3 and (mark == "~" or "`" not in bare[len(marks) :]) else ""


def _after_hashes(bare: str, mark: str = "#") -> str:
    title = bare.lstrip(mark)
    if not 1 <= len(bare) - len(title) <= 6 or not title[:1].isspace():
        return ""
    title = title.strip()
    open_ended = title.rstrip(mark)
    return open_ended.rstrip() if not open_ended or open_ended[-1].isspace() else title


def _is_underline(bare: str, marks: str) -> bool:
    return len(bare) >= 3 and bare[0] in marks and not bare.strip(bare[0])


def _can_be_underlined(line: str) -> bool:
    return re.match(r"\s*(?:[>|]|[-*+]\s)", line) is None


def _rst(lines: list[_Line]) -> Iterator[Heading]:
    """Titles with a line of punctuation below them, or above and below."""
    ended = -1
    for place in range(1, len(lines)):
        mark = lines[place].text.rstrip()
        title = lines[place - 1].text
        if place - 1 <= ended or not _is_adornment(mark) or not title.strip() or _is_adornment(title.rstrip()):
            continue
        before = lines[place - 2].text.rstrip() if place >= 2 and place - 2 > ended else ""
        overlined = before == mark
        begins = not before or overlined or before.startswith("..") or place - 2 == ended
        if begins and (overlined or not title[0].isspace()) and len(mark) >= min(4, _width(title.strip())):
            yield Heading(lines[place - 1 - overlined].start, lines[place].end, title.strip())
            ended = place


def _is_adornment(line: str) -> bool:
    return len(line) >= 2 and line[0] in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" and not line.strip(line[0])


def _width(title: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in title[:MAX_HEADING])


def _asciidoc(lines: list[_Line]) -> Iterator[Heading]:
    """Titles that begin with `=`, outside of blocks that are taken as they are."""
    block = ""
    for line in lines:
        bare = line.text.rstrip()
        if block:
            block = "" if bare == block else block
        elif (_is_underline(bare, "-./+") and len(bare) >= 4) or bare == "```":
            block = bare
        elif title := _after_hashes(bare, "=") or _after_hashes(bare):
            yield Heading(line.start, line.end, title)
