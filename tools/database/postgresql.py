"""PostgreSQL, in the process of `worker`: a read-only transaction of a user who is no superuser."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from plan_execute.tools.database.worker import TooPowerfulError, tables_of

_POWERS = """
SELECT rolname FROM pg_roles
WHERE rolsuper AND rolname = current_user
OR rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
AND pg_has_role(current_user, oid, 'member')
ORDER BY rolsuper DESC LIMIT 1
"""

_COLUMNS = """
SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
AND has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY NOT pg_table_is_visible(c.oid), n.nspname, c.relname, a.attnum
"""

_FOREIGN_KEYS = """
SELECT n.nspname, c.relname, a.attname, rn.nspname, r.relname, ra.attname
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = k.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
JOIN pg_attribute ra ON ra.attrelid = r.oid AND ra.attnum = k.confkey[1]
WHERE k.contype = 'f' AND cardinality(k.conkey) = 1
ORDER BY k.conname
"""

_ROWS_AT_ONCE = 10


def read_schema(source: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Read what the user may read of tables, views, materialized views and foreign tables, in every schema.

    Args:
        source: {"connect": arguments of `psycopg.connect`}.
        seconds: How long it may take.

    Returns:
        As `sqlite.read_schema`.

    Raises:
        TooPowerfulError: The user is a superuser, or may read files or run programs of the server.
    """
    with _connect(source, seconds) as cursor:
        if power := cursor.execute(_POWERS).fetchone():
            raise TooPowerfulError(power[0])
        columns = cursor.execute(_COLUMNS).fetchall()
        keys = cursor.execute(_FOREIGN_KEYS).fetchall()
        reserved = cursor.execute("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')").fetchall()
        return {"tables": tables_of(columns, keys), "quoted": [word for (word,) in reserved]}


@contextmanager
def run(source: dict[str, Any], sql: str, seconds: float) -> Iterator[tuple[list[str], Iterable[Iterable[object]]]]:
    """Run a query; gives its column names and its rows."""
    with _connect(source, seconds) as plain, plain.connection.cursor("query") as cursor:
        cursor.execute(sql)
        yield [column.name for column in cursor.description or ()], _batches(cursor)


def _batches(cursor: Any) -> Iterator[Iterable[object]]:
    import psycopg

    try:
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            yield from rows
    except psycopg.ProgrammingError as error:
        if "received 2 results" in str(error):  # the driver had no memory for a row, and took the error for a result
            raise MemoryError from None
        raise


@contextmanager
def _connect(source: dict[str, Any], seconds: float) -> Iterator[Any]:
    import psycopg

    connection = psycopg.connect(**source["connect"])
    try:
        connection.prepare_threshold = None  # a pool in front of the server may know no prepared statements
        cursor = connection.cursor()
        cursor.execute("SET TRANSACTION READ ONLY")
        # How the server reads a text has to be how the parser read it.
        cursor.execute("SET LOCAL standard_conforming_strings = on")
        cursor.execute(f"SET LOCAL statement_timeout = {round(seconds * 1_000)}")
        yield cursor
    finally:
        connection.close()
