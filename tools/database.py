"""Questions to a database that cannot be changed by asking them."""

import difflib
import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.tools import BaseTool, ToolException, tool
from typing_extensions import TypedDict

if TYPE_CHECKING:
    from sqlalchemy import ColumnClause, Connection, CursorResult, Engine, Select
    from sqlalchemy.engine import URL
    from sqlglot.expressions import Query

MAX_SQL = 4_000
"""Longest query, in characters."""
MAX_CELL = 500
"""Longest value shown of one cell, in characters."""
MAX_OUTPUT = 20_000
"""Longest answer of a tool, in characters."""


class TableSchema(TypedDict):
    """The columns of one table or view."""

    columns: dict[str, str]
    """Type by column name."""
    references: dict[str, str]
    """The "table.column" that a foreign key points to, by column name."""


class Rows(NamedTuple):
    """What a query found."""

    columns: list[str]
    rows: list[list[object]]
    more: bool
    """Whether there were more rows than the cap."""


def database_tools(source: "str | Path | ReadOnlyDatabase") -> list[BaseTool]:
    """Give tools that look into a database and cannot change it: list_tables, describe_tables, query_database.

    Args:
        source: A SQLAlchemy URL, the path of a SQLite file, or an open `ReadOnlyDatabase`.

    Raises:
        ValueError: The database does not exist or cannot be reached; says so in one sentence, without the password.
    """
    database = source if isinstance(source, ReadOnlyDatabase) else ReadOnlyDatabase(source)

    @tool
    def list_tables() -> str:
        """List the tables of the database."""
        return ", ".join(database.schema())

    @tool
    def describe_tables(names: list[str]) -> str:
        """Show the columns, the links to other tables and the first rows of these tables."""
        return "\n\n".join(_described(database, name) for name in names)[:MAX_OUTPUT]

    @tool
    def query_database(sql: str) -> str:
        """Run one SELECT on the database and get its rows as JSON. It cannot change anything."""
        return _as_text(database.query(sql))

    list_tables.metadata = {"effect": "read"}
    describe_tables.metadata = {"effect": "read"}
    query_database.metadata = {"effect": "read", "languages": {"sql": "sql"}, "schema": database.schema()}
    query_database.description += f" {database.dialect} with the tables {_outline(database.schema())}"
    return [list_tables, describe_tables, query_database]


class ReadOnlyDatabase:
    """A database that can be asked and not changed, whatever the SQL says.

    Every query is parsed first and must be a single SELECT. SQLite is then opened read-only, with an authorizer that
    lets reading pass and nothing else; PostgreSQL, MySQL, MariaDB and Oracle run it in a READ ONLY transaction; on any
    other database the parser and a rollback stand alone, so give it a user who may only read.
    """

    def __init__(self, url: str | Path, *, max_rows: int = 100, seconds: float = 10.0) -> None:
        """Open the database and read its schema.

        Args:
            url: A SQLAlchemy URL, or the path of a SQLite file. The file is never created.
            max_rows: Most rows that a query returns.
            seconds: Longest time that a query may take.

        Raises:
            ValueError: The database does not exist or cannot be reached.
        """
        self._max_rows = max_rows
        self._seconds = seconds
        self._engine = _engine(url, seconds)
        self.dialect = _DIALECT_NAMES.get(self._engine.dialect.name, self._engine.dialect.name)
        """The name of the SQL dialect, as people write it."""
        self._schema = _schema(self._engine)

    def schema(self) -> dict[str, TableSchema]:
        """Give every table and view with its columns, as they were when the database was opened."""
        return self._schema

    def query(self, sql: str) -> Rows:
        """Run one SELECT.

        Raises:
            ToolException: The query was refused, failed or took too long; the sentence says what to do next.
        """
        _refuse_all_but_one_select(sql, self._engine.dialect.name)
        # no_parameters: a percent sign in the text is a percent sign
        return self._read(
            lambda connection: connection.exec_driver_sql(
                sql, execution_options={"no_parameters": True, "stream_results": True}
            ),
            self._max_rows,
            sql,
        )

    def rows(self, table: str, limit: int = 3) -> Rows:
        """Give the first rows of a table."""
        from sqlalchemy import literal_column, select
        from sqlalchemy import table as named

        columns = self._known(table)["columns"]
        statement: Select[Any] = select(literal_column("*")).select_from(named(table)).limit(limit)
        return self._read(lambda connection: connection.execute(statement), limit, " ".join([table, *columns]))

    def values(self, table: str, column: str, limit: int = 50) -> list[object]:
        """Give the distinct values stored in a column, the most frequent first, without NULL."""
        from sqlalchemy import column as named_column
        from sqlalchemy import func, select
        from sqlalchemy import table as named

        if column not in self._known(table)["columns"]:
            raise ToolException(self._unknown_column(column, table))
        stored: ColumnClause[Any] = named_column(column)
        statement = (
            select(stored)
            .select_from(named(table))
            .where(stored.is_not(None))
            .group_by(stored)
            .order_by(func.count().desc(), stored)
            .limit(limit)
        )
        return [row[0] for row in self._read(lambda connection: connection.execute(statement), limit, table).rows]

    def _known(self, table: str) -> TableSchema:
        if table not in self._schema:
            raise ToolException(self._unknown_table(table))
        return self._schema[table]

    def _read(self, execute: "Callable[[Connection], CursorResult[Any]]", limit: int, sql: str) -> Rows:
        from sqlalchemy.exc import DBAPIError

        try:
            with _read_only(self._engine, self._seconds) as connection:
                result = execute(connection)
                found = result.fetchmany(limit + 1)
                return Rows(_unique(list(result.keys())), [list(row) for row in found[:limit]], len(found) > limit)
        except DBAPIError as error:
            raise ToolException(self._advice(_first_line(error.orig), sql)) from None

    def _advice(self, problem: str, sql: str) -> str:
        if re.search(r"interrupt|timeout|execution time|max_statement_time", problem, re.IGNORECASE):
            return (
                f"The query was stopped after {self._seconds:g} seconds. "
                "Join tables on their keys, and filter or count instead of listing everything."
            )
        if re.search(r"not authorized|prohibited|read-?only|one statement", problem, re.IGNORECASE):
            return _ONE_SELECT
        if unknown := re.search(_UNKNOWN_TABLE, problem, re.IGNORECASE):
            return self._unknown_table(_last_name(unknown))
        if unknown := re.search(_UNKNOWN_COLUMN, problem, re.IGNORECASE):
            return self._unknown_column(_last_name(unknown), sql)
        return f"The database could not run the query ({problem}). Correct the SQL and try again."

    def _unknown_table(self, name: str) -> str:
        near = difflib.get_close_matches(name.casefold(), self._schema, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"There is no table {name[:60]!r}.{hint} The tables are {', '.join(self._schema)[:1_000]}."

    def _unknown_column(self, name: str, mentioned: str) -> str:
        """Name the columns alike in all tables, and all columns of the tables that the query mentions."""
        words = set(re.findall(r"\w+", mentioned.casefold()))
        asked = {table: about for table, about in self._schema.items() if table.casefold() in words} or self._schema
        columns = {column for about in self._schema.values() for column in about["columns"]}
        near = difflib.get_close_matches(name.casefold(), columns, n=1)
        places = [f"{table}.{near[0]}" for table, about in self._schema.items() if near and near[0] in about["columns"]]
        hint = f" Did you mean {' or '.join(places[:3])}?" if places else ""
        return f"There is no column {name[:60]!r} there.{hint} The columns are {_outline(asked)}"


_ONE_SELECT = "Only reading is possible here, by a single SELECT. Ask what you want to know in one SELECT."
_UNKNOWN_TABLE = r"no such table: (\S+)|relation \"([^\"]+)\" does not exist|Table '([^']+)' doesn't exist"
_UNKNOWN_COLUMN = r"no such column: (\S+)|column \"?([^\" ]+)\"? does not exist|Unknown column '([^']+)'"

_DIALECT_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}

_PARSED_AS = {"postgresql": "postgres", "mariadb": "mysql", "mssql": "tsql"}
"""What sqlglot calls a dialect of SQLAlchemy, where the names differ; an unknown one is read as plain SQL."""

_DRIVERS = {"MySQLdb": "mysqlclient", "psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary"}
"""What to install for a driver that bears another name than its package."""

_SESSION = {
    "postgresql": ("SET TRANSACTION READ ONLY", "SET LOCAL statement_timeout = {milliseconds}"),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION max_execution_time = {milliseconds}"),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION max_statement_time = {seconds}"),
    "oracle": ("SET TRANSACTION READ ONLY",),
}
"""What makes a session read-only and bounds its queries, by dialect."""

_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    33,  # SQLITE_RECURSIVE, which the sqlite3 module does not name before 3.13
}

_SIDE_EFFECTS = re.compile(
    r"(pg_(?!typeof)|lo_|dblink|set_config|nextval|setval|query_to_xml|sleep|benchmark|get_lock|load_)", re.IGNORECASE
)
"""Functions that do more than compute: they wait, lock, read files of the server or change its settings."""


def _engine(url: str | Path, seconds: float) -> "Engine":
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    if "://" not in str(url):
        return _sqlite_engine(Path(url).expanduser())
    try:
        address = make_url(str(url))
        if address.get_backend_name() == "sqlite":
            return _sqlite_engine(Path(address.database or ":memory:"))
        if address.drivername in ("postgres", "postgresql"):
            address = address.set(drivername="postgresql+psycopg")
        patience = {"connect_timeout": math.ceil(seconds)} if address.get_backend_name() in _DIALECT_NAMES else {}
        return create_engine(address, poolclass=NullPool, connect_args=patience, hide_parameters=True)
    except NoSuchModuleError:
        raise ValueError(
            f"Unknown kind of database {address.drivername!r}: no SQLAlchemy dialect has that name."
        ) from None
    except ArgumentError:
        raise ValueError(
            "This is no database URL: write it as sqlite:///shop.db or postgresql://user@host/name."
        ) from None
    except ImportError as error:
        raise ValueError(
            f"Databases of the kind {address.drivername!r} need a driver: "
            f"pip install {_DRIVERS.get(str(error.name), error.name)}."
        ) from None


def _sqlite_engine(path: Path) -> "Engine":
    from sqlalchemy import create_engine
    from sqlalchemy.engine import URL
    from sqlalchemy.pool import NullPool

    if not path.is_file():
        raise ValueError(f"There is no database file {str(path)!r}: give the path of an existing SQLite file.")
    address = f"{path.resolve().as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000_000)
        return connection

    return create_engine(URL.create("sqlite", database=str(path)), creator=connect, poolclass=NullPool)


def _schema(engine: "Engine") -> dict[str, TableSchema]:
    from sqlalchemy import inspect
    from sqlalchemy.engine.reflection import ObjectKind
    from sqlalchemy.exc import DBAPIError

    try:
        inspector = inspect(engine)
        columns = dict(inspector.get_multi_columns(kind=ObjectKind.TABLE))
        keys = inspector.get_multi_foreign_keys(kind=ObjectKind.TABLE)
    except DBAPIError as error:
        raise ValueError(
            f"The database {_place(engine.url)} cannot be opened ({type(error.orig).__name__}): "
            "check its address, the user and that it is a database which is running."
        ) from None
    with suppress(DBAPIError):  # a view whose table is gone spoils the list of views, not the tables
        columns |= inspector.get_multi_columns(kind=ObjectKind.ANY_VIEW)
    if not columns:
        raise ValueError(f"The database {_place(engine.url)} has no tables: give one that holds data.")
    return {
        name: TableSchema(
            columns={str(column["name"]): str(column["type"]) for column in columns[schema, name]},
            references={
                key["constrained_columns"][0]: f"{key['referred_table']}.{(key['referred_columns'] or ['id'])[0]}"
                for key in keys.get((schema, name), [])
                if len(key["constrained_columns"]) == 1
            },
        )
        for schema, name in sorted(columns, key=str)
    }


@contextmanager
def _read_only(engine: "Engine", seconds: float) -> "Iterator[Connection]":
    """Open a connection on which only reading works, for a bounded time; it is rolled back at the end."""
    with engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        if isinstance(raw, sqlite3.Connection):
            deadline = time.monotonic() + seconds
            raw.set_authorizer(_allow_reading)
            raw.set_progress_handler(lambda: time.monotonic() > deadline, 1_000)
        for statement in _SESSION.get(engine.dialect.name, ()):
            connection.exec_driver_sql(statement.format(milliseconds=math.ceil(seconds * 1_000), seconds=seconds))
        yield connection


def _allow_reading(action: int, _table: str | None, name: str | None, *_: str | None) -> int:
    allowed = action in _READING and name != "load_extension"
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _refuse_all_but_one_select(sql: str, dialect: str) -> None:
    import sqlglot
    from sqlglot import errors, exp

    if len(sql) > MAX_SQL:
        raise ToolException(f"The query is longer than {MAX_SQL} characters. Write a shorter one.")
    if not re.match(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with)\b", sql, re.IGNORECASE | re.DOTALL):
        raise ToolException(_ONE_SELECT)
    try:
        statements = sqlglot.parse(sql, read=sqlglot.Dialect.get(_PARSED_AS.get(dialect, dialect)))
    except (errors.SqlglotError, RecursionError) as error:
        where = error.errors[0] if isinstance(error, errors.ParseError) and error.errors else {}
        detail = f" near {where['highlight']!r}" if where.get("highlight") else ""
        raise ToolException(f"The SQL cannot be read{detail}. Write one plain SELECT statement.") from None
    queries = [statement for statement in statements if not isinstance(statement, exp.Semicolon | None)]
    if len(queries) != 1 or not isinstance(queries[0], exp.Query):
        raise ToolException(_ONE_SELECT)
    query = queries[0]
    if query.find(exp.DML, exp.DDL, exp.Into, exp.Lock, exp.Command):
        raise ToolException(_ONE_SELECT)
    for function in query.find_all(exp.Anonymous):
        if _SIDE_EFFECTS.match(function.name):
            raise ToolException(f"The function {function.name[:60]!r} is not allowed here. Write a SELECT without it.")
    if _copies(query) > 1_000:
        raise ToolException("The query nests WITH tables too often. Write it with fewer of them.")


def _copies(query: "Query") -> int:
    """Bound how often WITH tables are expanded: SQLite copies one at each mention, before any time limit works."""
    from sqlglot import exp

    mentioned = [table.name.casefold() for table in query.find_all(exp.Table)]
    return math.prod(max(1, mentioned.count(common.alias.casefold())) for common in query.find_all(exp.CTE))


def _described(database: ReadOnlyDatabase, table: str) -> str:
    first = database.rows(table)
    about = database.schema()[table]
    lines = [f"{table}: " + ", ".join(f"{column} {kind}" for column, kind in about["columns"].items())]
    lines += [f"{table}.{column} = {target}" for column, target in about["references"].items()]
    return "\n".join([*lines, "First rows: " + _as_text(first._replace(more=False))])


def _outline(schema: dict[str, TableSchema]) -> str:
    text = ", ".join(f"{table}({', '.join(about['columns'])})" for table, about in schema.items())
    return text + "." if len(text) <= 2_000 else text[:2_000] + " ... (cut: use describe_tables)."


def _as_text(found: Rows) -> str:
    """Write rows as JSON objects, one a line, as many as fit."""
    lines: list[str] = []
    room = MAX_OUTPUT
    for row in found.rows:
        line = json.dumps(dict(zip(found.columns, map(_cell, row), strict=True)), ensure_ascii=False)
        room -= len(line) + 2
        if room < 0:
            break
        lines.append(line)
    text = "[" + ",\n".join(lines) + "]"
    if found.more or len(lines) < len(found.rows):
        text += f"\n(The first {len(lines)} rows of more. COUNT, SUM or a filter gives a whole answer.)"
    if not found.rows:
        text += "\n(No row matches. Check the filter against the values that are stored.)"
    return text


def _cell(value: object) -> object:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal() if Decimal(str(float(value))) == value:
            return int(value) if value == value.to_integral_value() else float(value)
        case bytes() | bytearray() | memoryview():
            return f"({len(value)} bytes)"
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}... (cut: {len(text)} characters)"


def _unique(names: list[str]) -> list[str]:
    """Number names that occur twice, as in a join of two tables with an id each."""
    return [
        name if name not in names[:position] else f"{name}_{names[:position].count(name) + 1}"
        for position, name in enumerate(names)
    ]


def _place(url: "URL") -> str:
    if url.get_backend_name() == "sqlite":
        return repr(url.database)
    return f"{url.get_backend_name()}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def _first_line(error: BaseException | None) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _last_name(match: re.Match[str]) -> str:
    """Give the name that was found, without the table or schema before it."""
    return next(group for group in match.groups() if group).rpartition(".")[2]
