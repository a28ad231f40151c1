"""Deletes the checkpoints of a stored thread's milestones."""

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from plan_execute.agent.errors import ConfigurationError
from plan_execute.graphs.persistence.checkpointer import Saver


class Pruned(NamedTuple):
    """What was deleted."""

    rows: int
    """Rows, over all tables."""
    bytes: int
    """Bytes of their content."""


def prune_scratchpads(checkpointer: Saver, thread: str) -> Pruned:
    """Delete the checkpoints of a thread's milestones; the thread's own, which all its state is read from, stay.

    In SQL, because SQLite's checkpointer can only delete whole threads, and the `prune` of PostgreSQL's refuses
    graphs with delta channels.

    Args:
        checkpointer: SQLite's or PostgreSQL's, opened with `with`.
        thread: The thread's id. Its run should have ended, and `lock_thread` should lock it: a run that is resumed
            needs the checkpoints of its milestones.

    Returns:
        How many rows and bytes were deleted; zero of both if the thread does not exist.

    Raises:
        ConfigurationError: The checkpointer is neither SQLite's nor PostgreSQL's.
    """
    from langgraph.checkpoint.sqlite import SqliteSaver

    if isinstance(checkpointer, SqliteSaver):
        with checkpointer.cursor() as cursor:
            pruned = _delete_scratchpads(cursor, _SQLITE_SIZES, thread, "?")
        with suppress(sqlite3.OperationalError):  # while another process reads the file, it keeps its size
            checkpointer.conn.execute("VACUUM")
        return pruned
    connection: Any = getattr(checkpointer, "conn", None)
    if connection is None:
        raise ConfigurationError(
            "Only threads in SQLite and PostgreSQL can be pruned: open the checkpointer with sqlite:///... or "
            "postgresql://..."
        )
    from psycopg.rows import tuple_row

    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        return _delete_scratchpads(cursor, _POSTGRES_SIZES, thread, "%s")


_SQLITE_SIZES = {
    "checkpoints": "coalesce(length(checkpoint), 0) + coalesce(length(metadata), 0)",
    "writes": "coalesce(length(value), 0)",
}
_POSTGRES_SIZES = {
    "checkpoints": "pg_column_size(checkpoint) + pg_column_size(metadata)",
    "checkpoint_blobs": "coalesce(octet_length(blob), 0)",
    "checkpoint_writes": "octet_length(blob)",
}
"""The tables of checkpoints, and the SQL for the bytes of a row."""


def _delete_scratchpads(cursor: Any, sizes: Mapping[str, str], thread: str, mark: str) -> Pruned:
    """Delete them from all tables; `mark` is the placeholder of a value in the SQL of this database."""
    rows = size = 0
    for table, content in sizes.items():
        where = f"FROM {table} WHERE thread_id = {mark} AND checkpoint_ns <> ''"
        cursor.execute(f"SELECT count(*), coalesce(sum({content}), 0) {where}", (thread,))
        found = cursor.fetchone()
        rows, size = rows + int(found[0]), size + int(found[1])
        cursor.execute(f"DELETE {where}", (thread,))
    return Pruned(rows, size)
