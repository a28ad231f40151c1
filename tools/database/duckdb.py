"""DuckDB, in the process of `worker`: a database file, or data files that are read as its tables."""

import csv
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from plan_execute.tools.database.worker import tables_of
from plan_execute.tools.encodings import detect_encoding

MEMORY = 3 * 2**30
"""Most memory that the process may take; the tables that DuckDB keeps may take a third of it."""
READERS = {
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".json": "read_json_auto",
    ".jsonl": "read_json_auto",
    ".ndjson": "read_json_auto",
    ".parquet": "read_parquet",
}
"""The function that reads a data file, by its suffix."""
SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
"""Suffixes of spreadsheets; each of their sheets becomes a table."""
DATA_FILES = (*READERS, *SHEETS)
"""Suffixes of the files that can be read as tables."""
LARGE = 200_000_000
"""Files of more bytes than this are read anew for each query; smaller ones are kept in memory."""

_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "memory_limit": "1GB",
    "threads": 2,
    "temp_directory": "",
}

_COLUMNS = """
SELECT schema_name, table_name, schema_name = 'main', column_name, data_type FROM duckdb_columns()
WHERE NOT internal AND database_name = current_database()
ORDER BY schema_name <> 'main', schema_name, table_name, column_index
"""
_FOREIGN_KEYS = """
SELECT schema_name, table_name, constraint_column_names[1], schema_name, referenced_table, referenced_column_names[1]
FROM duckdb_constraints()
WHERE constraint_type = 'FOREIGN KEY' AND len(constraint_column_names) = 1 AND database_name = current_database()
"""


def read_schema(source: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Read the columns and foreign keys of all tables and views.

    Args:
        source: {"path": of a DuckDB file} or {"files": paths of data files}.
        seconds: How long it may take.

    Returns:
        As `sqlite.read_schema`.
    """
    with _cursor(source, seconds) as cursor:
        columns = cursor.execute(_COLUMNS).fetchall()
        keys = cursor.execute(_FOREIGN_KEYS).fetchall()
        reserved = cursor.execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
        ).fetchall()
        return {"tables": tables_of(columns, keys), "quoted": [word for (word,) in reserved]}


@contextmanager
def run(source: dict[str, Any], sql: str, seconds: float) -> Iterator[tuple[list[str], Iterable[Iterable[object]]]]:
    """Run a query; gives its column names and its rows."""
    with _cursor(source, seconds) as cursor:
        cursor.execute(sql)
        yield [column[0] for column in cursor.description or ()], iter(cursor.fetchone, None)


@contextmanager
def _cursor(source: dict[str, Any], seconds: float) -> Iterator[Any]:
    cursor = _open(source.get("path"), tuple(source.get("files", ()))).cursor()
    timer = threading.Timer(seconds, cursor.interrupt)
    timer.daemon = True
    timer.start()
    try:
        with closing(cursor):
            yield cursor
    finally:
        timer.cancel()


@cache
def _open(path: str | None, files: tuple[str, ...]) -> Any:
    import duckdb

    connection = duckdb.connect(path or ":memory:", read_only=path is not None, config=_LOCKED)
    taken: set[str] = set()
    for file in files:
        _add_tables(connection, Path(file), taken)
    connection.execute(f"SET allowed_paths = [{', '.join(map(_text, files))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _add_tables(connection: Any, file: Path, taken: set[str]) -> None:
    name = _table_name(file.stem)
    suffix = file.suffix.casefold()
    if suffix in SHEETS:
        sheets = _sheets(file)
        for title, rows in sheets.items():
            own = name if len(sheets) == 1 else f"{name}_{_table_name(title)}"
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "sheet.csv"
                with copy.open("w", encoding="utf-8", newline="") as target:
                    csv.writer(target).writerows(rows)
                _add(connection, own, "TABLE", f"read_csv({_text(str(copy))}, header = true, sample_size = -1)", taken)
        return
    options = ", sample_size = -1" if READERS[suffix] == "read_csv" else ""
    large = suffix == ".parquet" or file.stat().st_size > LARGE
    readable = _utf8(file) if READERS[suffix] != "read_parquet" and not large else None
    try:
        reads = f"{READERS[suffix]}({_text(str(readable or file))}{options})"
        _add(connection, name, "VIEW" if large else "TABLE", reads, taken)
    finally:
        if readable:
            readable.unlink()


def _add(connection: Any, name: str, kind: str, reads: str, taken: set[str]) -> None:
    free = _first_free(name, taken)
    taken.add(free)
    quoted = '"' + free.replace('"', '""') + '"'
    connection.execute(f"CREATE {kind} {quoted} AS SELECT * FROM {reads}")


def _first_free(name: str, taken: set[str]) -> str:
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _table_name(text: str) -> str:
    name = re.sub(r"\W+", "_", text.casefold()).strip("_") or "data"
    return f"data_{name}" if name[0].isdigit() else name


def _utf8(file: Path) -> Path | None:
    """Copy a file that is not UTF-8 to one that is; None if it is."""
    raw = file.read_bytes()
    encoding = detect_encoding(raw)
    if encoding.startswith("utf-8"):
        return None
    text = raw.decode(encoding, "replace")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", suffix=file.suffix, delete=False) as copy:
        copy.write(text)
    return Path(copy.name)


def _sheets(file: Path) -> dict[str, list[list[Any]]]:
    """The rows of each sheet that has any, from the first row that is filled in."""
    from python_calamine import CalamineWorkbook

    with CalamineWorkbook.from_path(file) as book:
        sheets = {title: book.get_sheet_by_name(title).to_python(skip_empty_area=True) for title in book.sheet_names}
    return {title: [[_plain(cell) for cell in row] for row in rows] for title, rows in sheets.items() if rows}


def _plain(cell: Any) -> Any:
    return int(cell) if isinstance(cell, float) and cell.is_integer() else cell


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
