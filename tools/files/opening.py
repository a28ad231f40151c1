"""Folders that are opened part by part, from the folder above, and never through a symbolic link.

On POSIX each part is opened with `openat`, so it makes no difference if somebody swaps a part for a link after it was
checked. Where a system has no `openat` (Windows), each part is checked just before its path is used, which does not
notice such a swap.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from plan_execute.tools.characters import spell_out_invisible

HAS_OPENAT = {os.open, os.mkdir, os.stat, os.unlink, os.rename} <= os.supports_dir_fd
"""Whether this system opens files relative to an open folder."""
_LINKS = (0xA000000C, 0xA0000003)
"""What Windows calls a symbolic link and a mount point: `IO_REPARSE_TAG_SYMLINK`, `IO_REPARSE_TAG_MOUNT_POINT`."""
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_SAFELY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))


def spelled(name: str) -> str:
    """A name as a model and a person see it: one line, of which every character is visible."""
    return spell_out_invisible(name, strict=True)


def is_link(status: os.stat_result) -> bool:
    """Whether something is a symbolic link, or what Windows has of that kind."""
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) in _LINKS


class Place:
    """An open folder: its descriptor, or only its path where the system has no `openat`."""

    def __init__(self, path: str, above: "Place | None" = None) -> None:
        """Open a folder.

        Args:
            path: The path of a root, or the name of a folder in the one above.
            above: The folder that it is opened from.

        Raises:
            OSError: There is no such folder; also where it is a symbolic link.
        """
        self.descriptor: int | None = None
        self._path = path
        if HAS_OPENAT:
            self.descriptor = os.open(path, _FOLDER, dir_fd=above.descriptor if above else None)
            return
        self._path = above.named(path) if above else path
        status = os.lstat(self._path)
        if is_link(status) or not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def close(self) -> None:
        """Close the descriptor."""
        if self.descriptor is not None:
            os.close(self.descriptor)

    def named(self, name: str) -> str:
        """What to pass to a function of `os` with `dir_fd=descriptor`, to reach something in this folder."""
        return name if self.descriptor is not None else os.path.join(self._path, name)

    def status(self, name: str) -> os.stat_result:
        """What something in this folder is; of a symbolic link, the link."""
        return os.stat(self.named(name), dir_fd=self.descriptor, follow_symlinks=False)

    def entries(self, most: int) -> Iterator[tuple[str, os.stat_result]]:
        """Yield name and status of what is in this folder."""
        with os.scandir(self._path if self.descriptor is None else self.descriptor) as entries:
            for entry in islice(entries, most):
                with suppress(FileNotFoundError):
                    yield entry.name, entry.stat(follow_symlinks=False)

    def real_name(self, name: str) -> str:
        r"""Find the name of which a model was shown this form, in which `\x0a` may stand for the end of a line.

        Raises:
            FileNotFoundError: The form has a backslash in it, and no or several names have it.
        """
        if "\\" not in name:
            return name
        known = [entry for entry, _ in self.entries(100_000)]
        real = [name] if name in known else [entry for entry in known if spelled(entry) == name]
        if len(real) != 1:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return real[0]

    def read(self, name: str, most: int, check: Callable[[os.stat_result], None]) -> bytes:
        """Read the beginning of a file.

        Args:
            name: Its name in this folder.
            most: How many bytes.
            check: Raises an error if this is not what is to be read. Called before it is opened, because opening a
                device may have an effect, and after, because it may have been swapped.
        """
        check(self.status(name))
        handle = os.open(self.named(name), os.O_RDONLY | _SAFELY, dir_fd=self.descriptor)
        try:
            check(os.fstat(handle))
            with open(handle, "rb", closefd=False) as file:
                return file.read(most)
        finally:
            os.close(handle)

    def replace(self, name: str, temporary: str, content: bytes, before: os.stat_result | None) -> None:
        """Write a file whole, or not at all.

        Args:
            name: Its name in this folder.
            temporary: A name that nothing has, for the time of writing.
            content: What is to be in it.
            before: The status of the file that it replaces, whose mode and owner it keeps.
        """
        written, flags = self.named(temporary), os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY
        handle = os.open(written, flags, 0o600 if before else 0o666, dir_fd=self.descriptor)
        try:
            with open(handle, "wb") as file:
                if before and hasattr(os, "fchmod"):
                    with suppress(PermissionError, AttributeError):  # Windows may have the one and not the other
                        os.fchown(handle, before.st_uid, before.st_gid)
                    os.fchmod(handle, stat.S_IMODE(before.st_mode) & 0o777)
                file.write(content)
                file.flush()
                os.fsync(handle)
            os.replace(written, self.named(name), src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except BaseException:
            with suppress(OSError):
                os.unlink(written, dir_fd=self.descriptor)
            raise


@contextmanager
def open_folder(root: str, parts: Iterable[str], *, create: bool = False) -> Iterator[Place]:
    """Open a folder below a root.

    Args:
        root: The real path of the root.
        parts: The names of the folders on the way, as a model was shown them.
        create: Whether folders that are missing are made.

    Raises:
        OSError: A part is missing, no folder, or a symbolic link.
    """
    place = Place(root)
    try:
        for part in parts:
            place = _below(place, place.real_name(part), create=create)
        yield place
    finally:
        place.close()


def _below(place: Place, name: str, *, create: bool) -> Place:
    """Open the folder in a folder, and close the latter if that succeeds."""
    try:
        below = Place(name, place)
    except FileNotFoundError:
        if not create:
            raise
        with suppress(FileExistsError):
            os.mkdir(place.named(name), dir_fd=place.descriptor)
        below = Place(name, place)
    place.close()
    return below
