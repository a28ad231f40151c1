"""The tools that read a database."""

import json
from collections.abc import Sequence
from pathlib import Path

from langchain_core.tools import BaseTool, tool

from plan_execute.tools.database.readonly import ReadOnlyDatabase, Rows
from plan_execute.tools.messages import list_names

MAX_OUTPUT = 20_000
"""Longest result of a tool, in characters, not counting the note that it is incomplete."""


def database_tools(
    source: "str | Path | Sequence[str | Path] | ReadOnlyDatabase", *, prefix: str = ""
) -> list[BaseTool]:
    """Create the tools list_tables, describe_tables and query_database, which read a database and cannot change it.

    Args:
        source: What `ReadOnlyDatabase` takes (a URL, or paths of a database or of data files), or one of these.
        prefix: What the names of the tools begin with, to tell those of several databases apart.

    Returns:
        The three tools. They return at most `MAX_OUTPUT` characters and raise `ToolException` when a query fails.

    Raises:
        ValueError: The database cannot be used; see `ReadOnlyDatabase`.
    """
    database = source if isinstance(source, ReadOnlyDatabase) else ReadOnlyDatabase(source)

    @tool(f"{prefix}list_tables")
    def list_tables() -> str:
        """List the tables in the database."""
        return _fitting([database.written(table) for table in database.schema()], ", ", "tables")

    @tool(f"{prefix}describe_tables")
    def describe_tables(names: list[str]) -> str:
        """Show the columns, the foreign keys and the first rows of the given tables."""
        parts: list[str] = []
        for done, name in enumerate(names):
            parts.append(_describe(database, name))
            if sum(map(len, parts)) > MAX_OUTPUT:
                left = f"Left out: {list_names(names[done + 1 :])}. Ask for them apart." if names[done + 1 :] else ""
                return "\n\n".join(parts)[:MAX_OUTPUT] + f"\n(Truncated. {left}".rstrip() + ")"
        return "\n\n".join(parts)

    @tool(f"{prefix}query_database")
    def query_database(sql: str) -> str:
        """Run one SELECT query on the database and get its rows as JSON. It cannot change anything."""
        return _to_text(database.query(sql))

    list_tables.metadata = {"effect": "read"}
    describe_tables.metadata = {"effect": "read"}
    query_database.metadata = {"effect": "read", "languages": {"sql": "sql"}, "schema": database.schema()}
    query_database.description += f" {database.dialect} with the tables {database.outline()}"
    return [list_tables, describe_tables, query_database]


def _describe(database: ReadOnlyDatabase, name: str) -> str:
    table = database.find(name)
    first = database.rows(table)
    about = database.schema()[table]
    written = database.written(table)
    columns = ", ".join(
        f"{database.written(table, column)} {kind}".strip() for column, kind in about["columns"].items()
    )
    lines = [f"{written}: {columns}"]
    lines += [
        f"{written}.{database.written(table, column)} = {_reference(database, target)}"
        for column, target in about["references"].items()
    ]
    if note := database.note(table):
        lines.append(note)
    return "\n".join([*lines, "First rows: " + _to_text(first._replace(more=False))])


def _reference(database: ReadOnlyDatabase, target: str) -> str:
    table, _, column = target.rpartition(".")
    return f"{database.written(table)}.{database.written(table, column)}" if table in database.schema() else target


def _fitting(names: list[str], separator: str, what: str) -> str:
    shown = 0
    room = MAX_OUTPUT
    for name in names:
        room -= len(name) + len(separator)
        if room < 0:
            break
        shown += 1
    more = len(names) - shown
    return separator.join(names[:shown]) + (f"\n({more} more {what} are not shown.)" if more else "")


def _to_text(found: Rows) -> str:
    """Write rows as a JSON array with one object a line, as many as fit into `MAX_OUTPUT` characters."""
    lines: list[str] = []
    room = MAX_OUTPUT
    for row in found.rows:
        line = json.dumps(dict(zip(found.columns, row, strict=True)), ensure_ascii=False)
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
