"""The audit trail of a run: a log entry for each transition, also sent as an event on the custom stream."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from langgraph.config import get_stream_writer

from plan_execute.agent.codes import EventType
from plan_execute.agent.state import Decision, LogEntry

BY_PEOPLE: Mapping[str, str] = {"plan_reviewed": "review", "user_answered": "answer"}
"""What a person did, by the type of the log entry; for a rule, the entry itself has the action."""


def log_event(kind: EventType, *, revision: int, **facts: Any) -> LogEntry:
    """Make a log entry and send it as an event on the custom stream.

    The event is `{"type", "at", "revision", "milestone"?, ...}` with all fields of the entry; outside a graph none is
    sent.
    """
    entry = make_log_entry(kind, revision=revision, **facts)
    emit(entry)
    return entry


def make_log_entry(kind: EventType, *, revision: int, **facts: Any) -> LogEntry:
    """Make a log entry whose event another node sends."""
    return {"at": now(), "type": kind, "revision": revision, **facts}  # type: ignore[typeddict-item]


def log_decision(decision: Decision, revision: int) -> LogEntry:
    """Log a decision, with its rule and its reason."""
    return log_event(
        "decision",
        revision=revision,
        action=decision["action"],
        rule=decision["rule"],
        reason=decision["reason"],
        code=decision["code"],
    )


def decisions(log: Sequence[LogEntry]) -> Iterator[tuple[str, LogEntry]]:
    """Yield what the gate, the synthesis and people decided: each action in a word, and its entry."""
    for entry in log:
        if "rule" in entry:
            yield BY_PEOPLE.get(entry["type"]) or entry["action"], entry


def span_facts(role: str, brief: Mapping[str, Any] | None = None, revision: int | None = None) -> dict[str, Any]:
    """Return the metadata of the spans of a step: its role, and milestone, revision and attempt where it has them.

    Args:
        role: Who works.
        brief: The milestone's.
        revision: The plan's, where there is no brief.
    """
    given = brief or {"revision": revision}
    facts = {"role": role, "milestone": given.get("id")} | {name: given.get(name) for name in ("revision", "attempt")}
    return {name: value for name, value in facts.items() if value is not None}


def emit(event: LogEntry | dict[str, Any]) -> None:
    """Send an event on the custom stream; outside a graph do nothing."""
    if writer := stream_writer():
        writer(dict(event))


def stream_writer() -> Callable[[dict[str, Any]], None] | None:
    """Return what sends an event on the custom stream, also later and from another thread; None outside a graph."""
    try:
        return get_stream_writer()
    except (RuntimeError, KeyError):  # no runnable at all, or one that is no graph
        return None


def now(ago: float = 0.0) -> str:
    """Return the time, or that of so many seconds `ago`, as ISO 8601 in UTC."""
    return (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="milliseconds")
