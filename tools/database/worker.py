"""The process that talks to a database: it reads requests from standard input, and ends itself if one takes too long.

A query cannot always be interrupted, and its result may not fit into memory; a process can be ended and limited.
Requests and answers are JSON, one a line. The first line is the source. Then come {"seconds"} for the schema, and
{"sql", "rows", "seconds"} for a query; the answer to what fails is {"error", "type"}.
"""

import faulthandler
import json
import math
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal
from importlib import import_module
from types import ModuleType
from typing import Any

from plan_execute.tools.messages import truncate

GRACE = 1.0
"""How long after its time limit a request may still end in an orderly way, in seconds."""
MEMORY = 512 * 2**20
"""Most memory that a process may take for its data, in bytes, where the system can limit it."""
DISK = 2**30
"""Largest temporary file, in bytes."""
MAX_CELL = 500
"""Longest value of one cell in a result, in characters; longer ones are truncated."""
MAX_RESULT = 1_000_000
"""Most characters of a result; the rows after them are left out."""
OUT_OF_MEMORY = "out of memory"
"""The error of a query whose result does not fit."""


class TooPowerfulError(Exception):
    """The user may do more on the server than read tables."""


def tables_of(
    columns: Iterable[tuple[str, str, bool, str, str]], keys: Iterable[tuple[str, str, str, str, str, str]]
) -> list[dict[str, Any]]:
    """Put tables together, in the order of their columns.

    Args:
        columns: The schema, the table, whether its name alone is enough, the column and its type.
        keys: For foreign keys of one column: the schema, the table and the column, and those that it refers to.

    Returns:
        Tables as `sqlite.read_schema` gives them.
    """
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for schema, name, bare, column, kind in columns:
        table = {"schema": schema, "name": name, "bare": bool(bare), "columns": {}, "references": {}}
        tables.setdefault((schema, name), table)["columns"][column] = kind
    for schema, name, column, other_schema, other_name, key in keys:
        if (own := tables.get((schema, name))) and (other := tables.get((other_schema, other_name))):
            place = (other_name,) if other["bare"] else (other_schema, other_name)
            own["references"][column] = ".".join((*place, key))
    return list(tables.values())


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    requests = map(json.loads, sys.stdin.buffer)
    source = next(requests)
    reader = import_module(f"plan_execute.tools.database.{source['kind']}")
    _limit(getattr(reader, "MEMORY", MEMORY))
    with open(os.devnull, "w") as nowhere:
        for request in requests:
            faulthandler.dump_traceback_later(request["seconds"] + GRACE, exit=True, file=nowhere)
            answer = json.dumps(_answer(reader, source, request))
            faulthandler.cancel_dump_traceback_later()
            sys.stdout.write(answer + "\n")
            sys.stdout.flush()


def _answer(reader: ModuleType, source: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    try:
        if "sql" not in request:
            return dict(reader.read_schema(source, request["seconds"]))
        with reader.run(source, request["sql"], request["seconds"]) as (columns, rows):
            return _take(columns, rows, request["rows"])
    except MemoryError:
        return {"error": OUT_OF_MEMORY}
    except Exception as error:  # noqa: BLE001 - a driver may raise anything, and this process has to go on
        return {"error": str(error).partition("\n")[0][:300] or type(error).__name__, "type": type(error).__name__}


def _take(columns: list[str], rows: Iterable[Iterable[object]], most: int) -> dict[str, Any]:
    taken: list[list[object]] = []
    room = MAX_RESULT
    for row in rows:
        if len(taken) == most or room < 0:
            return {"columns": columns, "rows": taken, "more": True}
        taken.append([_cell(value) for value in row])
        room -= sum(len(value) if isinstance(value, str) else 8 for value in taken[-1])
    return {"columns": columns, "rows": taken, "more": False}


def _cell(value: object) -> object:
    match value:
        case None | bool():
            return value
        case int() if value.bit_length() < 1_000:
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal() if value.is_finite() and Decimal(str(float(value))) == value:
            return int(value) if value == value.to_integral_value() else float(value)
        case bytes() | bytearray() | memoryview():
            return f"({len(value)} bytes)"
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list | tuple) else str(value)
    return truncate(text, MAX_CELL)


def _limit(memory: int) -> None:
    with suppress(ImportError, OSError, ValueError):  # there are no such limits on Windows, and others may be lower
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, DISK))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
