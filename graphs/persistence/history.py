"""What is done by hand to the rows of a kept thread: its milestones' are deleted, its history is copied."""

import re
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from plan_execute.agent.errors import ConfigurationError
from plan_execute.graphs.persistence.checkpointer import Saver


class Pruned(NamedTuple):
    """What was deleted: rows, and the bytes of their content."""

    rows: int
    bytes: int


def prune_scratchpads(checkpointer: Saver, thread: str) -> Pruned:
    """Delete the checkpoints that a thread's milestones left; those of the thread itself, all it is read from, stay.

    By hand, because SQLite's checkpointer can only delete whole threads, and the `prune` of PostgreSQL's refuses
    graphs whose state is kept by delta.

    Raises:
        ConfigurationError: The checkpointer is of neither kind.
    """
    from langgraph.checkpoint.sqlite import SqliteSaver

    if isinstance(checkpointer, SqliteSaver):
        with checkpointer.cursor() as cursor:
            dropped = _delete_scratchpads(cursor, _SQLITE_SIZES, thread, "?")
        with suppress(sqlite3.OperationalError):  # while somebody else reads the file it keeps its size
            checkpointer.conn.execute("VACUUM")
        return dropped
    connection: Any = getattr(checkpointer, "conn", None)
    if connection is None:
        raise ConfigurationError("Only threads in SQLite and PostgreSQL can be pruned: name their place.")
    from psycopg.rows import tuple_row

    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        return _delete_scratchpads(cursor, _POSTGRES_SIZES, thread, "%s")


def copy_history(checkpointer: Saver, thread: str, checkpoint: str, target: str) -> None:
    """Begin the thread `target` with what led to a checkpoint of another: itself and all it descends from.

    The ancestors come with all that was written on them, which is what state kept by delta is made of; what was written
    on the checkpoint itself stays behind, because a resume would take it for the outcome of what it is to do anew. So
    do the checkpoints of milestones. It is there as a whole or not at all.

    By hand, because no checkpointer can do it: LangGraph's `copy_thread` is made nowhere, and takes whole threads.

    Raises:
        ConfigurationError: The checkpointer is neither SQLite's nor PostgreSQL's.
    """
    from langgraph.checkpoint.sqlite import SqliteSaver

    named = {"thread": thread, "checkpoint": checkpoint, "target": target}
    if isinstance(checkpointer, SqliteSaver):
        with checkpointer.lock, checkpointer.conn as file:
            file.execute("BEGIN IMMEDIATE")  # sqlite3 begins nothing by itself before WITH
            for statement in _SQLITE_COPIES:
                file.execute(statement, named)
        return
    connection: Any = getattr(checkpointer, "conn", None)
    if connection is None:
        raise ConfigurationError("Only threads in SQLite and PostgreSQL can be branched off: name their place.")
    with connection.transaction(), connection.cursor() as cursor:
        for statement in _POSTGRES_COPIES:
            cursor.execute(re.sub(r":(\w+)", r"%(\1)s", statement), named)


_SQLITE_SIZES = {
    "checkpoints": "coalesce(length(checkpoint), 0) + coalesce(length(metadata), 0)",
    "writes": "coalesce(length(value), 0)",
}
_POSTGRES_SIZES = {
    "checkpoints": "pg_column_size(checkpoint) + pg_column_size(metadata)",
    "checkpoint_blobs": "coalesce(octet_length(blob), 0)",
    "checkpoint_writes": "octet_length(blob)",
}
"""The tables that hold checkpoints, with the bytes that a row takes."""

_PATH = """
WITH RECURSIVE path(id, parent) AS (
    SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints
    WHERE thread_id = :thread AND checkpoint_ns = '' AND checkpoint_id = :checkpoint
    UNION ALL
    SELECT c.checkpoint_id, c.parent_checkpoint_id FROM checkpoints c JOIN path ON c.checkpoint_id = path.parent
    WHERE c.thread_id = :thread AND c.checkpoint_ns = ''
)"""
"""A checkpoint and its ancestors."""


def _copy(table: str, columns: str, which: str) -> str:
    return f"""{_PATH} INSERT INTO {table} (thread_id, checkpoint_ns, {columns})
        SELECT :target, '', {columns} FROM {table} WHERE thread_id = :thread AND checkpoint_ns = '' AND {which}"""


_BEFORE = "checkpoint_id IN (SELECT id FROM path) AND checkpoint_id <> :checkpoint"
_CHECKPOINTS = _copy(
    "checkpoints",
    "checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
    "checkpoint_id IN (SELECT id FROM path)",
)
_SQLITE_COPIES = (
    _CHECKPOINTS,
    _copy("writes", "checkpoint_id, task_id, task_path, idx, channel, type, value", _BEFORE),
)
_POSTGRES_COPIES = (
    _CHECKPOINTS,
    _copy("checkpoint_writes", "checkpoint_id, task_id, task_path, idx, channel, type, blob", _BEFORE),
    _copy(
        "checkpoint_blobs",
        "channel, version, type, blob",
        """(channel, version) IN (
            SELECT versions.key, versions.value FROM path JOIN checkpoints c ON c.checkpoint_id = path.id,
            jsonb_each_text(c.checkpoint -> 'channel_versions') AS versions
            WHERE c.thread_id = :thread AND c.checkpoint_ns = ''
        )""",
    ),
)


def _delete_scratchpads(cursor: Any, sizes: Mapping[str, str], thread: str, mark: str) -> Pruned:
    """Delete them from all tables; `mark` stands for a value in the SQL of this database."""
    rows = size = 0
    for table, content in sizes.items():
        where = f"FROM {table} WHERE thread_id = {mark} AND checkpoint_ns <> ''"
        cursor.execute(f"SELECT count(*), coalesce(sum({content}), 0) {where}", (thread,))
        found = cursor.fetchone()
        rows, size = rows + int(found[0]), size + int(found[1])
        cursor.execute(f"DELETE {where}", (thread,))
    return Pruned(rows, size)
