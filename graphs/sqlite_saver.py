"""LangGraph's checkpointers for SQLite, with short versions.

All versions of all channels are in every checkpoint. LangGraph writes 32 digits and a random number, which only savers
need that store channels by version; for SQLite that was a quarter of what a run stored.
"""

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

SHORT = 7
"""Digits of a version."""


class ShortSqliteSaver(SqliteSaver):
    """For graphs that are invoked."""

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Count a channel's version up."""
        return next_version(current)


class ShortAsyncSqliteSaver(AsyncSqliteSaver):
    """For graphs that are awaited."""

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Count a channel's version up."""
        return next_version(current)


def next_version(current: str | None) -> str:
    """Count a version up: `+0000041`, `+0000042`.

    A thread of LangGraph's own saver goes on with its digits. It can go on with threads of this one, too: it reads
    these versions as numbers, and its own sort behind them.
    """
    number = int(current.split(".")[0]) + 1 if current else 1
    if (current is None or current.startswith("+")) and number < 10**SHORT:
        return f"+{number:0{SHORT}}"
    return f"{number:032}"
