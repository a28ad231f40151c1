"""A folder of text documents that can be searched and read."""

import difflib
import os
import re
import sqlite3
import stat
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from langchain_core.tools import BaseTool, ToolException, tool

SUFFIXES = (".md", ".rst", ".txt")
"""What counts as a document."""
MAX_FILES = 5_000
"""Most documents of one folder."""
MAX_FILE = 2_000_000
"""Most bytes taken from one document; the rest is left out, and the text says so."""
MAX_PASSAGE = 1_500
"""Longest passage found by a search, in characters; longer sections are cut at paragraphs."""
MAX_PART = 10_000
"""Longest part of a document read at once, in characters."""
PASSAGES = 4
"""How many passages a search gives."""


class Passage(NamedTuple):
    """A piece of a document."""

    document: str
    heading: str
    text: str


def document_tools(folder: Path | str) -> list[BaseTool]:
    """Give the tools search_documents and read_document for the .md, .rst and .txt files of a folder.

    The files are read once, here. The tools know them by name and build no path from what a model says, so nothing
    outside the folder is in reach. Symbolic links are left out.

    Raises:
        ValueError: There is no such folder, or no document in it.
    """
    library = Library(folder)

    @tool
    def search_documents(query: str) -> str:
        """Find the passages of the documents that say most about a few keywords, for example "shipping cost Canada"."""
        found = library.search(query)
        return "\n\n".join(f"[{passage.document}: {passage.heading}]\n{passage.text}" for passage in found)

    @tool
    def read_document(name: str, part: int = 1) -> str:
        """Read a document by its name. A long one comes in parts: ask for part 2, 3, ... to go on."""
        return library.read(name, part)

    search_documents.metadata = {"effect": "read", "languages": {"query": "keywords"}}
    read_document.metadata = {"effect": "read"}
    search_documents.description += f" The documents are {_listed(library.names)}."
    return [search_documents, read_document]


class Library:
    """The documents of a folder under a full-text index: stemmed words, ranked by BM25 (SQLite FTS5)."""

    def __init__(self, folder: Path | str) -> None:
        """Read and index the folder.

        Raises:
            ValueError: There is no such folder, or no document in it.
        """
        root = Path(folder).expanduser()
        if not root.is_dir():
            raise ValueError(f"There is no folder {str(root)!r}: give one that holds .md, .rst or .txt files.")
        self._texts = dict(_documents(root.resolve()))
        if not self._texts:
            raise ValueError(f"The folder {str(root)!r} holds no .md, .rst or .txt file.")
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
        """The names of the documents, with their subfolder where they are in one."""
        return list(self._texts)

    def search(self, query: str) -> list[Passage]:
        """Give the best passages for the words of a query, any of which may be missing.

        Raises:
            ToolException: No passage has any of the words.
        """
        words = re.findall(r"[^\W_]+", query[:1_000])
        wanted = [word for word in words if word.casefold() not in _EMPTY_WORDS.split()] or words
        with self._lock:
            rows = self._index.execute(
                "SELECT document, heading, text FROM passage WHERE passage MATCH ? "
                "ORDER BY bm25(passage, 2, 3, 1), rowid LIMIT ?",
                (" OR ".join(f'"{word}"' for word in wanted[:40]) or '""', PASSAGES),
            ).fetchall()
        if not rows:
            raise ToolException(
                f"Nothing found for {query[:100]!r}. Try other words for the same thing, "
                f"or read a document: {_listed(self.names)}."
            )
        return [Passage(*row) for row in rows]

    def read(self, name: str, part: int = 1) -> str:
        """Give one part of a document.

        Raises:
            ToolException: There is no such document or no such part.
        """
        text = self._texts[self._known(name)]
        parts = max(1, -(-len(text) // MAX_PART))
        if not 1 <= part <= parts:
            raise ToolException(f"The document has {parts} part{'s' if parts > 1 else ''}. Ask for one of these.")
        piece = text[(part - 1) * MAX_PART : part * MAX_PART]
        return piece if parts == 1 else f"{piece}\n(Part {part} of {parts}.)"

    def _known(self, name: str) -> str:
        """Find a document by its name, with or without its folder and ending, in any case."""
        asked = name[:300].strip().casefold()
        for forms in (str, _file_name, _stem):
            alike = [known for known in self._texts if forms(known).casefold() == asked]
            if len(alike) == 1:
                return alike[0]
        near = difflib.get_close_matches(asked, self._texts, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ToolException(f"There is no document {name[:60]!r}.{hint} The documents are {_listed(self.names)}.")


_EMPTY_WORDS = """a about all an and any are as at be by can did do does each every find for from get give has have how
i if in is it its many me much my of on one or our out per say search tell than that the their them then there they this
to up us was we were what when where which who whose why will with would you your"""
_HEADING = re.compile(r"^(?:#{1,6}\s+(?P<marked>.+?)\s*#*|(?P<lined>\S.*)\n(?:={3,}|-{3,}|~{3,})\s*)$", re.MULTILINE)


def _documents(root: Path) -> Iterator[tuple[str, str]]:
    """Read the regular files under a root, never through a symbolic link."""
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
    """Read a document; None for what cannot be read or is no regular file."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        content = file.read(MAX_FILE + 1)
    text = content[:MAX_FILE].decode("utf-8-sig", "replace").replace("\r\n", "\n")
    return text if len(content) <= MAX_FILE else f"{text}\n(Cut here: the file is longer than {MAX_FILE} bytes.)"


def _passages(document: str, text: str) -> Iterator[Passage]:
    """Cut a document at its headings, and a long section at its paragraphs."""
    title = _stem(document)
    starts = [(0, 0, "")] + [
        (match.start(), match.end(), match["marked"] or match["lined"]) for match in _HEADING.finditer(text)
    ]
    ends = [start for start, _, _ in starts[1:]] + [len(text)]
    for (_, body, heading), end in zip(starts, ends, strict=True):
        for piece in _pieces(text[body:end].strip()):
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


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _file_name(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    return _file_name(name).rpartition(".")[0]
