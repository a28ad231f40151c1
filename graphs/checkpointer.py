"""Where threads are kept: a checkpointer from a URL."""

import sqlite3
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

from plan_execute.agent.errors import ConfigurationError

Saver = BaseCheckpointSaver[Any]

CONNECT_SECONDS = 10
"""How long to wait for a database server."""


def open_checkpointer(url: str | None = None) -> "OpenedCheckpointer":
    """Open a checkpointer, with `with` for a graph that is invoked, with `async with` for one that is awaited.

    What is read back is held to plain data and messages: no other type is ever built from a stored checkpoint.

    Args:
        url: `sqlite:///threads.sqlite` or the path of a SQLite file, made if it does not exist; `memory`;
            `postgresql://user@host/name` (needs the extra `postgres`). None: a file in the user's data folder.

    Raises:
        ConfigurationError: On entering, when it cannot be opened; one sentence says why, without the password.
    """
    return OpenedCheckpointer(url)


class OpenedCheckpointer:
    """A context, sync and async, that gives the checkpointer and closes its connection at the end."""

    def __init__(self, url: str | None) -> None:
        """Remember what is to be opened."""
        self._url = url
        self._open = ExitStack()
        self._aopen = AsyncExitStack()

    def __enter__(self) -> Saver:
        """Open for sync use."""
        return self._open.enter_context(_opened(self._url))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self._open.__exit__(kind, error, trace)

    async def __aenter__(self) -> Saver:
        """Open for async use."""
        return await self._aopen.enter_async_context(_aopened(self._url))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self._aopen.__aexit__(kind, error, trace)


def default_file() -> Path:
    """The file that threads are kept in when no other place is named."""
    return platformdirs.user_data_path("plan-execute", appauthor=False) / "threads.sqlite"


@contextmanager
def _opened(url: str | None) -> Iterator[Saver]:
    if url == "memory":
        yield InMemorySaver(serde=_serde())
    elif _is_postgres(url):
        with _postgres(url or "") as saver:
            yield saver
    else:
        from langgraph.checkpoint.sqlite import SqliteSaver

        path = _sqlite_path(url)
        try:
            connection = sqlite3.connect(path, check_same_thread=False)
        except sqlite3.Error as error:
            raise _unusable_file(path, error) from None
        with closing(connection):
            sqlite_saver = SqliteSaver(connection, serde=_serde())
            try:
                sqlite_saver.setup()
            except sqlite3.Error as error:
                raise _unusable_file(path, error) from None
            yield sqlite_saver


@asynccontextmanager
async def _aopened(url: str | None) -> AsyncIterator[Saver]:
    if url == "memory":
        yield InMemorySaver(serde=_serde())
    elif _is_postgres(url):
        async with _apostgres(url or "") as saver:
            yield saver
    else:
        import aiosqlite
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        path = _sqlite_path(url)
        try:
            connection = await aiosqlite.connect(path)
        except sqlite3.Error as error:
            raise _unusable_file(path, error) from None
        try:
            sqlite_saver = AsyncSqliteSaver(connection, serde=_serde())
            try:
                await sqlite_saver.setup()
            except sqlite3.Error as error:
                raise _unusable_file(path, error) from None
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


def _sqlite_path(url: str | None) -> Path:
    if url is None:
        path = default_file()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable_file(path, error) from None
        return path
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url).expanduser()
    if scheme != "sqlite" or not rest.startswith("/") or rest == "/":
        raise ConfigurationError(
            f"Unknown checkpointer {_place(url)!r}: write it as sqlite:///threads.sqlite, "
            "postgresql://user@host/name, memory, or the path of a file."
        )
    return Path(rest[1:])


def _unusable_file(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"Threads cannot be kept in {str(path)!r} ({error}): give a SQLite file in a folder you may write to."
    )


def _unreachable(url: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"Threads cannot be kept in {_place(url)!r} ({type(error).__name__}): "
        "check its address, the user and the password, and that the server is running."
    )


def _needs_postgres() -> ConfigurationError:
    return ConfigurationError(
        "Threads in PostgreSQL need a package more: pip install 'langgraph-plan-execute[postgres]'."
    )


def _place(url: str) -> str:
    """The address alone; user, password and options stay out of messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
