"""Splitting of a document into the passages that a search finds, and into the parts in which it is read."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

from plan_execute.tools.documents.headings import MAX_HEADING, Heading

MAX_PASSAGE = 1_500
"""Longest passage that a search returns, in characters; longer sections are split, at paragraphs where possible."""
MAX_PART = 10_000
"""Longest part of a document that is returned at once, in characters."""

_TEXT = re.compile(r"\S")


@dataclass(frozen=True)
class Parsed:
    """The text of a document."""

    text: str
    headings: list[Heading] = field(default_factory=list)
    """In the order of the text."""
    unit: Literal["line", "page", "cell", ""] = "line"
    """What a place in the document is counted in; empty where a reader sees nothing that can be counted."""
    starts: list[int] = field(default_factory=list)
    """Where each page or cell begins in the text."""


class Slice(NamedTuple):
    """A passage, as a part of its document's text."""

    heading: str
    """The heading it stands below; empty above the first."""
    above: str
    """Headings before that one, which have no text of their own."""
    start: int
    end: int
    place: int
    """The line, page or cell in which it begins, from 1; 0 where nothing is counted."""


def split_passages(document: Parsed) -> Iterator[Slice]:
    """Split a document at its headings and pages, and long sections at paragraphs, lines or spaces.

    Every character that is not white space or the mark of a heading is in a passage or its headings.
    """
    text, counted = document.text, _Counter(document)
    bare: list[Heading] = []  # headings that no text has followed yet
    length = 0
    for heading, following in pairwise([Heading(0, 0, ""), *document.headings, Heading(len(text), len(text), "")]):
        if length + len(heading.text) > MAX_HEADING:
            yield _bare_passage(text, bare, counted)
            bare, length = [], 0
        if heading.text:
            bare.append(heading)
            length += len(heading.text)
        if ranges := list(_ranges(document, heading.end, following.start)):
            *above, below = [each.text for each in bare] or [""]
            for start, end in ranges:
                yield Slice(below, " ".join(above), start, end, counted.place(start))
            bare, length = [], 0
    if bare:
        yield _bare_passage(text, bare, counted)


def split_parts(text: str) -> list[int]:
    """Find where the parts of a text end: at the last line end that fits, or else where `MAX_PART` is reached."""
    ends = []
    start = 0
    while len(text) - start > MAX_PART:
        start = text.rfind("\n", start, start + MAX_PART) + 1 or start + MAX_PART
        ends.append(start)
    return [*ends, len(text)]


class _Counter:
    """Counts lines, or pages, up to places that are asked for in their order."""

    def __init__(self, document: Parsed) -> None:
        self._document = document
        self._line, self._at = 1, 0

    def place(self, at: int) -> int:
        if self._document.unit != "line":
            return bisect_right(self._document.starts, at)
        self._line += self._document.text.count("\n", self._at, at)
        self._at = at
        return self._line


def _bare_passage(text: str, headings: list[Heading], counted: _Counter) -> Slice:
    start = headings[0].start
    end = start + len(text[start : headings[-1].end][:MAX_PASSAGE].rstrip())
    return Slice(headings[-1].text, " ".join(each.text for each in headings[:-1]), start, end, counted.place(start))


def _ranges(document: Parsed, start: int, end: int) -> Iterator[tuple[int, int]]:
    first, last = bisect_right(document.starts, start), bisect_right(document.starts, end)
    for begin, stop in pairwise([start, *document.starts[first:last], end]):
        yield from _pieces(document.text, begin, stop)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while found := _TEXT.search(text, start, end):
        begin = found.start()
        start = min(end, begin + MAX_PASSAGE)
        if start < end:
            breaks = (text.rfind(mark, begin + 1, start + 1) for mark in ("\n\n", "\n", " "))
            start = next((cut for cut in breaks if cut > 0), start)
        yield begin, begin + len(text[begin:start].rstrip())
