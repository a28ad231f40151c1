"""A lock on one thread, so that only one run writes to it, whichever process that run is in."""

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

from filelock import FileLock, Timeout

from plan_execute.agent.errors import ConfigurationError, RequestError
from plan_execute.graphs.persistence.checkpointer import Saver, storage_errors


@contextmanager
def lock_thread(checkpointer: Saver, thread: str) -> Iterator[None]:
    """Lock a thread while the block lasts; `plan-execute` locks every thread that it writes to.

    SQLite: a lock on an empty file beside the database, one for each locked thread. PostgreSQL: an advisory lock of
    the session that writes the checkpoints. Both end with the process, however it ends. With any other checkpointer
    the lock holds within this process only. Nothing waits: a thread that is locked is refused at once.

    Args:
        checkpointer: What `with open_checkpointer(...)` gives, or any other sync checkpointer.
        thread: The thread's id; the thread need not exist yet.

    Yields:
        Nothing; the thread is locked until the block ends.

    Raises:
        RequestError: The thread is locked already, here or in another process.
        ConfigurationError: No file can be made beside the database.
    """
    from langgraph.checkpoint.sqlite import SqliteSaver

    with ExitStack() as stack:
        stack.enter_context(_locked_in_process(checkpointer, thread))
        if isinstance(checkpointer, SqliteSaver):
            with checkpointer.cursor(transaction=False) as cursor:
                (file,) = cursor.execute(_FILE).fetchone()
            stack.enter_context(_locked_by_file(file, thread))
        elif pool := getattr(checkpointer, "conn", None):
            connection = stack.enter_context(pool.connection()) if hasattr(pool, "getconn") else pool
            if connection.execute(_LOCK, (_key(thread),)).fetchone() is None:
                raise _refusal(thread)
            stack.callback(_unlock_session, connection, thread)
        yield


@asynccontextmanager
async def alock_thread(checkpointer: Saver, thread: str) -> AsyncIterator[None]:
    """Lock a thread as `lock_thread` does, with an async checkpointer.

    Args:
        checkpointer: What `async with open_checkpointer(...)` gives, or any other async checkpointer.
        thread: The thread's id.

    Yields:
        Nothing; the thread is locked until the block ends.

    Raises:
        RequestError: The thread is locked already, here or in another process.
        ConfigurationError: No file can be made beside the database.
    """
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncExitStack() as stack:
        stack.enter_context(_locked_in_process(checkpointer, thread))
        if isinstance(checkpointer, AsyncSqliteSaver):
            async with checkpointer.conn.execute(_FILE) as found:
                ((file,),) = await found.fetchall()
            stack.enter_context(_locked_by_file(file, thread))
        elif pool := getattr(checkpointer, "conn", None):
            connection = await stack.enter_async_context(pool.connection()) if hasattr(pool, "getconn") else pool
            if await (await connection.execute(_LOCK, (_key(thread),))).fetchone() is None:
                raise _refusal(thread)
            stack.push_async_callback(_aunlock_session, connection, thread)
        yield


_FILE = "SELECT file FROM pragma_database_list WHERE name = 'main'"
_LOCK = "SELECT 1 WHERE pg_try_advisory_lock(%s)"
_UNLOCK = "SELECT pg_advisory_unlock(%s)"
_owners: dict[tuple[int, str], object] = {}
"""Who locked a thread in this process, by the id of the checkpointer and the thread's."""


@contextmanager
def _locked_in_process(checkpointer: Saver, thread: str) -> Iterator[None]:
    """Lock out the rest of this process: an advisory lock lets its own session in a second time."""
    key, owner = (id(checkpointer), thread), object()
    if _owners.setdefault(key, owner) is not owner:  # one atomic step
        raise _refusal(thread)
    try:
        yield
    finally:
        del _owners[key]


@contextmanager
def _locked_by_file(database: str, thread: str) -> Iterator[None]:
    if not database:  # it is in memory
        yield
        return
    path = f"{database}.{_key(thread) % 2**64:016x}.lock"
    try:
        locked = FileLock(path, blocking=False, thread_local=False).acquire()
    except Timeout:
        raise _refusal(thread) from None
    except OSError as error:
        raise ConfigurationError(
            f"Threads cannot be stored in {database!r}, because no lock file can be made beside it "
            f"({error.strerror}): name a SQLite file in a folder you may write to."
        ) from None
    with locked:
        try:
            yield
        finally:
            with suppress(OSError):  # Windows deletes no file that is open
                os.unlink(path)


def _unlock_session(connection: Any, thread: str) -> None:
    with suppress(*storage_errors()):  # a session that is gone has no locks
        connection.execute(_UNLOCK, (_key(thread),))


async def _aunlock_session(connection: Any, thread: str) -> None:
    with suppress(*storage_errors()):
        await connection.execute(_UNLOCK, (_key(thread),))


def _key(thread: str) -> int:
    """A number for a thread, 64 bits and signed, as PostgreSQL's advisory locks take it."""
    return int.from_bytes(hashlib.sha256(f"plan-execute {thread}".encode()).digest()[:8], signed=True)


def _refusal(thread: str) -> RequestError:
    return RequestError(f"Thread {thread!r} is in use elsewhere: wait until its run has ended, or stop it there.")
