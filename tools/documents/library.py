"""The documents of a folder: search, reading, and what was left out."""

import threading
import unicodedata
import weakref
from bisect import bisect_right
from collections import Counter
from operator import attrgetter
from pathlib import Path, PurePosixPath
from textwrap import shorten
from typing import NamedTuple

from langchain_core.tools import ToolException

from plan_execute.tools.documents.cache import open_index
from plan_execute.tools.documents.folder import MARKS, find_file, find_files
from plan_execute.tools.documents.kinds import READABLE, UNSUPPORTED
from plan_execute.tools.documents.passages import split_parts
from plan_execute.tools.documents.update import LeftOut, describe_left_out
from plan_execute.tools.documents.words import match_expression
from plan_execute.tools.messages import did_you_mean, list_names

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
    place: str = ""
    """Where it begins, such as "line 12" or "page 3"; empty where nothing can be counted."""


class Library:
    """The documents of a folder with a full-text index; safe to use from several threads."""

    def __init__(self, folder: Path | str) -> None:
        """Read and index the documents.

        Args:
            folder: The folder, searched with its subfolders, except hidden ones; or one document. Symbolic links in
                the folder are skipped.

        Raises:
            ValueError: There is no such folder or file, or no document in it.
        """
        given = Path(folder).expanduser()
        place = given.resolve()
        endings = {*READABLE, *UNSUPPORTED}
        if place.is_dir():
            root, files = place, list(find_files(place, endings))
        elif place.is_file():
            root, files = place.parent, list(find_file(place, endings))
        else:
            raise ValueError(f"There is no folder or file {str(given)!r}: give a folder of documents, or one document.")
        self._lock = threading.Lock()
        self._index, self._passing = open_index(place, root, files)
        weakref.finalize(self, self._index.close)
        if not self.names:
            missing = describe_left_out(self.left_out) or f"Give files that end in {', '.join(READABLE)}."
            raise ValueError(f"{str(given)!r} contains no document that can be read. {missing}")

    @property
    def names(self) -> list[str]:
        """The names of the documents: their paths within the folder, with `/` between the parts."""
        with self._lock:
            return self._index.names()

    @property
    def left_out(self) -> LeftOut:
        """How many files were left out, by the reason and the ending of their names."""
        with self._lock:
            return self._passing + Counter({(reason, ending): n for reason, ending, n in self._index.left_out()})

    def outline(self) -> list[str]:
        """Return the names of the documents with their headings, of at most `MAX_OUTLINE` characters each."""
        outline = []
        for name in self.names:
            with self._lock:
                headings = dict.fromkeys(self._index.headings(name))
            outline.append(f"{name} ({shorten('; '.join(headings), MAX_OUTLINE, placeholder=' ...')})")
        return outline

    def search(self, query: str) -> list[Passage]:
        """Find the passages that best match the words of a query; not every word has to occur.

        Args:
            query: Keywords; only the first 1,000 characters and 80 words count.

        Returns:
            At most `PASSAGES` passages, the best first.

        Raises:
            ToolException: No passage contains any of the words.
        """
        with self._lock:
            rows = self._index.search(match_expression(query), PASSAGES)
        if not rows:
            raise ToolException(
                f"Nothing found for {query[:100]!r}. Try synonyms, "
                f"or read one of the documents: {list_names(self.names)}."
            )
        return [
            Passage(name, heading, text, f"{unit} {number}" if unit else "")
            for name, heading, text, unit, number in rows
        ]

    def read(self, name: str, part: int = 1) -> str:
        """Return a document, or one part of a long one.

        Args:
            name: The name of the document, in any case; its folder and ending may be left out if that is unambiguous.
            part: Which part, counted from 1.

        Returns:
            At most `MAX_PART` characters, with a note that counts the parts if there are several, and the pages if it
            has pages.

        Raises:
            ToolException: There is no such document or no such part.
        """
        with self._lock:
            text, unit, starts = self._index.read(self._resolve(name))
        ends = split_parts(text)
        if not 1 <= part <= len(ends):
            raise ToolException(
                f"There is no part {part}: the document has {len(ends)} part{'s' if len(ends) > 1 else ''}."
            )
        start, end = [0, *ends][part - 1], ends[part - 1]
        notes = [f"Part {part} of {len(ends)}"] if len(ends) > 1 else []
        if unit == "page":
            first, last = bisect_right(starts, start), bisect_right(starts, end - 1)
            notes.append(f"page{'s' * (last > first)} {first}{f' to {last}' * (last > first)} of {len(starts)}")
        note = ", ".join(notes)
        return f"{text[start:end]}\n({note[0].upper()}{note[1:]}.)" if note else text

    def _resolve(self, name: str) -> str:
        """Find a document by its path, else by its file name, else by its file name without the ending."""
        names = self._index.names()
        lowered = _plain(name[:300].strip().translate(MARKS))
        for form in (str, attrgetter("name"), attrgetter("stem")):
            matches = [known for known in names if _plain(form(PurePosixPath(known))) == lowered]
            if len(matches) == 1:
                return matches[0]
        hint = did_you_mean(lowered, names)
        raise ToolException(f"There is no document {name[:60]!r}.{hint} The documents are {list_names(names)}.")


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
