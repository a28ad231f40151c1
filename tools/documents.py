"""Search and reading of a folder of text documents."""

import os
import re
import sqlite3
import stat
import threading
import weakref
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path, PurePosixPath
from textwrap import shorten
from typing import NamedTuple

from langchain_core.tools import BaseTool, ToolException, tool

from plan_execute.tools.messages import did_you_mean, list_names

SUFFIXES = (".md", ".rst", ".txt")
"""Endings of the files that count as documents."""
MAX_FILES = 5_000
"""Most documents read from one folder."""
MAX_FILE = 2_000_000
"""Most bytes read from one document; the text says where it was truncated."""
MAX_PASSAGE = 1_500
"""Longest passage that a search returns, in characters; longer sections are split, at paragraphs where possible."""
MAX_PART = 10_000
"""Longest part of a document that is returned at once, in characters."""
MAX_OUTLINE = 120
"""Most characters of the headings of one document in the description of the tools."""
PASSAGES = 4
"""Most passages that a search returns."""


class Passage(NamedTuple):
    """A part of a document."""

    document: str
    """Name of the document."""
    heading: str
    """Heading of the section, or the name of the document above the first heading."""
    text: str
    """At most `MAX_PASSAGE` characters."""


def document_tools(folder: Path | str, *, outline: bool = False) -> list[BaseTool]:
    """Create the tools search_documents and read_document for the .md, .rst and .txt files of a folder.

    The files are read once, here. The tools look documents up by name and never build a path from what a model
    writes, so nothing outside the folder can be reached. Symbolic links are skipped.

    Args:
        folder: The folder, searched with its subfolders, except hidden ones.
        outline: Whether the description of search_documents lists the headings of the documents beside their names, so
            that a planner sees what they are about. Only for documents you vouch for: a planner reads the headings.

    Returns:
        The two tools. They raise `ToolException` when nothing is found.

    Raises:
        ValueError: There is no such folder, or no document in it.
    """
    library = Library(folder)

    @tool
    def search_documents(query: str) -> str:
        """Find the passages in the documents that best match a few keywords, for example "shipping cost Canada"."""
        found = library.search(query)
        return "\n\n".join(f"[{passage.document}: {passage.heading}]\n{passage.text}" for passage in found)

    @tool
    def read_document(name: str, part: int = 1) -> str:
        """Read a document by its name. A long document has several parts: ask for part 2, 3, ... to continue."""
        return library.read(name, part)

    search_documents.metadata = {"effect": "read", "languages": {"query": "keywords"}}
    read_document.metadata = {"effect": "read"}
    listed = library.outline() if outline else library.names
    search_documents.description += f" The documents are {list_names(listed)}."
    return [search_documents, read_document]


class Library:
    """The documents of a folder with a full-text index (SQLite FTS5): English stemming, ranked by BM25."""

    def __init__(self, folder: Path | str) -> None:
        """Read and index the documents.

        Args:
            folder: The folder, searched with its subfolders, except hidden ones. Symbolic links in it are skipped.

        Raises:
            ValueError: There is no such folder, or no document in it.
        """
        root = Path(folder).expanduser()
        if not root.is_dir():
            raise ValueError(f"There is no folder {str(root)!r}: give one that contains .md, .rst or .txt files.")
        self._texts = dict(_documents(root.resolve()))
        if not self._texts:
            raise ValueError(f"The folder {str(root)!r} contains no .md, .rst or .txt file.")
        self._lock = threading.Lock()
        self._index = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self._index.close)
        self._index.execute(
            "CREATE VIRTUAL TABLE passage USING fts5(document, heading, text, tokenize = 'porter unicode61')"
        )
        self._index.executemany(
            "INSERT INTO passage VALUES (?, ?, ?)",
            (passage for name, text in self._texts.items() for passage in _passages(name, text)),
        )

    @property
    def names(self) -> list[str]:
        """The names of the documents: their paths within the folder, with `/` between the parts."""
        return list(self._texts)

    def outline(self) -> list[str]:
        """Return the names of the documents with their headings, of at most `MAX_OUTLINE` characters each."""
        headings: dict[str, dict[str, None]] = {name: {} for name in self._texts}
        with self._lock:
            for name, heading in self._index.execute("SELECT document, heading FROM passage ORDER BY rowid"):
                headings[name][heading] = None
        return [
            f"{name} ({shorten('; '.join(found), MAX_OUTLINE, placeholder=' ...')})" for name, found in headings.items()
        ]

    def search(self, query: str) -> list[Passage]:
        """Find the passages that best match the words of a query; not every word has to occur.

        Args:
            query: Keywords; only the first 1,000 characters and 40 words count.

        Returns:
            At most `PASSAGES` passages, the best first.

        Raises:
            ToolException: No passage contains any of the words.
        """
        words = re.findall(r"[^\W_]+", query[:1_000])
        keywords = [word for word in words if word.casefold() not in _STOP_WORDS.split()] or words
        with self._lock:
            rows = self._index.execute(
                "SELECT document, heading, text FROM passage WHERE passage MATCH ? "
                "ORDER BY bm25(passage, 2, 3, 1), rowid LIMIT ?",
                (" OR ".join(f'"{word}"' for word in keywords[:40]) or '""', PASSAGES),
            ).fetchall()
        if not rows:
            raise ToolException(
                f"Nothing found for {query[:100]!r}. Try synonyms, "
                f"or read one of the documents: {list_names(self.names)}."
            )
        return [Passage(*row) for row in rows]

    def read(self, name: str, part: int = 1) -> str:
        """Return a document, or one part of a long one.

        Args:
            name: The name of the document, in any case; its folder and ending may be left out if that is unambiguous.
            part: Which part, counted from 1.

        Returns:
            At most `MAX_PART` characters, with a note that counts the parts if there are several.

        Raises:
            ToolException: There is no such document or no such part.
        """
        text = self._texts[self._resolve(name)]
        parts = max(1, -(-len(text) // MAX_PART))
        if not 1 <= part <= parts:
            raise ToolException(f"There is no part {part}: the document has {parts} part{'s' if parts > 1 else ''}.")
        piece = text[(part - 1) * MAX_PART : part * MAX_PART]
        return piece if parts == 1 else f"{piece}\n(Part {part} of {parts}.)"

    def _resolve(self, name: str) -> str:
        """Find a document by its path, else by its file name, else by its file name without the ending."""
        lowered = name[:300].strip().casefold()
        for form in (str, attrgetter("name"), attrgetter("stem")):
            matches = [known for known in self._texts if form(PurePosixPath(known)).casefold() == lowered]
            if len(matches) == 1:
                return matches[0]
        hint = did_you_mean(lowered, self._texts)
        raise ToolException(f"There is no document {name[:60]!r}.{hint} The documents are {list_names(self.names)}.")


_STOP_WORDS = """a about all an and any are as at be by can did do does each every find for from get give has have how
i if in is it its many me much my of on one or our out per say search tell than that the their them then there they this
to up us was we were what when where which who whose why will with would you your"""
_HEADING = re.compile(r"^(?:#{1,6}\s+(.+?)\s*#*|(\S.*)\n(?:={3,}|-{3,}|~{3,})\s*)$", re.MULTILINE)
"""A heading that begins with `#`, or one that is underlined; `re.split` gives the text of either."""


def _documents(root: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of the documents under a folder, without following symbolic links."""
    count = 0
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES and count < MAX_FILES and (text := _text(path)) is not None:
                count += 1
                shown = path.relative_to(root).as_posix()
                yield shown.encode("utf-8", "replace").decode("utf-8"), text


def _text(path: Path) -> str | None:
    """Read a document, or return None if it cannot be read or is not a regular file."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        content = file.read(MAX_FILE + 1)
    text = content[:MAX_FILE].decode("utf-8-sig", "replace").replace("\r\n", "\n")
    return text if len(content) <= MAX_FILE else f"{text}\n(Truncated here: the file is longer than {MAX_FILE} bytes.)"


def _passages(document: str, text: str) -> Iterator[Passage]:
    """Split a document at its headings, and long sections at their paragraphs."""
    title = PurePosixPath(document).stem
    above, *rest = _HEADING.split(text)
    sections = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    for heading, body in [("", above), *((hashed or underlined, body) for hashed, underlined, body in sections)]:
        for piece in _pieces(body.strip()):
            yield Passage(document, heading or title, piece)


def _pieces(section: str) -> Iterator[str]:
    piece = ""
    for paragraph in re.split(r"\n\s*\n", section):
        if piece and len(piece) + len(paragraph) > MAX_PASSAGE:
            yield piece
            piece = ""
        piece = f"{piece}\n\n{paragraph}".strip()
        while len(piece) > MAX_PASSAGE:
            yield piece[:MAX_PASSAGE]
            piece = piece[MAX_PASSAGE:]
    if piece:
        yield piece
