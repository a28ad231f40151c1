"""Bringing an index up to date with the files of a folder."""

import base64
import os
from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from plan_execute.tools.documents.folder import File, read_file, show_name
from plan_execute.tools.documents.headings import Heading
from plan_execute.tools.documents.index import Index
from plan_execute.tools.documents.kinds import (
    CONVERTED,
    MAX_BINARY,
    MAX_FILE,
    TEXT,
    UNSUPPORTED,
    Reason,
    read_text,
)
from plan_execute.tools.documents.passages import Parsed
from plan_execute.tools.messages import INSTALL_DOCUMENTS
from plan_execute.tools.processes import Workers

MAX_FILES = 5_000
"""Most documents read from one folder."""
SECONDS = 20.0
"""Longest time that one file is converted, in seconds; of a PDF, the pages until then are read."""
BATCH = 100
"""How many files are written to the index at once: so much is lost when the process is killed."""
ALL_SECONDS = 300.0
"""Longest time that files are converted in all, in seconds; a kept index goes on with the rest the next time."""

LeftOut = Counter[tuple[Reason, str]]
"""How many files are left out, by the reason and the ending of their names."""

_WORDS: dict[Reason, str] = {
    "not installed": f"needs {INSTALL_DOCUMENTS}",
    "not supported": "not supported",
    "too large": "too large",
    "truncated": "only the beginning is read",
    "unreadable": "unreadable",
    "encrypted": "encrypted",
    "no text": "no text",
    "too many files": f"only {MAX_FILES:,} files are read",
    "no time": f"not converted within {ALL_SECONDS:g} seconds",
}


def describe_left_out(left_out: LeftOut) -> str:
    """Say in a sentence what was left out; nothing if nothing was."""
    reasons = dict.fromkeys(reason for reason, _ in sorted(left_out))
    said = (
        ", ".join(f"{count} {ending}" for (why, ending), count in sorted(left_out.items()) if why == reason)
        + f" ({_WORDS[reason]})"
        for reason in reasons
    )
    return f"Left out: {'; '.join(said)}." if left_out else ""


def update(index: Index, root: Path, files: Iterable[File], *, seconds: float = SECONDS) -> LeftOut:
    """Read the files that are new or changed, and forget those that are gone.

    Args:
        index: What is brought up to date.
        root: The folder, without links in its path.
        files: The files in it.
        seconds: Longest time that one file is converted.

    Returns:
        What is left out for reasons that may be others the next time; the index keeps the rest.
    """
    left_out: LeftOut = Counter()
    known = index.stamps()
    changed: list[File] = []
    count = 0
    for file in files:
        count += file.ending not in UNSUPPORTED
        if passing := _passing_reason(file, count):
            left_out[passing, file.ending] += 1
        elif known.pop(file.key, None) != file.stamp:
            changed.append(file)
    with index.transaction():
        for key in known:
            index.remove(key)
    reader = _Reader(root, seconds)
    for first in range(0, len(changed), BATCH):
        with index.transaction():
            for file in changed[first : first + BATCH]:
                parsed, reason = reader.read(file)
                if reason == "no time":
                    left_out[reason, file.ending] += 1
                    index.remove(file.key)
                else:
                    index.put(file, show_name(file.path), parsed, reason)
    return left_out


def _passing_reason(file: File, count: int) -> Reason | None:
    """Why a file is left out without a look at it."""
    if file.ending in UNSUPPORTED:
        return "not supported"
    if count > MAX_FILES:
        return "too many files"
    return None if all(map(find_spec, CONVERTED.get(file.ending, ()))) else "not installed"


class _Reader:
    """Reads files, some of them in another process."""

    def __init__(self, root: Path, seconds: float) -> None:
        self._root = root
        self._seconds = seconds
        self._until = monotonic() + ALL_SECONDS
        kept = {name: os.environ[name] for name in {"SYSTEMROOT"} & os.environ.keys()}  # and no secrets
        self._workers = Workers("plan_execute.tools.documents.conversion", {}, environment=kept)

    def read(self, file: File) -> tuple[Parsed | None, Reason | None]:
        """Return the text of a file, and why it or the rest of it is left out."""
        most = MAX_FILE if file.ending in TEXT else MAX_BINARY
        if file.stamp.size > most and file.ending not in TEXT:
            return None, "too large"
        if file.ending in CONVERTED and monotonic() > self._until:
            return None, "no time"
        content = read_file(self._root, file.path, most + 1) if file.regular else None
        if content is None:
            return None, "unreadable"
        if file.ending in CONVERTED:
            return self._convert(content, file.ending)
        parsed = read_text(content, file.ending)
        if not isinstance(parsed, Parsed):
            return None, parsed
        return parsed, "truncated" if len(content) > most else None

    def _convert(self, content: bytes, ending: str) -> tuple[Parsed | None, Reason | None]:
        request = {"ending": ending, "content": base64.b64encode(content).decode(), "seconds": self._seconds}
        answer = self._workers.ask(request) or {"reason": "unreadable"}
        if "reason" in answer:
            return None, answer["reason"]
        headings = [Heading(*heading) for heading in answer["headings"]]
        parsed = Parsed(answer["text"], headings, answer["unit"], answer["starts"])
        return parsed, "truncated" if answer["truncated"] else None
