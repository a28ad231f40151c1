"""Where threads are kept: a checkpointer from a URL."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import platformdirs
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from plan_execute.agent.errors import ConfigurationError

Saver = BaseCheckpointSaver[Any]

CONNECT_SECONDS = 10
"""How long to wait for a database server."""
BUSY_SECONDS = 10
"""How long to wait for a SQLite file while another process writes to it, or makes it smaller."""
KEEPALIVE = """
SELECT set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),
    set_config('tcp_keepalives_count', '3', false)
"""
"""Lets a database server notice within a minute that the other machine is gone, and with it what its session locked."""


def open_checkpointer(url: str | None = None, *, create: bool = True) -> "OpenedCheckpointer":
    """Open a checkpointer, with `with` for a graph that is invoked, with `async with` for one that is awaited.

    What is read back is held to plain data and messages: no other type is ever built from a stored checkpoint.

    Args:
        url: `sqlite:///threads.sqlite` or the path of a SQLite file, made if it does not exist; `memory`;
            `postgresql://user@host/name` (needs the extra `postgres`). None: a file in the user's data folder.
        create: Whether a SQLite file that does not exist is made.

    Raises:
        ConfigurationError: On entering, when it cannot be opened; one sentence says why, without the password.
    """
    return OpenedCheckpointer(url, create=create)


class OpenedCheckpointer:
    """A context, sync and async, that gives the checkpointer and closes its connection at the end."""

    def __init__(self, url: str | None, *, create: bool) -> None:
        """Remember what is to be opened."""
        self._url = url
        self._create = create
        self._open = ExitStack()
        self._aopen = AsyncExitStack()

    def __enter__(self) -> Saver:
        """Open for sync use."""
        return self._open.enter_context(_opened(self._url, create=self._create))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self._open.__exit__(kind, error, trace)

    async def __aenter__(self) -> Saver:
        """Open for async use."""
        return await self._aopen.enter_async_context(_aopened(self._url, create=self._create))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self._aopen.__aexit__(kind, error, trace)


def default_file() -> Path:
    """The file that threads are kept in when no other place is named."""
    return platformdirs.user_data_path("plan-execute", appauthor=False) / "threads.sqlite"


def storage_errors() -> tuple[type[Exception], ...]:
    """What a checkpointer opened here raises when its database fails it."""
    if "psycopg" not in sys.modules:
        return (sqlite3.Error,)
    import psycopg

    return (sqlite3.Error, psycopg.Error)


def describe_storage_error(error: Exception) -> str:
    """Say what happened to the database, and what to do about it."""
    advice = "see that its server is running and can be reached"
    if isinstance(error, sqlite3.Error):
        advice = "see that its file is in order"
    return f"{_first_line(error)}: {_advice(error, advice)}"


@contextmanager
def _opened(url: str | None, *, create: bool) -> Iterator[Saver]:
    if url == "memory":
        yield InMemorySaver(serde=_serde())
    elif _is_postgres(url):
        with _postgres(url or "") as saver:
            yield saver
    else:
        path = _sqlite_path(url, create=create)
        try:
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
        except sqlite3.Error as error:
            raise _unusable_file(path, error) from None
        with closing(connection):
            sqlite_saver = ShortSqliteSaver(connection, serde=_serde())
            until = time.monotonic() + BUSY_SECONDS
            while not sqlite_saver.is_setup:
                try:
                    sqlite_saver.setup()
                except sqlite3.Error as error:
                    if not _is_begun_elsewhere(error, until):
                        raise _unusable_file(path, error) from None
                    time.sleep(0.05)
            yield sqlite_saver


@asynccontextmanager
async def _aopened(url: str | None, *, create: bool) -> AsyncIterator[Saver]:
    if url == "memory":
        yield InMemorySaver(serde=_serde())
    elif _is_postgres(url):
        async with _apostgres(url or "") as saver:
            yield saver
    else:
        import aiosqlite

        path = _sqlite_path(url, create=create)
        try:
            connection = await aiosqlite.connect(path, timeout=BUSY_SECONDS)
        except sqlite3.Error as error:
            raise _unusable_file(path, error) from None
        try:
            sqlite_saver = ShortAsyncSqliteSaver(connection, serde=_serde())
            until = time.monotonic() + BUSY_SECONDS
            while not sqlite_saver.is_setup:
                try:
                    await sqlite_saver.setup()
                except sqlite3.Error as error:
                    if not _is_begun_elsewhere(error, until):
                        raise _unusable_file(path, error) from None
                    await asyncio.sleep(0.05)
            yield sqlite_saver
        finally:
            await connection.close()


@contextmanager
def _postgres(url: str) -> Iterator[Saver]:
    try:
        import psycopg
        from langgraph.checkpoint.postgres import PostgresSaver
        from psycopg.rows import dict_row
    except ImportError as error:
        raise _needs_postgres() from error
    try:
        connection = psycopg.Connection.connect(
            url, autocommit=True, prepare_threshold=0, row_factory=dict_row, connect_timeout=CONNECT_SECONDS
        )
        connection.execute(KEEPALIVE)
        saver = PostgresSaver(connection, serde=_serde())
        saver.setup()
    except psycopg.Error as error:
        raise _unreachable(url, error) from None
    with connection:
        yield saver


@asynccontextmanager
async def _apostgres(url: str) -> AsyncIterator[Saver]:
    try:
        import psycopg
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
        from psycopg.rows import dict_row
    except ImportError as error:
        raise _needs_postgres() from error
    try:
        connection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, prepare_threshold=0, row_factory=dict_row, connect_timeout=CONNECT_SECONDS
        )
        await connection.execute(KEEPALIVE)
        saver = AsyncPostgresSaver(connection, serde=_serde())
        await saver.setup()
    except psycopg.Error as error:
        raise _unreachable(url, error) from None
    async with connection:
        yield saver


def _serde() -> JsonPlusSerializer:
    """Strict whatever LANGGRAPH_STRICT_MSGPACK says: None allows LangGraph's list of safe types and nothing else."""
    return JsonPlusSerializer(allowed_msgpack_modules=None)


def _is_postgres(url: str | None) -> bool:
    return url is not None and url.startswith(("postgresql://", "postgres://"))


def _sqlite_path(url: str | None, *, create: bool) -> Path:
    if url is None:
        path = default_file()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable_file(path, error) from None
    else:
        scheme, separator, rest = url.partition("://")
        if separator and (scheme != "sqlite" or not rest.startswith("/") or rest == "/"):
            raise ConfigurationError(
                f"Unknown checkpointer {_place(url)!r}: write it as sqlite:///threads.sqlite, "
                "postgresql://user@host/name, memory, or the path of a file."
            )
        path = Path(rest[1:]) if separator else Path(url).expanduser()
    if not create and not path.is_file():
        raise ConfigurationError(f"There is no file {str(path)!r}: name the one that the threads are kept in.")
    return path


def _is_begun_elsewhere(error: sqlite3.Error, until: float) -> bool:
    """Whether another process is just making the file, for which SQLite waits only in part."""
    return "locked" in str(error) and time.monotonic() < until


def _unusable_file(path: Path, error: Exception) -> ConfigurationError:
    advice = _advice(error, "give a SQLite file in a folder you may write to")
    return ConfigurationError(f"Threads cannot be kept in {str(path)!r} ({error}): {advice}.")


def _unreachable(url: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"Threads cannot be kept in {_place(url)!r} ({type(error).__name__}): "
        "check its address, the user and the password, and that the server is running."
    )


def _needs_postgres() -> ConfigurationError:
    return ConfigurationError(
        "Threads in PostgreSQL need a package more: pip install 'langgraph-plan-execute[postgres]'."
    )


_ADVICE = {
    "disk is full": "make room on the disk",
    "disk i/o": "see whether the disk is full or failing",
    "readonly": "see that the file and its folder may be written to",
    "locked": "wait until the other program that writes to it is done",
    "malformed": "the file is damaged; name another, or a copy of it from before",
}
"""What to do, by words in what SQLite says."""


def _advice(error: Exception, otherwise: str) -> str:
    return next((advice for words, advice in _ADVICE.items() if words in str(error).lower()), otherwise)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].removesuffix(".") or type(error).__name__


def _place(url: str) -> str:
    """The address alone; user, password and options stay out of messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


SHORT = 7
"""Digits of a version."""


class ShortSqliteSaver(SqliteSaver):
    """For graphs that are invoked."""

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Count a channel's version up."""
        return next_version(current)


class ShortAsyncSqliteSaver(AsyncSqliteSaver):
    """For graphs that are awaited."""

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Count a channel's version up."""
        return next_version(current)


def next_version(current: str | None) -> str:
    """Count a version up: `+0000041`, `+0000042`.

    A thread of LangGraph's own saver goes on with its digits. It can go on with threads of this one, too: it reads
    these versions as numbers, and its own sort behind them.
    """
    number = int(current.split(".")[0]) + 1 if current else 1
    if (current is None or current.startswith("+")) and number < 10**SHORT:
        return f"+{number:0{SHORT}}"
    return f"{number:032}"
