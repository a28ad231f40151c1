"""The files of a folder, and reading of them without ever leaving it."""

import os
import stat
from collections.abc import Container, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from plan_execute.tools.characters import drop_invisible

MAX_DEPTH = 30
"""How deep subfolders are searched."""
MAX_NAME = 150
"""Longest name of a document, in characters; of longer ones the middle is left out."""
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))
MARKS = str.maketrans(dict.fromkeys("[]:\n\t\uff3b\uff3d\uff1a", "_"))
"""What a citation is made of, in both widths, cannot be part of a name."""


class Stamp(NamedTuple):
    """By what it is known that a file has not changed."""

    size: int
    """In bytes."""
    modified: int
    """In nanoseconds."""
    inode: int


class File(NamedTuple):
    """A file, as it was when its folder was searched."""

    path: str
    """Within the folder, with `/` between the parts; bytes that are no UTF-8 as lone surrogates."""
    ending: str
    """In small letters, with its dot."""
    stamp: Stamp
    regular: bool
    """Whether it is neither a link nor a pipe, a device or the like."""

    @property
    def key(self) -> bytes:
        """The path, byte for byte."""
        return os.fsencode(self.path)


def find_files(root: Path, endings: Container[str]) -> Iterator[File]:
    """Find the files with certain endings, by their names; not in hidden folders, and not behind symbolic links."""
    for folder, subfolders, files in os.walk(root):
        inside = Path(folder).relative_to(root)
        deep = len(inside.parts) >= MAX_DEPTH
        subfolders[:] = [] if deep else sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if (ending := os.path.splitext(name)[1].lower()) in endings:
                yield from _file(root, (inside / name).as_posix(), ending)


def find_file(path: Path, endings: Container[str]) -> Iterator[File]:
    """Find one file that was named, if it has one of these endings."""
    if (ending := path.suffix.lower()) in endings:
        yield from _file(path.parent, path.name, ending)


def _file(root: Path, path: str, ending: str) -> Iterator[File]:
    try:
        found = os.lstat(root / path)
    except (OSError, ValueError):
        return
    stamp = Stamp(found.st_size, found.st_mtime_ns, found.st_ino)
    yield File(path, ending, stamp, stat.S_ISREG(found.st_mode))


def read_file(root: Path, path: str, most: int) -> bytes | None:
    """Read the beginning of a file within a folder.

    No part of the path is followed if it is a link by now, so nothing outside the folder can be reached.

    Args:
        root: The folder, without links in its path.
        path: The path of the file in it, as `find_files` gives it.
        most: How many bytes to read.

    Returns:
        The bytes; None if the file cannot be read or is not a regular one.
    """
    try:
        with ExitStack() as opened:
            handle: int | None = None
            if os.open in os.supports_dir_fd:
                for part in (str(root), *path.split("/")):
                    handle = os.open(part, _FLAGS, dir_fd=handle)
                    opened.callback(os.close, handle)
            elif (root / path).resolve() == root / path:
                handle = os.open(root / path, _FLAGS)
                opened.callback(os.close, handle)
            if handle is None or not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            with open(handle, "rb", closefd=False) as file:
                return file.read(most)
    except OSError:
        return None


def show_name(path: str) -> str:
    """Make a name of a path that can be shown, and that cannot be taken for a citation."""
    name = drop_invisible(path.encode("utf-8", "replace").decode("utf-8").replace("\ufffd", "?"))
    name = name.translate(MARKS)
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 2]}...{name[3 - MAX_NAME // 2 :]}"
