"""The full-text index of documents, in SQLite (FTS5): English stemming, ranked by BM25."""

import json
import sqlite3
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plan_execute.tools.documents.folder import File, Stamp
from plan_execute.tools.documents.kinds import Reason
from plan_execute.tools.documents.passages import Parsed, split_passages
from plan_execute.tools.documents.words import TOKENIZER, fold

VERSION = zlib.crc32(f"1 {TOKENIZER} {unicodedata.unidata_version}".encode()) >> 1
"""What an index has to be built by to be used again: raise the number whenever what is indexed changes."""

_TABLES = f"""
CREATE TABLE document (
    id INTEGER PRIMARY KEY, path BLOB UNIQUE NOT NULL, name TEXT UNIQUE, ending TEXT NOT NULL, size INTEGER NOT NULL,
    modified INTEGER NOT NULL, inode INTEGER NOT NULL, reason TEXT, unit TEXT, starts TEXT, text TEXT);
CREATE TABLE passage (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL, heading TEXT NOT NULL, above TEXT NOT NULL,
    start INTEGER NOT NULL, length INTEGER NOT NULL, place INTEGER NOT NULL);
CREATE INDEX passage_document ON passage (document);
CREATE VIRTUAL TABLE words USING fts5(document, heading, text, content = '', tokenize = "{TOKENIZER}");
PRAGMA user_version = {VERSION};
"""
_FOUND = """
WITH best AS (SELECT rowid AS id FROM words WHERE words MATCH ? ORDER BY bm25(words, 2, 3, 1), rowid LIMIT ?)
SELECT name, heading, substr(text, start + 1, length), unit, place
FROM best JOIN passage USING (id) JOIN document ON document.id = passage.document
"""


class Index:
    """Documents with their passages. It is not safe to use from several threads at once."""

    def __init__(self, place: Path | str = ":memory:") -> None:
        """Open an index, and create it if the file is new.

        Raises:
            sqlite3.DatabaseError: The file is damaged, or no index of this version.
        """
        self._database = sqlite3.connect(place, check_same_thread=False, isolation_level=None, timeout=30)
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        [version] = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.execute("PRAGMA journal_mode = WAL")  # others can search while one writes
            self._database.executescript(f"BEGIN; {_TABLES} COMMIT;")
        elif version != VERSION:
            raise sqlite3.DatabaseError("The index is of another version.")
        elif (found := self._database.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
            raise sqlite3.DatabaseError(f"The index is damaged: {found}.")
        self._database.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def stamps(self) -> dict[bytes, Stamp]:
        """The files that the index knows, by their keys."""
        rows = self._database.execute("SELECT path, size, modified, inode FROM document")
        return {key: Stamp(*stamp) for key, *stamp in rows}

    def put(self, file: File, name: str, parsed: Parsed | None, reason: Reason | None = None) -> None:
        """Add a file in place of what is known of it.

        Args:
            file: The file.
            name: What the document is called; another one gets a number where that is taken.
            parsed: Its text; None if it is left out.
            reason: Why it, or the rest of it, is left out.
        """
        self.remove(file.key)
        about = (file.key, file.ending, *file.stamp, reason)
        if parsed is None:
            self._database.execute(
                "INSERT INTO document (path, ending, size, modified, inode, reason) VALUES (?, ?, ?, ?, ?, ?)", about
            )
        else:
            self._add(about, self._free(name), parsed)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all or nothing."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _free(self, name: str) -> str:
        free, number = name, 1
        while self._database.execute("SELECT 1 FROM document WHERE name = ?", (free,)).fetchone():
            number += 1
            free = f"{name} ({number})"
        return free

    def _add(self, about: tuple[object, ...], name: str, parsed: Parsed) -> None:
        document = self._database.execute(
            "INSERT INTO document (path, ending, size, modified, inode, reason, name, unit, starts, text) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*about, name, parsed.unit, json.dumps(parsed.starts), parsed.text),
        ).lastrowid
        folded = fold(name)
        title = _title(name)
        for found in split_passages(parsed):
            heading = found.heading or title
            passage = self._database.execute(
                "INSERT INTO passage (document, heading, above, start, length, place) VALUES (?, ?, ?, ?, ?, ?)",
                (document, heading, found.above, found.start, found.end - found.start, found.place),
            ).lastrowid
            self._database.execute(
                "INSERT INTO words (rowid, document, heading, text) VALUES (?, ?, ?, ?)",
                (passage, folded, fold(f"{found.above} {heading}"), fold(parsed.text[found.start : found.end])),
            )

    def remove(self, key: bytes) -> None:
        """Forget a file."""
        rows = self._database.execute(
            "SELECT passage.id, name, heading, above, substr(text, start + 1, length) FROM document JOIN passage "
            "ON document.id = passage.document WHERE path = ?",
            (key,),
        ).fetchall()
        for passage, name, heading, above, text in rows:
            self._database.execute(
                "INSERT INTO words (words, rowid, document, heading, text) VALUES ('delete', ?, ?, ?, ?)",
                (passage, fold(name), fold(f"{above} {heading}"), fold(text)),
            )
            self._database.execute("DELETE FROM passage WHERE id = ?", (passage,))
        self._database.execute("DELETE FROM document WHERE path = ?", (key,))

    def names(self) -> list[str]:
        """The names of the documents, in the order of their paths."""
        return [
            name for (name,) in self._database.execute("SELECT name FROM document WHERE name IS NOT NULL ORDER BY path")
        ]

    def headings(self, name: str) -> Iterator[str]:
        """The headings of a document."""
        rows = self._database.execute(
            "SELECT heading FROM document JOIN passage ON document.id = passage.document WHERE name = ? "
            "ORDER BY passage.id",
            (name,),
        )
        return (heading for (heading,) in rows)

    def left_out(self) -> Iterator[tuple[Reason, str, int]]:
        """How many files are left out, by reason and ending."""
        return self._database.execute(
            "SELECT reason, ending, count(*) FROM document WHERE reason IS NOT NULL GROUP BY reason, ending"
        )

    def search(self, expression: str, most: int) -> list[tuple[str, str, str, str, int]]:
        """Find passages, the best first: name, heading, text, unit and place."""
        return self._database.execute(_FOUND, (expression, most)).fetchall()

    def read(self, name: str) -> tuple[str, str, list[int]]:
        """Return the text of a document, its unit, and where each page or cell begins."""
        text, unit, starts = self._database.execute(
            "SELECT text, unit, starts FROM document WHERE name = ?", (name,)
        ).fetchone()
        return text, unit, json.loads(starts)


def _title(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]
