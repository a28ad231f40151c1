"""The trail of a run: one entry for each transition, and the same news as an event while it runs."""

from typing import Any

from langgraph.config import get_stream_writer
from plan_execute.agent.state import Decision, LogEntry, now


def record(kind: str, *, revision: int, **facts: Any) -> LogEntry:
    """Write a log entry and send it as an event on the custom stream.

    The event is `{"type", "at", "revision", "milestone"?, ...}` with everything the entry holds; outside a graph only
    the entry is made.
    """
    entry: LogEntry = {"at": now(), "type": kind, "revision": revision, **facts}  # type: ignore[typeddict-item]
    announce(entry)
    return entry


def record_decision(decision: Decision, revision: int) -> LogEntry:
    """Write a ruling down, with its rule and its reason."""
    return record(
        "decision",
        revision=revision,
        action=decision["action"],
        rule=decision["rule"],
        reason=decision["reason"],
        code=decision["code"],
    )


def announce(event: LogEntry | dict[str, Any]) -> None:
    """Send an event on the custom stream, if anybody listens."""
    try:
        writer = get_stream_writer()
    except RuntimeError:
        return
    writer(dict(event))
