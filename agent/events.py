"""The trail of a run: one entry for each transition, and the same news as an event while it runs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from langgraph.config import get_stream_writer

from plan_execute.agent.state import Decision, EventType, LogEntry

BY_PEOPLE: Mapping[str, str] = {"plan_reviewed": "review", "user_answered": "answer"}
"""What people do, by the type of its entry; a rule's action stands in the entry itself."""


def log_event(kind: EventType, *, revision: int, **facts: Any) -> LogEntry:
    """Write a log entry and send it as an event on the custom stream.

    The event is `{"type", "at", "revision", "milestone"?, ...}` with everything the entry holds; outside a graph only
    the entry is made.
    """
    entry = make_log_entry(kind, revision=revision, **facts)
    emit(entry)
    return entry


def make_log_entry(kind: EventType, *, revision: int, **facts: Any) -> LogEntry:
    """Write a log entry that another node is to announce."""
    return {"at": now(), "type": kind, "revision": revision, **facts}  # type: ignore[typeddict-item]


def log_decision(decision: Decision, revision: int) -> LogEntry:
    """Write a ruling down, with its rule and its reason."""
    return log_event(
        "decision",
        revision=revision,
        action=decision["action"],
        rule=decision["rule"],
        reason=decision["reason"],
        code=decision["code"],
    )


def decisions(log: Sequence[LogEntry]) -> Iterator[tuple[str, LogEntry]]:
    """What the gate, the synthesis and people decided: each action in a word, and its entry."""
    for entry in log:
        if "rule" in entry:
            yield BY_PEOPLE.get(entry["type"]) or entry["action"], entry


def emit(event: LogEntry | dict[str, Any]) -> None:
    """Send an event on the custom stream, if anybody listens."""
    try:
        writer = get_stream_writer()
    except RuntimeError:
        return
    writer(dict(event))


def now(ago: float = 0.0) -> str:
    """The time of a transition, or so many seconds before, ISO 8601 in UTC."""
    return (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="milliseconds")
