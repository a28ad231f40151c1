"""The kinds of documents by the endings of their files, and why a file may be left out."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from plan_execute.tools.characters import drop_invisible
from plan_execute.tools.documents.headings import Heading, find_headings
from plan_execute.tools.documents.passages import Parsed
from plan_execute.tools.encodings import decode

MAX_FILE = 2_000_000
"""Most bytes read from one text file; the text says where it was truncated."""
MAX_BINARY = 30_000_000
"""Largest file of another kind, in bytes; larger ones are left out."""

TEXT = (".md", ".markdown", ".mdx", ".rst", ".adoc", ".asciidoc", ".txt", ".text", ".log")
"""Endings of files that are text."""
NOTEBOOK = ".ipynb"
CONVERTED = {
    ".pdf": ("pypdf",),
    ".docx": ("lxml", "mammoth"),
    ".html": ("lxml",),
    ".htm": ("lxml",),
    ".xhtml": ("lxml",),
}
"""Endings of files that are converted in a process of their own, with the packages that each needs."""
READABLE = (*TEXT, NOTEBOOK, *CONVERTED)
UNSUPPORTED = (".doc", ".odt", ".rtf", ".epub", ".ppt", ".pptx", ".odp", ".djvu", ".pages", ".tex", ".org", ".chm")
"""Endings of documents that nothing here reads; they are counted, so that nobody misses them without a word."""

Reason = Literal[
    "not installed",
    "not supported",
    "too large",
    "truncated",
    "unreadable",
    "encrypted",
    "no text",
    "too many files",
    "no time",
]
"""Why a file is left out; "truncated" where only its beginning is read."""

_LINE_ENDS = str.maketrans(dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", " "))
"""What counts as a line end in places; editors do not count it."""
_GARBAGE = re.compile("[\x00-\x07\x0e-\x1a\ufffd]")
_MOST_GARBAGE = 0.05
"""The share of such characters above which a file is no text, whatever its name says."""


def read_text(content: bytes, ending: str) -> Parsed | Reason:
    """Read a text file or a notebook.

    Args:
        content: The bytes of the file; beyond `MAX_FILE`, those of a text are left out.
        ending: The ending of its name.
    """
    if ending == NOTEBOOK:
        return _read_notebook(content)
    text = decode(content[:MAX_FILE])
    start = text[:10_000]
    if sum(character < " " and character not in "\t\n\r\x0c\x1b\x08" for character in start) > _MOST_GARBAGE * len(
        start
    ):
        return "unreadable"
    text = clean(text)
    if not text.strip():
        return "no text"
    if len(content) > MAX_FILE:
        text = f"{text}\n(Truncated here: the file is longer than {MAX_FILE} bytes.)"
    return Parsed(text, find_headings(text, ending))


def clean(text: str) -> str:
    """Take invisible characters out of a text and give all its lines the same end."""
    return drop_invisible(text.replace("\r\n", "\n").replace("\r", "\n").translate(_LINE_ENDS))


def _read_notebook(content: bytes) -> Parsed | Reason:
    if len(content) > MAX_BINARY:
        return "too large"
    text, starts, headings = "", [], []
    try:
        for kind, source in _cells(json.loads(content)):
            starts.append(len(text))
            if kind == "markdown":
                found = find_headings(source, ".md")
                headings += [Heading(len(text) + each.start, len(text) + each.end, each.text) for each in found]
            text += f"{source}\n\n"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "unreadable"
    return Parsed(text, headings, "cell", starts) if text.strip() else "no text"


def _cells(notebook: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The text of each cell: its source, and the text that code printed."""
    for cell in notebook["cells"]:
        shown = [cell["source"]]
        for output in cell.get("outputs", ()):
            shown.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
        yield cell["cell_type"], clean("\n".join("".join(part) for part in shown)).strip("\n")
