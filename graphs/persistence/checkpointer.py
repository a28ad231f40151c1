"""Opens the checkpointer that a URL names, in SQLite, PostgreSQL or memory."""

import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiosqlite
import platformdirs
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import CipherProtocol, SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from tenacity import AsyncRetrying, Retrying, retry_if_exception_message, stop_after_delay, wait_fixed

from plan_execute.agent.errors import ConfigurationError

Saver = BaseCheckpointSaver[Any]

CONNECT_SECONDS = 10
"""How long to wait for a database server."""
BUSY_SECONDS = 10
"""How long to wait for a SQLite file while another process writes to it, or makes it smaller."""
KEY_VARIABLE = "LANGGRAPH_AES_KEY"
"""The variable of the environment that has the key."""
KEEPALIVE = """
SELECT set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),
    set_config('tcp_keepalives_count', '3', false)
"""
"""Lets a database server notice within a minute that the other machine is gone, and drop the locks of its session."""


def open_checkpointer(url: str | None = None, *, create: bool = True, key: str | None = None) -> "OpenedCheckpointer":
    """Open a checkpointer: use `with` for a graph that is invoked, `async with` for one that is awaited.

    It reads plain data and messages only: no other type is ever built from a stored checkpoint.

    Args:
        url: Where threads are stored; None: a SQLite file in the user's data folder.

            - `sqlite:///threads.sqlite`, or the path of a SQLite file: made if it does not exist, in WAL mode.
              `sqlite:///threads.sqlite?synchronous=normal` does not wait for the disk at each of the about 20 commits
              of a milestone. A killed process still loses nothing. A machine that loses power may lose the last
              commits, among them the receipt of a call, which a resume would then make again.
            - `postgresql://user@host/name`: needs the extra `postgres`.
            - `memory`: gone when the process ends.
        create: Whether a SQLite file that does not exist is made.
        key: The key with which checkpoints are encrypted (AES in EAX mode), of 16, 24 or 32 characters; needs the extra
            `encrypted`. None: that in the environment, `LANGGRAPH_AES_KEY`, which LangGraph's own server reads too;
            without one they are not encrypted. Threads from before are read all the same, and stay as they are.

    Returns:
        A context manager, sync and async, that gives the checkpointer and closes its connection at the end; for one
        use.

    Raises:
        ConfigurationError: On entering, when it cannot be opened; one sentence says why, without the password. Later,
            when a thread is encrypted with another key.
    """
    return OpenedCheckpointer(url, create=create, key=key)


class OpenedCheckpointer:
    """A context manager, sync and async, that gives a checkpointer and closes its connection at the end."""

    def __init__(self, url: str | None, *, create: bool, key: str | None) -> None:
        """Take what to open."""
        self._sync, self._async = _open(url, create=create, key=key), _aopen(url, create=create, key=key)

    def __enter__(self) -> Saver:
        """Open for sync use."""
        return self._sync.__enter__()

    def __exit__(self, *error: Any) -> None:
        """Close."""
        self._sync.__exit__(*error)

    async def __aenter__(self) -> Saver:
        """Open for async use."""
        return await self._async.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        """Close."""
        await self._async.__aexit__(*error)


def storage_errors() -> tuple[type[Exception], ...]:
    """What a checkpointer opened here raises when its database fails."""
    if "psycopg" not in sys.modules:
        return (sqlite3.Error,)
    import psycopg

    return (sqlite3.Error, psycopg.Error)


def describe_storage_error(error: Exception) -> str:
    """Say what happened to the database, and what to do about it."""
    advice = "check its file" if isinstance(error, sqlite3.Error) else "check that its server is running and reachable"
    first_line = str(error).strip().split("\n")[0].removesuffix(".")
    return f"{first_line or type(error).__name__}: {_advise(error, advice)}"


@contextmanager
def _open(url: str | None, *, create: bool, key: str | None) -> Iterator[Saver]:
    with ExitStack() as stack:
        if url == "memory":
            yield InMemorySaver(serde=_serde(key))
            return
        if url and _is_postgres(url):
            with _errors_of_postgres(url):
                from langgraph.checkpoint.postgres import PostgresSaver

                saver: Any = stack.enter_context(PostgresSaver.from_conn_string(_conninfo(url)))
                saver.serde = _serde(key)
                saver.conn.execute(KEEPALIVE)
                saver.setup()
            yield saver
            return
        path, pragma = _parse_sqlite(url, create=create)
        with _errors_of_file(path):
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
            stack.enter_context(closing(connection))
            connection.execute(pragma)
            sqlite_saver = ShortSqliteSaver(connection, serde=_serde(key))
            for attempt in Retrying(**_while_locked()):
                with attempt:
                    sqlite_saver.setup()
        yield sqlite_saver


@asynccontextmanager
async def _aopen(url: str | None, *, create: bool, key: str | None) -> AsyncIterator[Saver]:
    async with AsyncExitStack() as stack:
        if url == "memory":
            yield InMemorySaver(serde=_serde(key))
            return
        if url and _is_postgres(url):
            with _errors_of_postgres(url):
                from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

                saver: Any = await stack.enter_async_context(AsyncPostgresSaver.from_conn_string(_conninfo(url)))
                saver.serde = _serde(key)
                await saver.conn.execute(KEEPALIVE)
                await saver.setup()
            yield saver
            return
        path, pragma = _parse_sqlite(url, create=create)
        with _errors_of_file(path):
            connection = await stack.enter_async_context(aiosqlite.connect(path, timeout=BUSY_SECONDS))
            await connection.execute(pragma)
            sqlite_saver = ShortAsyncSqliteSaver(connection, serde=_serde(key))
            async for attempt in AsyncRetrying(**_while_locked()):
                with attempt:
                    await sqlite_saver.setup()
        yield sqlite_saver


class Serializer(JsonPlusSerializer):
    """LangGraph's serializer, strict whatever LANGGRAPH_STRICT_MSGPACK says: it builds LangGraph's safe types only."""

    def __init__(self) -> None:
        """Allow no other types; None stands for LangGraph's own list of them."""
        super().__init__(allowed_msgpack_modules=None)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Read a value that is not encrypted.

        Raises:
            ConfigurationError: It is encrypted.
        """
        if "+" in data[0]:
            raise ConfigurationError(f"This thread is encrypted: set {KEY_VARIABLE} to the key it was written with.")
        return super().loads_typed(data)


class Cipher(CipherProtocol):
    """A cipher with a sentence where the key does not fit."""

    def __init__(self, cipher: CipherProtocol) -> None:
        """Wrap a cipher."""
        self._cipher = cipher

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """Encrypt, and name the cipher."""
        return self._cipher.encrypt(plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        """Decrypt.

        Raises:
            ConfigurationError: It was encrypted with another key, or changed since.
        """
        try:
            return self._cipher.decrypt(ciphername, ciphertext)
        except ValueError:
            raise ConfigurationError(
                f"This thread was encrypted with another key, or changed since: set {KEY_VARIABLE} to its own."
            ) from None


def _serde(key: str | None) -> SerializerProtocol:
    key = key or os.environ.get(KEY_VARIABLE)
    if not key:
        return Serializer()
    if len(key.encode()) not in {16, 24, 32}:
        raise ConfigurationError(
            f"The key of the checkpointer has {len(key.encode())} characters: give 16, 24 or 32 of ASCII."
        )
    try:
        encrypting = EncryptedSerializer.from_pycryptodome_aes(Serializer(), key=key.encode())
    except ImportError:
        raise ConfigurationError(
            "Encryption needs another package: run pip install '.[encrypted]' in a clone, or pip install pycryptodome."
        ) from None
    return EncryptedSerializer(Cipher(encrypting.cipher), encrypting.serde)


def _is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))


def _conninfo(url: str) -> str:
    from psycopg.conninfo import make_conninfo

    return make_conninfo(url, connect_timeout=CONNECT_SECONDS)


def _while_locked() -> dict[str, Any]:
    """Try again while another process makes the same file: for that, SQLite waits only in part."""
    locked, seconds = retry_if_exception_message(match=".*locked"), stop_after_delay(BUSY_SECONDS)
    return {"retry": locked, "stop": seconds, "wait": wait_fixed(0.05), "reraise": True}


def _parse_sqlite(url: str | None, *, create: bool) -> tuple[Path, str]:
    """The file, and the SQL to begin a session with."""
    options: dict[str, str] = {}
    if url is None:
        path = platformdirs.user_data_path("plan-execute", appauthor=False) / "threads.sqlite"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable_file(path, error) from None
    else:
        scheme, separator, rest = url.partition("://")
        name, _, query = rest.partition("?")
        if separator and (scheme != "sqlite" or not name.startswith("/") or name == "/"):
            raise ConfigurationError(
                f"Unknown checkpointer {_address(url)!r}: write it as sqlite:///threads.sqlite, "
                "postgresql://user@host/name, memory, or the path of a file."
            )
        path = Path(name[1:]) if separator else Path(url).expanduser()
        options = dict(parse_qsl(query, keep_blank_values=True)) if separator else {}
    for option, value in options.items():
        if option != "synchronous" or value not in {"full", "normal"}:
            raise ConfigurationError(
                f"Unknown option {f'{option}={value}'!r} of a SQLite URL: expected synchronous=full or "
                "synchronous=normal, or none."
            )
    if not create and not path.is_file():
        raise ConfigurationError(f"There is no file {str(path)!r}: name the one that threads are stored in.")
    return path, "".join(f"PRAGMA synchronous = {value}" for value in options.values())


@contextmanager
def _errors_of_file(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _unusable_file(path, error) from None


@contextmanager
def _errors_of_postgres(url: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            "PostgreSQL needs more packages: run pip install '.[postgres]' in a clone, or pip install with the path of "
            "the wheel followed by [postgres]."
        ) from error
    except storage_errors() as error:
        raise ConfigurationError(
            f"Threads cannot be stored in {_address(url)!r} ({type(error).__name__}): "
            "check its address, the user and the password, and that the server is running."
        ) from None


def _unusable_file(path: Path, error: Exception) -> ConfigurationError:
    advice = _advise(error, "name a SQLite file in a folder you may write to")
    return ConfigurationError(f"Threads cannot be stored in {str(path)!r} ({error}): {advice}.")


_ADVICE = {
    "disk is full": "make room on the disk",
    "disk i/o": "check whether the disk is full or failing",
    "readonly": "check that you may write to the file and its folder",
    "locked": "wait until the other program that writes to it is done",
    "malformed": "the file is damaged; name another, or an older copy of it",
}
"""What to do, by a part of SQLite's message."""


def _advise(error: Exception, otherwise: str) -> str:
    return next((advice for part, advice in _ADVICE.items() if part in str(error).lower()), otherwise)


def _address(url: str) -> str:
    """The address alone; user, password and options stay out of messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class ShortSqliteSaver(SqliteSaver):
    """LangGraph's checkpointer with shorter versions, for graphs that are invoked."""

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Count a channel's version up."""
        return next_version(current)


class ShortAsyncSqliteSaver(AsyncSqliteSaver):
    """LangGraph's checkpointer with shorter versions, for graphs that are awaited."""

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Count a channel's version up."""
        return next_version(current)


def next_version(current: str | None) -> str:
    """Count a version up in 7 digits, where LangGraph's has 32 and a fraction: `+0000041`, `+0000042`.

    A thread can be used with both: one that LangGraph's saver wrote stays with its digits here; LangGraph's reads these
    versions as numbers, and sorts its own behind them.
    """
    number = int(current.split(".")[0]) + 1 if current else 1
    if (current is None or current.startswith("+")) and number < 10**7:
        return f"+{number:07}"
    return f"{number:032}"
