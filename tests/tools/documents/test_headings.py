"""Which lines are headings, in each format, and that no text takes long or gets lost."""

import re
import time
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plan_execute.tools.documents.headings import find_headings
from plan_execute.tools.documents.kinds import MAX_FILE, read_text
from plan_execute.tools.documents.passages import MAX_PART, MAX_PASSAGE, Parsed, split_parts, split_passages
from tests.drawn import drawn

MARKDOWN = """\
---
title: Not a heading
# nor this
---
Intro

# First #

   ## Second ##
Third
=====
Fourth
---
two lines
of text
---
- item
---
    # indented
```sh
# code
~~~
````not closing
```
~~~~
# tilde
```
~~~~~
#hashtag
####### seven
> # quoted

1. Scope
--------
"""
RST = """\
=====
Title
=====

Section
-------
Text over
several lines
=============

.. _label:
Labelled
~~~~~~~~

=====  =====
a      b
=====  =====

.. code::

   Inside
   ======

标题
====
Too short
--
"""
ASCIIDOC = """\
= Title
== Part =
----
== code
----
|===
|a
|===
=== Deep
.....
== literal
....
.....
== after
"""


@pytest.mark.parametrize(
    ("ending", "text", "found"),
    [
        (".md", MARKDOWN, ["First", "Second", "Third", "Fourth", "1. Scope"]),
        (".rst", RST, ["Title", "Section", "Labelled", "标题"]),
        (".adoc", ASCIIDOC, ["Title", "Part", "Deep", "after"]),
        (".txt", "Head\n~~~~\n\n```\n# in a text\n", ["Head", "in a text"]),
        (".md", "+++\na = 1\n# no\n+++\n# yes\n", ["yes"]),
        (".md", "---\nnever closed\n# yes\n", ["yes"]),
        (".md", "# " + "long " * 60, []),
    ],
)
def test_headings_by_the_rules_of_the_format(ending: str, text: str, found: list[str]) -> None:
    assert [heading.text for heading in find_headings(text, ending)] == found


def test_heading_without_text_leads_to_the_next() -> None:
    text = "# Returns\n\n## Deadlines\n\nIn time.\n\n# End\n"
    parsed = Parsed(text, find_headings(text, ".md"))
    assert [found[:2] + found[4:] for found in split_passages(parsed)] == [("Deadlines", "Returns", 5), ("End", "", 7)]


@pytest.mark.parametrize("ending", [".md", ".rst", ".adoc"])
@pytest.mark.parametrize(
    "piece",
    [" ", "`", "---\n", "# a\n", "a\n===\n", "```\n````\n", "[", "x", "\n", "- ", "é", "返", "<!--", "a\u0301", "\t\n"],
)
def test_time_grows_with_the_length(ending: str, piece: str) -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        parsed = read_text(f"# a{piece * (size // len(piece))}".encode()[:MAX_FILE], ending)
        assert isinstance(parsed, Parsed)
        assert max(found.end - found.start for found in split_passages(parsed)) <= MAX_PASSAGE
        return time.process_time() - started

    assert seconds(150_000) < 3, "the whole of a square would be minutes"
    drawn("texts of one repeated piece split in time that grows with their length")


PIECES = [
    "# a",
    "## ",
    "Title",
    "====",
    "---",
    "```",
    "~~~~",
    "    code",
    "",
    "",
    "text.",
    "- item",
    "> q",
    "返品期限",
    "+++",
]
DOCUMENTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=30), max_size=40).map("\n".join)


@given(DOCUMENTS | st.text(max_size=4_000), st.sampled_from([".md", ".rst", ".adoc", ".txt"]), st.integers(0, 3))
@settings(max_examples=300)
def test_no_character_is_lost(text: str, ending: str, times: int) -> None:
    parsed = read_text("\n".join([text] * (1 + 9 * times)).encode("utf-8", "replace"), ending)
    if not isinstance(parsed, Parsed):
        return
    found = list(split_passages(parsed))
    shown = [each.heading + each.above + parsed.text[each.start : each.end] for each in found]
    assert _letters(parsed.text) - _letters("".join(shown)) == Counter()
    assert all(0 < each.end - each.start <= MAX_PASSAGE for each in found)
    assert all(parsed.text.count("\n", 0, each.start) + 1 == each.place for each in found)
    drawn("drawn documents split into passages without the loss of a letter")


@given(st.text("ab \n", max_size=200), st.integers(1, 400))
@example("ab\n", 5_000)
def test_parts_joined_are_the_text(text: str, times: int) -> None:
    ends = split_parts(text * times)
    parts = [(text * times)[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert "".join(parts) == text * times
    assert all(len(part) <= MAX_PART for part in parts)
    assert all(part.endswith("\n") or "\n" not in part for part in parts[:-1])


def _letters(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w", text))
