"""SQLite, in the process of `worker`: opened read-only, with an authorizer that allows nothing but reading."""

import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from plan_execute.tools.database.worker import MEMORY

MAX_VALUE = 64_000_000
"""Largest text or blob that a query may read or make, in bytes."""

_READS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,  # they only compute; load_extension is off unless a connection turns it on
    33,  # SQLITE_RECURSIVE, which the sqlite3 module names only since Python 3.13
}
_CHANGES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
_OPENING = {"data_version", "page_size"}
"""Pragmas that full-text tables read."""

_FULL_TEXT = "A full-text index: search it with WHERE {name} MATCH 'word'."


def read_schema(source: dict[str, Any], _seconds: float) -> dict[str, Any]:
    """Read the columns and foreign keys of all tables and of the views that work.

    Args:
        source: {"path": of the file}.

    Returns:
        {"tables": [{"schema", "name", "bare": whether the name alone is enough, "columns": {name: type}, "references":
        {column: "table.column"}, "note"}], "quoted": names that need quotes}.
    """
    with closing(_connect(source["path"])) as connection:
        found = []
        rows = connection.execute(
            "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY type, name"
        )
        shadows = _shadow_tables(connection)
        for name, kind, sql in rows.fetchall():
            if name.startswith("sqlite_") or name in shadows:
                continue
            with suppress(sqlite3.Error):  # a view whose table is gone has no columns
                columns = connection.execute(f"PRAGMA table_xinfo({_quote(name)})").fetchall()
                found.append(
                    {
                        "schema": "main",
                        "name": name,
                        "bare": True,
                        "columns": {column[1]: column[2] or "" for column in columns if column[6] != 1},
                        "references": _references(connection, name) if kind == "table" else {},
                        "note": _FULL_TEXT.format(name=name) if "using fts" in (sql or "").casefold() else "",
                    }
                )
        names = {name for table in found for name in (table["name"], *table["columns"])}
        return {"tables": found, "quoted": [name for name in names if _needs_quotes(connection, name)]}


@contextmanager
def run(source: dict[str, Any], sql: str, seconds: float) -> Iterator[tuple[list[str], Iterable[Iterable[object]]]]:
    """Run a query; gives its column names and its rows.

    Args:
        source: {"path": of the file}.
        sql: The query.
        seconds: How long it may take.
    """
    with closing(_connect(source["path"])) as connection:
        internal = _shadow_tables(connection) | {"sqlite_master"}

        def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
            allowed = (
                action in _READS
                # What virtual tables prepare when they are opened; on a read-only connection it cannot run.
                or (action in _CHANGES and first in internal)
                or (action == sqlite3.SQLITE_PRAGMA and first in _OPENING and second is None)
            )
            return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

        deadline = time.monotonic() + seconds
        connection.set_authorizer(authorize)
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 1_000)
        cursor = connection.execute(sql)
        yield [column[0] for column in cursor.description or ()], cursor


def _connect(path: str) -> sqlite3.Connection:
    address = f"{Path(path).as_uri()}?mode=ro"
    if _is_write_ahead(path) and not Path(f"{path}-wal").exists():  # nobody has it open: then leave no files behind
        address += "&immutable=1"
    connection = sqlite3.connect(address, uri=True)
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    connection.execute(f"PRAGMA hard_heap_limit = {MEMORY // 2}")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DQS_DML, False)  # noqa: FBT003
    return connection


def _is_write_ahead(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(20)[18:] == b"\2\2"  # https://www.sqlite.org/fileformat.html, "The Database Header"


def _shadow_tables(connection: sqlite3.Connection) -> set[str]:
    """The tables in which virtual tables keep their data."""
    try:
        rows = connection.execute("PRAGMA table_list").fetchall()
    except sqlite3.Error:
        return set()
    return {name for _, name, kind, *_ in rows if kind == "shadow"}


def _references(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    keys: dict[int, list[tuple[str, str]]] = {}
    for number, _, target, column, other, *_ in connection.execute(f"PRAGMA foreign_key_list({_quote(table)})"):
        keys.setdefault(number, []).append((column, f"{target}.{other or _primary_key(connection, target)}"))
    return dict(key[0] for key in reversed(keys.values()) if len(key) == 1)


def _primary_key(connection: sqlite3.Connection, table: str) -> str:
    columns = connection.execute(f"PRAGMA table_info({_quote(table)})").fetchall()
    return next((column[1] for column in columns if column[5]), "id")


def _needs_quotes(connection: sqlite3.Connection, name: str) -> bool:
    if not (name.isidentifier() and name.isascii()):
        return True
    try:
        return bool(connection.execute(f"SELECT {name} FROM (SELECT 7 AS {_quote(name)})").fetchone() != (7,))
    except sqlite3.Error:
        return True


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
