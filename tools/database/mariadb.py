"""MariaDB, in the process of `worker`: a read-only transaction of a user without rights over the server."""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from plan_execute.tools.database.worker import MEMORY, TooPowerfulError, tables_of

_SYSTEM = "('information_schema', 'mysql', 'performance_schema', 'sys')"
_COLUMNS = f"""
SELECT table_schema, table_name, table_schema = DATABASE(), column_name, column_type FROM information_schema.columns
WHERE table_schema NOT IN {_SYSTEM} AND privileges LIKE '%select%'
ORDER BY table_schema <> COALESCE(DATABASE(), ''), table_schema, table_name, ordinal_position
"""
_FOREIGN_KEYS = f"""
SELECT table_schema, table_name, column_name, referenced_table_schema, referenced_table_name, referenced_column_name
FROM information_schema.key_column_usage k
WHERE referenced_table_name IS NOT NULL AND table_schema NOT IN {_SYSTEM} AND NOT EXISTS (
    SELECT 1 FROM information_schema.key_column_usage o
    WHERE o.constraint_schema = k.constraint_schema AND o.constraint_name = k.constraint_name
    AND o.table_name = k.table_name AND o.ordinal_position > 1)
"""
_POWERS = re.compile(r"GRANT (?=[^`']*\b(?:ALL PRIVILEGES|SUPER|FILE)\b)[^`']* ON \*\.\*")


class UntestedError(Exception):
    """The server is one on which these tools were never tried."""


def read_schema(source: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Read what the user may read of tables and views, in every database of the server.

    Args:
        source: {"connect": arguments of `pymysql.connect`}.
        seconds: How long it may take.

    Returns:
        As `sqlite.read_schema`.

    Raises:
        TooPowerfulError: The user may read files of the server, or everything.
        UntestedError: The server is not MariaDB.
    """
    with _connect(source, seconds) as connection, closing(connection.cursor()) as cursor:

        def ask(sql: str) -> list[tuple[Any, ...]]:
            cursor.execute(sql)
            return list(cursor.fetchall())

        version, user = ask("SELECT VERSION(), CURRENT_USER()")[0]
        if "mariadb" not in version.casefold():
            raise UntestedError(version)
        if any(_POWERS.match(grant) for (grant,) in ask("SHOW GRANTS")):
            raise TooPowerfulError(user)
        tables = tables_of(ask(_COLUMNS), ask(_FOREIGN_KEYS))
        names = {name.casefold() for table in tables for name in (table["name"], *table["columns"])}
        words = {word.casefold() for (word,) in ask("SELECT word FROM information_schema.keywords")}
        return {"tables": tables, "quoted": [word for word in names & words if _is_reserved(cursor, word)]}


def _is_reserved(cursor: Any, word: str) -> bool:
    try:
        cursor.execute(f"SELECT {word} FROM (SELECT 7 AS `{word}`) {word}")
        return tuple(cursor.fetchone()) != (7,)
    except Exception:  # noqa: BLE001 - a syntax error says that it is, whatever the driver makes of it
        return True


@contextmanager
def run(source: dict[str, Any], sql: str, seconds: float) -> Iterator[tuple[list[str], Iterable[Iterable[object]]]]:
    """Run a query; gives its column names and its rows."""
    from pymysql.cursors import SSCursor  # type: ignore[import-untyped]

    with _connect(source, seconds) as connection:
        cursor = connection.cursor(SSCursor)
        cursor.execute(sql)
        yield [column[0] for column in cursor.description or ()], cursor
        connection._force_close()  # closing the cursor would read the rest of the rows


@contextmanager
def _connect(source: dict[str, Any], seconds: float) -> Iterator[Any]:
    import pymysql  # type: ignore[import-untyped]

    connection = pymysql.connect(**source["connect"], read_timeout=seconds + 1)
    try:
        with closing(connection.cursor()) as cursor:
            # How the server reads quotes and spaces has to be how the parser read them.
            cursor.execute("SET SESSION sql_mode = 'IGNORE_SPACE'")
            cursor.execute(f"SET SESSION max_statement_time = {seconds}")
            cursor.execute(f"SET SESSION max_session_mem_used = {MEMORY}")
            cursor.execute("SET SESSION max_recursive_iterations = 4294967295")  # it would cut results without a word
            cursor.execute("START TRANSACTION READ ONLY")
        yield connection
    finally:
        if connection.open:
            connection._force_close()
