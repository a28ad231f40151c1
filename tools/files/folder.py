"""The files below one folder, by paths that a model writes, and nothing outside it."""

import errno
import os
import re
import secrets
import stat
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from langchain_core.tools import ToolException

from plan_execute.tools.characters import is_invisible
from plan_execute.tools.files.opening import is_link, open_folder, spelled
from plan_execute.tools.messages import closest

MAX_FILE = 10_000_000
"""Most bytes of a file that is read or written."""
MAX_PATH = 1_000
"""Longest path, in characters."""
MAX_DEPTH = 40
"""Most folders in one another."""
MAX_ENTRIES = 100_000
"""Most files and folders looked at for one list or search."""
MAX_PATTERN = 200
"""Longest pattern, in characters."""


class File(NamedTuple):
    """A regular file that was found."""

    parts: tuple[str, ...]
    """Its path within the root, as the system names it."""
    size: int
    """In bytes."""

    @property
    def path(self) -> str:
        """Its path within the root, with `/` between the parts and invisible characters spelled out."""
        return spelled("/".join(self.parts))


@dataclass
class Tally:
    """What a list or a search does not show."""

    left_out: Counter[str] = field(default_factory=Counter)
    """How many files and folders, by the reason."""
    stopped: str = ""
    """Why it ended early, if it did."""

    def note(self) -> str:
        """Say it, in parentheses on a line of its own; nothing if there is nothing to say."""
        counted = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        said = f"Left out: {counted}." if counted else ""
        return f"\n({' '.join(filter(None, [said, self.stopped]))})" if said or self.stopped else ""


class Folder:
    """The files below one folder."""

    def __init__(self, root: Path | str, *, hidden: bool = False) -> None:
        """Find the folder.

        Args:
            root: The folder. If it is a symbolic link, it is followed once, here.
            hidden: Whether files and folders whose names begin with a dot can be reached, too.

        Raises:
            ValueError: There is no such folder.
        """
        given = Path(root).expanduser()
        if not given.is_dir():
            raise ValueError(f"There is no folder {str(given)!r}: give one whose files are to be used.")
        self._root = str(given.resolve())
        self._hidden = hidden
        self._writing = threading.RLock()

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            ToolException: There is no such file, it is no regular file or too large, or it cannot be read.
        """
        parts = self._parse(path)
        if not parts:
            raise ToolException("No file is named: give its path as list_files shows it.")
        with _explained(path, "read"):
            try:
                return self.read_parts(parts)
            except FileNotFoundError:
                raise ToolException(f"There is no file '{spelled(path)}'.{self._suggest(parts)}") from None

    def read_parts(self, parts: Sequence[str]) -> bytes:
        """Return the content of a file that was found.

        Raises:
            ToolException: It is no regular file, or longer than `MAX_FILE`.
            OSError: It cannot be read.
        """
        *above, name = parts

        def check(status: os.stat_result) -> None:
            _check_regular(status, parts)
            _check_size(status.st_size, parts)

        with open_folder(self._root, above) as place:
            content = place.read(place.real_name(name), MAX_FILE + 1, check)
        _check_size(len(content), parts)  # it may have grown
        return content

    def walk(self, path: str, pattern: str, deadline: float, tally: Tally) -> Iterator[File]:
        """Yield the regular files below a folder, by name, and those of a folder before those of its subfolders.

        Args:
            path: The folder; empty for the root.
            pattern: What their names match, or if it has a `/` in it, their paths below that folder.
            deadline: The time, by `time.monotonic`, when to stop.
            tally: Takes what is left out.

        Raises:
            ToolException: There is no such folder.
        """
        first = tuple(self._parse(path))
        matches = _matcher(pattern)
        waiting, left = deque([first]), MAX_ENTRIES
        while waiting:
            parts = waiting.popleft()
            try:
                with _explained(path, "listed"), open_folder(self._root, parts) as place:
                    entries = sorted(place.entries(left + 1))
            except ToolException:
                if parts is first:
                    raise
                tally.left_out["that cannot be opened"] += 1
                continue
            for name, status in entries:
                left -= 1
                if left < 0 or time.monotonic() > deadline:
                    tally.stopped = f"Stopped {'after very many files' if left < 0 else 'when the time was up'}: "
                    tally.stopped += "name a subfolder."
                    return
                here = (*parts, name)
                if name.startswith(".") and not self._hidden:
                    tally.left_out["hidden"] += 1
                elif stat.S_ISDIR(status.st_mode) and not is_link(status):
                    if len(here) <= MAX_DEPTH:
                        waiting.append(here)
                    else:
                        tally.left_out["too deep"] += 1
                elif not stat.S_ISREG(status.st_mode):
                    tally.left_out["links or devices"] += 1
                elif matches(here[len(first) :]):
                    yield File(here, status.st_size)

    def write(self, path: str, content: bytes) -> bool:
        """Write a file whole, or not at all; folders above it that are missing are made.

        Returns:
            Whether the file is new.

        Raises:
            ToolException: Something else than a file has that path, or it cannot be written.
        """
        parts = self._parse(path)
        if not parts:
            raise ToolException("No file is named: give the path of a file in the folder, for example notes/today.md.")
        if len(content) > MAX_FILE:
            raise ToolException(f"The text has {len(content):,} bytes; at most {MAX_FILE:,} are written.")
        *above, name = parts
        with self._writing, _explained(path, "written"), open_folder(self._root, above, create=True) as place:
            name = place.real_name(name)
            try:
                before = place.status(name)
            except FileNotFoundError:
                before = None
            if before:
                _check_regular(before, parts)
                if not before.st_mode & 0o222 or not os.access(place.named(name), os.W_OK, dir_fd=place.descriptor):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            place.replace(name, f".{secrets.token_hex(8)}.tmp", content, before)
            return before is None

    def edit(self, path: str, change: Callable[[bytes], bytes]) -> None:
        """Replace the content of a file by what a function makes of it; only one thread at a time does.

        Raises:
            ToolException: See `read` and `write`.
        """
        with self._writing:
            self.write(path, change(self.read(path)))

    def _parse(self, path: str) -> list[str]:
        """Split a path into its parts, and refuse one that leads out or that nobody can see."""
        if len(path) > MAX_PATH:
            raise ToolException(f"The path has {len(path):,} characters; at most {MAX_PATH:,} are allowed.")
        said = f"The path '{spelled(path)}'"
        if any(map(is_invisible, path)):
            raise ToolException(f"{said} has invisible characters in it: write it as list_files shows it.")
        outside = path.startswith(("/", "~/")) or "://" in path or (os.altsep and re.search(r"[\\:]", path))
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if outside or ".." in parts:
            raise ToolException(
                f"{said} leads out of the folder: give one within it, with / between its parts and without '..'."
            )
        if not self._hidden and any(part.startswith(".") for part in parts):
            raise ToolException(f"{said} is hidden: files and folders whose names begin with a dot are left out.")
        if len(parts) > MAX_DEPTH:
            raise ToolException(f"{said} has {len(parts)} parts; at most {MAX_DEPTH} are allowed.")
        return parts

    def _suggest(self, parts: Sequence[str]) -> str:
        """Name the file in the same folder that was probably meant."""
        *above, last = parts
        try:
            with open_folder(self._root, above) as place:
                names = [name for name, _ in place.entries(1_000) if self._hidden or not name.startswith(".")]
        except OSError:
            names = []
        near = closest(last, [spelled(name) for name in names])
        hint = f" Did you mean '{'/'.join([*above, near])}'?" if near else ""
        return f"{hint} list_files shows what there is."


def _check_regular(status: os.stat_result, parts: Sequence[str]) -> None:
    """Refuse what is no regular file."""
    if is_link(status):
        what = "a symbolic link, and those are not followed"
    elif stat.S_ISDIR(status.st_mode):
        what = "a folder, not a file: list_files shows what is in it"
    elif stat.S_ISREG(status.st_mode):
        return
    else:
        what = "a pipe, a socket or a device, not a file with text"
    raise ToolException(f"'{spelled('/'.join(parts))}' is {what}.")


def _check_size(size: int, parts: Sequence[str]) -> None:
    """Refuse what is too large to be read."""
    if size > MAX_FILE:
        raise ToolException(f"'{spelled('/'.join(parts))}' is too large: at most {MAX_FILE:,} bytes are read.")


_REASONS = {
    errno.ENOENT: "there is no such file or folder; list_files shows what there is",
    errno.ENOTDIR: "a part of it is no folder, or a symbolic link, and those are not followed",
    errno.EACCES: "this is not permitted; it may be read-only",
    errno.ENAMETOOLONG: "a name is too long",
    errno.ENOSPC: "the disk is full",
}
_SAME = {
    errno.ELOOP: errno.ENOTDIR,
    errno.EPERM: errno.EACCES,
    errno.EROFS: errno.EACCES,
    errno.EDQUOT: errno.ENOSPC,
}


@contextmanager
def _explained(path: str, done: str) -> Iterator[None]:
    """Turn an error of the system into a sentence, without the path of the root."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        reason = _REASONS.get(_SAME.get(number, number)) or error.strerror or type(error).__name__
        raise ToolException(f"'{spelled(path)}' could not be {done}: {reason}.") from None


def _matcher(pattern: str) -> Callable[[Sequence[str]], bool]:
    """Read a pattern of the shell, in which `*` stands for `/`, too, and `**/` also for nothing."""
    if len(pattern) > MAX_PATTERN:
        raise ToolException(f"The pattern has {len(pattern):,} characters; at most {MAX_PATTERN} are allowed.")
    given = pattern.removeprefix("./") or "*"
    given += "*" if given.endswith("/") else ""
    forms = {given, given.replace("**/", "")}

    def matches(parts: Sequence[str]) -> bool:
        path, name = spelled("/".join(parts)), spelled(parts[-1])
        return any(fnmatchcase(path if "/" in form else name, form) for form in forms)

    return matches
