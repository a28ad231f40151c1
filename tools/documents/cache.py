"""Indexes of large folders, kept in the user's cache directory from one start to the next."""

import hashlib
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from plan_execute.tools.documents.folder import File
from plan_execute.tools.documents.index import Index
from plan_execute.tools.documents.update import LeftOut, update

KEPT_FROM = 4_000_000
"""From how many bytes of files on their index is kept: reading fewer takes a second or two."""
WAIT = 120.0
"""Longest wait for another process that brings the same index up to date, in seconds."""


def open_index(place: Path, root: Path, files: list[File]) -> tuple[Index, LeftOut]:
    """Return an up-to-date index of documents: kept in a file if they are large, else in memory.

    Args:
        place: The folder or file that was named, without links in its path; each has an index of its own.
        root: The folder that the paths of the files begin at.
        files: The files.

    Returns:
        The index, and what is left out for reasons that it does not keep.
    """
    if sum(file.stamp.size for file in files) >= KEPT_FROM:
        with suppress(OSError, Timeout, sqlite3.Error):  # then there is no place to keep one
            kept = _kept_file(place)
            with FileLock(f"{kept}.lock", timeout=WAIT, mode=0o600):
                return _update_kept(kept, root, files)
    return _updated(":memory:", root, files)


def _kept_file(place: Path) -> Path:
    """The file of an index, which only its user can read: it holds the text of the documents."""
    folder = user_cache_path("plan-execute", appauthor=False) / "documents"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}.sqlite"


def _update_kept(kept: Path, root: Path, files: list[File]) -> tuple[Index, LeftOut]:
    try:
        return _try_kept(kept, root, files)
    except sqlite3.DatabaseError:  # it is damaged, or of another version
        for ending in ("", "-wal", "-shm"):
            Path(f"{kept}{ending}").unlink(missing_ok=True)
        return _try_kept(kept, root, files)


def _try_kept(kept: Path, root: Path, files: list[File]) -> tuple[Index, LeftOut]:
    os.close(os.open(kept, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
    kept.chmod(0o600)
    return _updated(kept, root, files)


def _updated(place: Path | str, root: Path, files: list[File]) -> tuple[Index, LeftOut]:
    index = Index(place)
    try:
        return index, update(index, root, files)
    except BaseException:
        index.close()
        raise
