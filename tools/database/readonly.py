"""Read-only access to a database: its schema, the first rows of a table, and single SELECT queries."""

import re
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.tools import ToolException
from typing_extensions import TypedDict

from plan_execute.tools.database.sources import DIALECTS, read_source
from plan_execute.tools.database.statement import ONE_SELECT, read_query
from plan_execute.tools.database.worker import OUT_OF_MEMORY
from plan_execute.tools.messages import closest, list_names
from plan_execute.tools.processes import Workers

OPENING_SECONDS = 60.0
"""Longest time that reading the schema, and loading data files, may take beside the time for connecting, in seconds."""


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
    rows: list[list[Any]]
    """One list of values for each row: None, booleans, numbers and texts. Dates are texts, and so is what stands for
    bytes; long texts are truncated."""
    more: bool
    """Whether the query has more rows than the limit."""


class ReadOnlyDatabase:
    """A database that can be queried and not changed, whatever the SQL says.

    A query is parsed first: it must be one SELECT that reads known tables and views, with functions that only compute.
    What was parsed is what runs, in a process of its own that is ended if it takes too long or too much memory. The
    database is opened read-only as well: SQLite with an authorizer, PostgreSQL and MariaDB in a READ ONLY transaction
    of a user who is no superuser, DuckDB without access to files.

    Attributes:
        dialect: The name of the SQL dialect: "SQLite", "PostgreSQL", "MariaDB" or "DuckDB".
    """

    def __init__(
        self,
        url: str | Path | Sequence[str | Path],
        *,
        max_rows: int = 100,
        seconds: float = 10.0,
        functions: Collection[str] = (),
    ) -> None:
        """Connect to the database and read its schema.

        Args:
            url: A URL such as "postgresql://user@host/name"; the path of a SQLite or DuckDB file; or one or more paths
                of CSV, TSV, JSON, Parquet or spreadsheet files, each of which becomes a table (a spreadsheet: one for
                each sheet).
            max_rows: Most rows that a query returns.
            seconds: Longest time that connecting or a query may take, in seconds.
            functions: Names of further functions that a query may call, such as your own.

        Raises:
            ValueError: The database does not exist, has no tables, or cannot be reached; its user may do too much; or
                it is of a kind that was never tested here. The message is one sentence and never contains the password.
        """
        self._source = read_source(url, seconds)
        self._functions = {name.casefold() for name in functions}
        self._max_rows = max_rows
        self._seconds = seconds
        self._workers = Workers("plan_execute.tools.database.worker", self._source.opens)
        self.dialect = DIALECTS[self._source.kind]
        self._read_schema()

    def schema(self) -> dict[str, TableSchema]:
        """Describe every table and view that can be read.

        Returns:
            The columns and foreign keys by the name of the table, which has its schema in front ("sales.orders") where
            the table would not be found without.
        """
        return self._schema

    def query(self, sql: str) -> Rows:
        """Run one SELECT.

        Args:
            sql: The query, at most `statement.MAX_SQL` characters, in the dialect of the database.

        Returns:
            At most `max_rows` rows, and whether there are more.

        Raises:
            ToolException: The query was refused, failed or took too long; the message says what to do next.
        """
        query = read_query(sql, self._source.kind, self._functions)
        tables = [self._require_relation(schema, name, query.sql) for schema, name in query.relations]
        columns = {column.casefold() for table in tables if table for column in self._schema[table]["columns"]}
        if unknown := next((name for name in query.unknown if name.casefold() not in columns), None):
            raise ToolException(self._unknown_column(unknown, query.sql) + " A text stands in single quotes.")
        return self._run(query.sql, self._max_rows)

    def rows(self, table: str, limit: int = 3) -> Rows:
        """Read the first rows of a table.

        Args:
            table: The name of a table or view, as in the schema or as a query has it.
            limit: Most rows to return.

        Returns:
            At most `limit` rows with all columns, in no particular order.

        Raises:
            ToolException: There is no such table, or it could not be read.
        """
        return self._run(f"SELECT * FROM {self.written(self.find(table))} LIMIT {limit + 1}", limit)

    def find(self, table: str) -> str:
        """Find a table by its name as in the schema or as a query has it, in any case.

        Raises:
            ToolException: There is none.
        """
        plain = re.sub(r'(["`])((?:\1\1|(?!\1).)*)\1', r"\2", table.strip())
        if (known := self._known(plain)) is None:
            raise ToolException(self._unknown_table(table, table))
        return known

    def written(self, table: str, column: str | None = None) -> str:
        """Write the name of a table of the schema, or of one of its columns, as a query must have it."""
        names = self._parts[table] if column is None else (column,)
        return ".".join(self._quoted(name) if self._needs_quotes(name) else name for name in names)

    def note(self, table: str) -> str:
        """Say what else there is to know about a table; mostly nothing."""
        return self._notes[table]

    def outline(self, tables: Iterable[str] | None = None, most: int = 2_000) -> str:
        """List tables with their columns, as a query must have them, in at most that many characters."""
        text = ""
        chosen = list(self._schema if tables is None else tables)
        for done, table in enumerate(chosen):
            columns = ", ".join(self.written(table, column) for column in self._schema[table]["columns"])
            part = f"{', ' if text else ''}{self.written(table)}({columns})"
            if len(text) + len(part) > most:
                more = f"{len(chosen) - done} more tables: list_tables names them, describe_tables shows their columns"
                return f"{text}{' and ' if text else ''}{more}."
            text += part
        return text + "."

    def _read_schema(self) -> None:
        answer = self._workers.ask({"seconds": self._seconds + OPENING_SECONDS})
        if answer is None or "error" in answer:
            raise ValueError(self._cannot_open(answer or {"error": "the process ended"}))
        schema: dict[str, TableSchema] = {}
        names: dict[str, str] = {}
        parts: dict[str, tuple[str, ...]] = {}
        for table in answer["tables"]:
            own = (table["name"],) if table["bare"] else (table["schema"], table["name"])
            name = ".".join(own)
            for other in (name, f"{table['schema']}.{table['name']}"):
                names[other] = name
                names.setdefault(other.casefold(), name)
            parts[name] = own
            schema[name] = TableSchema(columns=table["columns"], references=table["references"])
        if not schema:
            raise ValueError(f"The database {self._source.label} has no tables: give one that has.")
        self._reserved = {name.casefold() for name in answer["quoted"]}
        self._notes: dict[str, str] = {
            name: table.get("note", "") for name, table in zip(parts, answer["tables"], strict=True)
        }
        self._parts, self._schema, self._names = parts, schema, names  # names last: they lead to the others

    def _cannot_open(self, answer: dict[str, Any]) -> str:
        label, problem = self._source.label, answer["error"]
        match answer.get("type"):
            case "TooPowerfulError":
                return (
                    f"{label} was named with the user {problem!r}, who may do more on the server than read tables. "
                    f"Name a user who may only read: {_READER[self._source.kind]}"
                )
            case "UntestedError":
                return f"{label} is no MariaDB but {problem[:40]!r}, with which these tools were never tested."
        if "files" in self._source.opens:
            return f"The data in {label} cannot be read ({problem})."
        return (
            f"The database {label} cannot be opened ({answer.get('type', problem)}): "
            "check the address and the user, and that the database is running."
        )

    def _require_relation(self, schema: str | None, name: str, sql: str) -> str | None:
        """Return the name in the schema of what a query reads; None for the catalogue of SQLite."""
        if self._source.kind == "sqlite" and name.casefold() in ("sqlite_master", "sqlite_schema"):
            return None
        wanted = f"{schema}.{name}" if schema else name
        if (known := self._known(wanted)) is None:
            with suppress(ValueError):
                self._read_schema()  # it may be newer than this object
            known = self._known(wanted)
        if known is not None:
            return known
        if re.match(_CATALOGUES, wanted, re.IGNORECASE):
            raise ToolException(
                "The catalogue of the system is closed here. list_tables and describe_tables show tables and columns."
            )
        raise ToolException(self._unknown_table(wanted, sql))

    def _known(self, name: str) -> str | None:
        return self._names.get(name) or self._names.get(name.casefold())

    def _run(self, sql: str, limit: int) -> Rows:
        begun = time.monotonic()
        answer = self._workers.ask({"sql": sql, "rows": limit, "seconds": self._seconds})
        if answer is None:
            early = time.monotonic() - begun < self._seconds
            raise ToolException(self._explain(OUT_OF_MEMORY, sql) if early else self._stopped())
        if "error" in answer:
            raise ToolException(self._explain(answer["error"], sql))
        return Rows(_number_duplicates(answer["columns"]), answer["rows"], answer["more"])

    def _stopped(self) -> str:
        return (
            f"The query was stopped after {self._seconds:g} seconds. "
            "Join tables on their keys, and filter or aggregate instead of listing everything."
        )

    def _explain(self, problem: str, sql: str) -> str:
        if re.search(r"interrupt|timeout|execution time|max_statement_time", problem, re.IGNORECASE):
            return self._stopped()
        if re.search(
            OUT_OF_MEMORY + r"|too big|disk is full|could not allocate|max_session_mem", problem, re.IGNORECASE
        ):
            return (
                f"The query needs too much memory ({problem[:80]}). Select fewer columns, take the start or the length "
                "of long texts, and filter or aggregate."
            )
        if re.search(r"not authorized|prohibited|read[- ]?only|one statement", problem, re.IGNORECASE):
            return ONE_SELECT
        for pattern, explain in ((_UNKNOWN_TABLE, self._unknown_table), (_UNKNOWN_COLUMN, self._unknown_column)):
            if unknown := re.search(pattern, problem, re.IGNORECASE):
                name: str = unknown[unknown.lastindex or 0]
                return explain(name.rpartition(".")[2].strip('"`'), sql)
        return f"The database could not run the query ({problem[:200]}). Correct the SQL and try again."

    def _unknown_table(self, name: str, _sql: str) -> str:
        near = closest(name, self._schema) or next((t for t in self._schema if self._parts[t][-1] == name), None)
        hint = f" Did you mean {self.written(near)}?" if near else ""
        names = list_names([self.written(table) for table in self._schema])
        return f"There is no table {name[:60]!r}.{hint} The tables are {names}."

    def _unknown_column(self, name: str, sql: str) -> str:
        """Suggest similar columns of all tables, and list the columns of the tables that the query mentions."""
        words = set(re.findall(r"\w+", sql.casefold()))
        mentioned = [t for t in self._schema if words.issuperset(re.findall(r"\w+", t.casefold()))] or [*self._schema]
        near = closest(name, {column for table in mentioned for column in self._schema[table]["columns"]}) or closest(
            name, {column for about in self._schema.values() for column in about["columns"]}
        )
        places = [
            f"{self.written(table)}.{self.written(table, near)}"
            for table in (*mentioned, *self._schema)
            if near in self._schema[table]["columns"]
        ]
        hint = f" Did you mean {' or '.join(dict.fromkeys(places[:3]))}?" if places else ""
        return f"There is no column {name[:60]!r} in these tables.{hint} The columns are {self.outline(mentioned)}"

    def _needs_quotes(self, name: str) -> bool:
        plain = r"[a-z_][a-z0-9_]*" if self._source.kind == "postgresql" else r"[A-Za-z_][A-Za-z0-9_]*"
        return name.casefold() in self._reserved or not re.fullmatch(plain, name)

    def _quoted(self, name: str) -> str:
        quote = "`" if self._source.kind == "mariadb" else '"'
        return quote + name.replace(quote, quote * 2) + quote


_READER = {
    "postgresql": "CREATE ROLE reader LOGIN PASSWORD '...'; GRANT pg_read_all_data TO reader.",
    "mariadb": "CREATE USER reader IDENTIFIED BY '...'; GRANT SELECT ON shop.* TO reader.",
}
_CATALOGUES = r"pg_|duckdb_|(information_schema|performance_schema|mysql|sys)\."
_UNKNOWN_TABLE = (
    r"no such table: (.+)|relation \"([^\"]+)\" does not exist|Table '([^']+)' doesn't exist|"
    r"Table with name (.+?) does not exist"
)
_UNKNOWN_COLUMN = (
    r"no such column: (.+)|column \"?(.+?)\"? does not exist|Unknown column '([^']+)'|"
    r"Referenced column \"([^\"]+)\" not found|does not have a column named \"([^\"]+)\""
)


def _number_duplicates(names: list[str]) -> list[str]:
    """Make column names unique: joining two tables that each have an id gives id and id_2."""
    return [
        name if name not in names[:position] else f"{name}_{names[:position].count(name) + 1}"
        for position, name in enumerate(names)
    ]
