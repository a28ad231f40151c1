"""Read-only access to a database: its schema, the first rows of a table, and single SELECT queries."""

import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.tools import BaseTool, ToolException, tool
from sqlalchemy import Connection, CursorResult, Engine, Select, create_engine, inspect, literal_column, select
from sqlalchemy import table as table_clause
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool
from typing_extensions import TypedDict

from plan_execute.tools.messages import closest, did_you_mean, list_names, truncate

MAX_SQL = 4_000
"""Longest query accepted, in characters."""
MAX_CELL = 500
"""Longest value of one cell in a result, in characters; longer ones are truncated."""
MAX_OUTPUT = 20_000
"""Longest result of a tool, in characters, not counting the note that it is incomplete."""


class TableSchema(TypedDict):
    """The columns of one table or view."""

    columns: dict[str, str]
    """SQL type by column name."""
    references: dict[str, str]
    """The "table.column" that a foreign key refers to, by column name."""


class Rows(NamedTuple):
    """The result of a query."""

    columns: list[str]
    """Names of the columns; a repeated name gets a number."""
    rows: list[list[object]]
    """One list of values for each row, as the driver returns them."""
    more: bool
    """Whether the query has more rows than the limit."""


def database_tools(source: "str | Path | ReadOnlyDatabase") -> list[BaseTool]:
    """Create the tools list_tables, describe_tables and query_database, which read a database and cannot change it.

    Args:
        source: A SQLAlchemy URL, the path of a SQLite file, or a `ReadOnlyDatabase`.

    Returns:
        The three tools. They return at most `MAX_OUTPUT` characters and raise `ToolException` when a query fails.

    Raises:
        ValueError: The database does not exist, has no tables, or cannot be reached. The message is one sentence
            and never contains the password.
    """
    database = source if isinstance(source, ReadOnlyDatabase) else ReadOnlyDatabase(source)

    @tool
    def list_tables() -> str:
        """List the tables in the database."""
        return ", ".join(database.schema())

    @tool
    def describe_tables(names: list[str]) -> str:
        """Show the columns, the foreign keys and the first rows of the given tables."""
        return truncate("\n\n".join(_describe(database, name) for name in names), MAX_OUTPUT)

    @tool
    def query_database(sql: str) -> str:
        """Run one SELECT query on the database and get its rows as JSON. It cannot change anything."""
        return _to_text(database.query(sql))

    list_tables.metadata = {"effect": "read"}
    describe_tables.metadata = {"effect": "read"}
    query_database.metadata = {"effect": "read", "languages": {"sql": "sql"}, "schema": database.schema()}
    query_database.description += f" {database.dialect} with the tables {_outline(database.schema())}"
    return [list_tables, describe_tables, query_database]


class ReadOnlyDatabase:
    """A database that can be queried and not changed, whatever the SQL says.

    Every query is parsed first and must be a single SELECT. SQLite is then opened read-only, with an authorizer that
    allows nothing but reading; PostgreSQL, MySQL, MariaDB and Oracle run the query in a READ ONLY transaction. On any
    other database only the parser and a rollback protect the data, so connect as a user who may only read.

    Attributes:
        dialect: The name of the SQL dialect, such as "SQLite".
    """

    def __init__(self, url: str | Path, *, max_rows: int = 100, seconds: float = 10.0) -> None:
        """Connect to the database and read its schema.

        Args:
            url: A SQLAlchemy URL, or the path of a SQLite file, which must exist.
            max_rows: Most rows that a query returns.
            seconds: Longest time that connecting or a query may take, in seconds. Databases other than SQLite,
                PostgreSQL, MySQL and MariaDB ignore it.

        Raises:
            ValueError: The database does not exist, has no tables, or cannot be reached.
        """
        self._max_rows = max_rows
        self._seconds = seconds
        self._engine = _engine(url, seconds)
        self.dialect = _DIALECT_NAMES.get(self._engine.dialect.name, self._engine.dialect.name)
        self._schema = _schema(self._engine)

    def schema(self) -> dict[str, TableSchema]:
        """Describe every table and view, as they were when this object was created.

        Returns:
            The columns and foreign keys by table name.
        """
        return self._schema

    def query(self, sql: str) -> Rows:
        """Run one SELECT.

        Args:
            sql: The query, at most `MAX_SQL` characters, in the dialect of the database.

        Returns:
            At most `max_rows` rows, and whether there are more.

        Raises:
            ToolException: The query was refused, failed or took too long; the message says what to do next.
        """
        _require_single_select(sql, self._engine.dialect.name)
        # no_parameters: a percent sign in the SQL stands for itself
        options = {"no_parameters": True, "stream_results": True}
        return self._read(
            lambda connection: connection.exec_driver_sql(sql, execution_options=options), self._max_rows, sql
        )

    def rows(self, table: str, limit: int = 3) -> Rows:
        """Read the first rows of a table.

        Args:
            table: The name of a table or view.
            limit: Most rows to return.

        Returns:
            At most `limit` rows with all columns, in no particular order.

        Raises:
            ToolException: There is no such table, or it could not be read.
        """
        if table not in self._schema:
            raise ToolException(self._unknown_table(table, table))
        statement: Select[Any] = select(literal_column("*")).select_from(table_clause(table)).limit(limit + 1)
        return self._read(lambda connection: connection.execute(statement), limit, table)

    def _read(self, execute: Callable[[Connection], CursorResult[Any]], limit: int, sql: str) -> Rows:
        try:
            with _read_only(self._engine, self._seconds) as connection:
                result = execute(connection)
                found = result.fetchmany(limit + 1)
                return Rows(
                    _number_duplicates(list(result.keys())), [list(row) for row in found[:limit]], len(found) > limit
                )
        except DBAPIError as error:
            raise ToolException(self._explain(str(error.orig).partition("\n")[0][:200], sql)) from None

    def _explain(self, problem: str, sql: str) -> str:
        if re.search(r"interrupt|timeout|execution time|max_statement_time", problem, re.IGNORECASE):
            return (
                f"The query was stopped after {self._seconds:g} seconds. "
                "Join tables on their keys, and filter or aggregate instead of listing everything."
            )
        if re.search(r"not authorized|prohibited|read-?only|one statement", problem, re.IGNORECASE):
            return _ONE_SELECT
        for pattern, explain in ((_UNKNOWN_TABLE, self._unknown_table), (_UNKNOWN_COLUMN, self._unknown_column)):
            if unknown := re.search(pattern, problem, re.IGNORECASE):
                name: str = unknown[unknown.lastindex or 0]
                return explain(name.rpartition(".")[2], sql)
        return f"The database could not run the query ({problem}). Correct the SQL and try again."

    def _unknown_table(self, name: str, _sql: str) -> str:
        hint = did_you_mean(name, self._schema)
        return f"There is no table {name[:60]!r}.{hint} The tables are {list_names(self._schema)}."

    def _unknown_column(self, name: str, sql: str) -> str:
        """Suggest similar columns of all tables, and list the columns of the tables that the query mentions."""
        words = set(re.findall(r"\w+", sql.casefold()))
        mentioned = {table: about for table, about in self._schema.items() if table.casefold() in words} or self._schema
        near = closest(name, {column for about in self._schema.values() for column in about["columns"]})
        places = [f"{table}.{near}" for table, about in self._schema.items() if near in about["columns"]]
        hint = f" Did you mean {' or '.join(places[:3])}?" if places else ""
        return f"There is no column {name[:60]!r} in these tables.{hint} The columns are {_outline(mentioned)}"


_ONE_SELECT = "Only a single SELECT is allowed here, and it can only read. Write what you want to know as one SELECT."
_UNKNOWN_TABLE = r"no such table: (\S+)|relation \"([^\"]+)\" does not exist|Table '([^']+)' doesn't exist"
_UNKNOWN_COLUMN = r"no such column: (\S+)|column \"?([^\" ]+)\"? does not exist|Unknown column '([^']+)'"

_DIALECT_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MySQL", "mariadb": "MariaDB"}

_SQLGLOT_NAMES = {"postgresql": "postgres", "mariadb": "mysql", "mssql": "tsql"}
"""The names that sqlglot has for SQLAlchemy's dialects, where they differ; an unknown dialect is read as plain SQL."""

_DRIVERS = {"MySQLdb": "mysqlclient", "psycopg": "'psycopg[binary]'", "psycopg2": "psycopg2-binary"}
"""The package to install, for drivers whose module has another name."""

_SESSION = {
    "postgresql": ("SET TRANSACTION READ ONLY", "SET LOCAL statement_timeout = {milliseconds}"),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION max_execution_time = {milliseconds}"),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION max_statement_time = {seconds}"),
    "oracle": ("SET TRANSACTION READ ONLY",),
}
"""Statements that make a transaction read-only and limit the time of its queries, by dialect."""

_READ_ACTIONS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    33,  # SQLITE_RECURSIVE, which the sqlite3 module names only since Python 3.13
}

_SIDE_EFFECTS = re.compile(
    r"(pg_(?!typeof)|lo_|dblink|set_config|nextval|setval|query_to_xml|sleep|benchmark|get_lock|load_)", re.IGNORECASE
)
"""Functions that do more than compute: they wait, lock, read files on the server or change its settings."""


def _engine(url: str | Path, seconds: float) -> Engine:
    if "://" not in str(url):
        return _sqlite_engine(Path(url).expanduser())
    try:
        address = make_url(str(url))
        if address.get_backend_name() == "sqlite":
            return _sqlite_engine(Path(address.database or ":memory:"))
        if address.drivername in ("postgres", "postgresql"):
            address = address.set(drivername="postgresql+psycopg")
        options = {"connect_timeout": math.ceil(seconds)} if address.get_backend_name() in _DIALECT_NAMES else {}
        return create_engine(address, poolclass=NullPool, connect_args=options, hide_parameters=True)
    except NoSuchModuleError:
        raise ValueError(
            f"Unknown kind of database {address.drivername!r}: give a URL for which a SQLAlchemy dialect is installed."
        ) from None
    except ArgumentError:
        raise ValueError(
            "This is not a database URL: write it as sqlite:///shop.db or postgresql://user@host/name."
        ) from None
    except ImportError as error:
        raise ValueError(
            f"Databases of type {address.drivername!r} need a driver: "
            f"pip install {_DRIVERS.get(str(error.name), error.name)}."
        ) from None


def _sqlite_engine(path: Path) -> Engine:
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


def _schema(engine: Engine) -> dict[str, TableSchema]:
    try:
        inspector = inspect(engine)
        columns = dict(inspector.get_multi_columns(kind=ObjectKind.TABLE))
        keys = inspector.get_multi_foreign_keys(kind=ObjectKind.TABLE)
    except DBAPIError as error:
        raise ValueError(
            f"The database {_location(engine.url)} cannot be opened ({type(error.orig).__name__}): "
            "check the address and the user, and that the database is running."
        ) from None
    with suppress(DBAPIError):  # a view whose table is gone makes all views unreadable, but not the tables
        columns |= inspector.get_multi_columns(kind=ObjectKind.ANY_VIEW)
    if not columns:
        raise ValueError(f"The database {_location(engine.url)} has no tables: give one that has.")
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
def _read_only(engine: Engine, seconds: float) -> Iterator[Connection]:
    """Open a connection that can only read, with a time limit for queries, and roll back at the end."""
    with engine.connect() as connection:
        driver_connection = connection.connection.dbapi_connection
        if isinstance(driver_connection, sqlite3.Connection):
            deadline = time.monotonic() + seconds
            driver_connection.set_authorizer(_allow_reading)
            driver_connection.set_progress_handler(lambda: time.monotonic() > deadline, 1_000)
        for statement in _SESSION.get(engine.dialect.name, ()):
            connection.exec_driver_sql(statement.format(milliseconds=math.ceil(seconds * 1_000), seconds=seconds))
        yield connection


def _allow_reading(action: int, _table: str | None, name: str | None, *_: str | None) -> int:
    allowed = action in _READ_ACTIONS and name != "load_extension"
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _require_single_select(sql: str, dialect: str) -> None:
    """Refuse everything but one SELECT that neither writes, locks nor calls a function with side effects."""
    import sqlglot  # here, because it loads slowly and only queries need it
    from sqlglot import errors, exp

    if len(sql) > MAX_SQL:
        raise ToolException(f"The query is longer than {MAX_SQL} characters. Write a shorter one.")
    starts_well = re.match(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with)\b", sql, re.IGNORECASE | re.DOTALL)
    if not starts_well or (dialect in ("mysql", "mariadb") and re.search(r"/\*M?!", sql)):  # a comment that is executed
        raise ToolException(_ONE_SELECT)
    try:
        statements = sqlglot.parse(sql, read=sqlglot.Dialect.get(_SQLGLOT_NAMES.get(dialect, dialect)))
    except (errors.SqlglotError, RecursionError) as error:
        where = error.errors[0] if isinstance(error, errors.ParseError) and error.errors else {}
        detail = f" near {where['highlight']!r}" if where.get("highlight") else ""
        raise ToolException(f"The SQL has a syntax error{detail}. Write one plain SELECT statement.") from None
    queries = [statement for statement in statements if not isinstance(statement, exp.Semicolon | None)]
    query = queries[0] if len(queries) == 1 else None
    if not isinstance(query, exp.Query) or query.find(exp.DML, exp.DDL, exp.Into, exp.Lock, exp.Command):
        raise ToolException(_ONE_SELECT)
    for function in query.find_all(exp.Anonymous):
        if _SIDE_EFFECTS.match(function.name):
            raise ToolException(f"The function {function.name[:60]!r} is not allowed here. Write a SELECT without it.")
    # SQLite copies a WITH table at each mention, before any time limit applies
    mentioned = [table.name.casefold() for table in query.find_all(exp.Table)]
    copies = math.prod(max(1, mentioned.count(common.alias.casefold())) for common in query.find_all(exp.CTE))
    if copies > 1_000:
        raise ToolException("The query nests too many WITH tables. Write it with fewer of them.")


def _describe(database: ReadOnlyDatabase, table: str) -> str:
    first = database.rows(table)
    about = database.schema()[table]
    lines = [f"{table}: " + ", ".join(f"{column} {kind}" for column, kind in about["columns"].items())]
    lines += [f"{table}.{column} = {target}" for column, target in about["references"].items()]
    return "\n".join([*lines, "First rows: " + _to_text(first._replace(more=False))])


def _outline(schema: dict[str, TableSchema]) -> str:
    text = ", ".join(f"{table}({', '.join(about['columns'])})" for table, about in schema.items())
    return text + "." if len(text) <= 2_000 else text[:2_000] + " ... (truncated: use describe_tables)."


def _to_text(found: Rows) -> str:
    """Write rows as a JSON array with one object a line, as many as fit into `MAX_OUTPUT` characters."""
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
        text += f"\n(Only the first {len(lines)} rows. Use COUNT, SUM or a filter for a complete result.)"
    if not found.rows:
        text += "\n(No rows match. Compare the filter with the stored values.)"
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
    return truncate(text, MAX_CELL)


def _number_duplicates(names: list[str]) -> list[str]:
    """Make column names unique: joining two tables that each have an id gives id and id_2."""
    return [
        name if name not in names[:position] else f"{name}_{names[:position].count(name) + 1}"
        for position, name in enumerate(names)
    ]


def _location(url: URL) -> str:
    """Name a database without the user, the password and the options."""
    return URL.create(url.get_backend_name(), host=url.host, port=url.port, database=url.database).render_as_string()
