"""A thread for one at a time: who has it keeps others out, in all processes, until he lets it go or dies."""

import hashlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from plan_execute.agent.errors import ConfigurationError, RequestError
from plan_execute.graphs.persistence.checkpointer import Saver, storage_errors

_guard = threading.Lock()
_held_here: set[tuple[int, str]] = set()
"""The threads that this process has, each with the id of its checkpointer."""
_lock_files: dict[Path, tuple[int, set[int]]] = {}
"""The lock files that this process has open, and the bytes it has locked; each once, because when a process closes any
descriptor of a file it loses all its locks on it."""

_FILE = "SELECT file FROM pragma_database_list WHERE name = 'main'"
_LOCK = "SELECT 1 WHERE pg_try_advisory_lock(%s)"
_UNLOCK = "SELECT pg_advisory_unlock(%s)"


@contextmanager
def lock_thread(checkpointer: Saver, thread: str) -> Iterator[None]:
    """Have a thread to oneself while the block lasts; `plan-execute` does so with every thread it writes to.

    With SQLite that is a lock on one byte of a file beside the database, with PostgreSQL an advisory lock of the
    session that writes the checkpoints: both end with the process, however that ends. With any other checkpointer only
    this process is kept out.

    Raises:
        RequestError: Somebody else has it.
        ConfigurationError: There can be no file beside the database.
    """
    from langgraph.checkpoint.sqlite import SqliteSaver

    with ExitStack() as stack:
        stack.enter_context(_held_in_this_process(checkpointer, thread))
        if isinstance(checkpointer, SqliteSaver):
            with checkpointer.cursor(transaction=False) as cursor:
                (file,) = cursor.execute(_FILE).fetchone()
            stack.enter_context(_locked_beside(file, thread))
        elif pool := getattr(checkpointer, "conn", None):
            connection = stack.enter_context(pool.connection()) if hasattr(pool, "getconn") else pool
            if connection.execute(_LOCK, (_key(thread),)).fetchone() is None:
                raise _refusal(thread)
            stack.callback(_unlock_session, connection, thread)
        yield


@asynccontextmanager
async def alock_thread(checkpointer: Saver, thread: str) -> AsyncIterator[None]:
    """Do what `lock_thread` does, with a checkpointer that is awaited."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncExitStack() as stack:
        stack.enter_context(_held_in_this_process(checkpointer, thread))
        if isinstance(checkpointer, AsyncSqliteSaver):
            async with checkpointer.conn.execute(_FILE) as found:
                ((file,),) = await found.fetchall()
            stack.enter_context(_locked_beside(file, thread))
        elif pool := getattr(checkpointer, "conn", None):
            connection = await stack.enter_async_context(pool.connection()) if hasattr(pool, "getconn") else pool
            if await (await connection.execute(_LOCK, (_key(thread),))).fetchone() is None:
                raise _refusal(thread)
            stack.push_async_callback(_aunlock_session, connection, thread)
        yield


@contextmanager
def _held_in_this_process(checkpointer: Saver, thread: str) -> Iterator[None]:
    """Keep out the rest of this process, which a lock of its own session would let in."""
    key = id(checkpointer), thread
    with _guard:
        if key in _held_here:
            raise _refusal(thread)
        _held_here.add(key)
    try:
        yield
    finally:
        with _guard:
            _held_here.remove(key)


@contextmanager
def _locked_beside(file: str, thread: str) -> Iterator[None]:
    """Lock the byte that stands for a thread in the file beside a database: one empty file for all threads."""
    if not file:  # a database in memory
        yield
        return
    path, byte = Path(f"{file}.lock"), _key(thread) % 2**31
    with _guard:
        try:
            lock_file, locked = _lock_files.get(path) or (os.open(path, os.O_RDWR | os.O_CREAT, 0o666), set())
        except OSError as error:
            raise ConfigurationError(
                f"Threads cannot be kept in {file!r}, because there can be no {path.name!r} beside it "
                f"({error.strerror}): give a SQLite file in a folder you may write to."
            ) from None
        if byte in locked or not _try_lock(lock_file, byte):
            if not locked:
                os.close(lock_file)
            raise _refusal(thread)
        locked.add(byte)
        _lock_files[path] = lock_file, locked
    try:
        yield
    finally:
        with _guard:
            locked.remove(byte)
            _unlock(lock_file, byte)
            if not locked:
                del _lock_files[path]
                os.close(lock_file)


def _unlock_session(connection: Any, thread: str) -> None:
    with suppress(*storage_errors()):  # a session that is gone has let go
        connection.execute(_UNLOCK, (_key(thread),))


async def _aunlock_session(connection: Any, thread: str) -> None:
    with suppress(*storage_errors()):
        await connection.execute(_UNLOCK, (_key(thread),))


def _key(thread: str) -> int:
    """What stands for a thread where only a number can be locked: 64 bits, signed."""
    return int.from_bytes(hashlib.sha256(f"plan-execute {thread}".encode()).digest()[:8], signed=True)


def _refusal(thread: str) -> RequestError:
    return RequestError(f"Thread {thread!r} is at work elsewhere: wait until its run has ended, or stop it there.")


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int, byte: int) -> bool:
        os.lseek(file, byte, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: int, byte: int) -> None:
        os.lseek(file, byte, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: int, byte: int) -> bool:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(file: int, byte: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)
