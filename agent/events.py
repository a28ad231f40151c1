"""The audit trail of a run: a log entry for each transition, also sent as an event on the custom stream."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from langgraph.config import get_stream_writer

from plan_execute.agent.codes import EventType
from plan_execute.agent.state import Decision, LogEntry, Milestone, Plan, merge_milestones

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


def replay(log: Sequence[LogEntry]) -> tuple[Plan | None, dict[str, Milestone]]:
    """Rebuild the plan and the milestones at the end of a log; results are not logged."""
    plan: Plan | None = None
    milestones: dict[str, Milestone] = {}
    for entry in log:
        plan = entry.get("plan", plan)
        if plan is not None and "requirements" in entry:
            plan = {**plan, "requirements": entry["requirements"]}
        milestones = merge_milestones(milestones, [entry.get("changes", {})])
    return plan, milestones


def decisions(log: Sequence[LogEntry]) -> Iterator[tuple[str, LogEntry]]:
    """Yield what the gate, the synthesis and people decided: each action in a word, and its entry."""
    for entry in log:
        if "rule" in entry:
            yield BY_PEOPLE.get(entry["type"]) or entry["action"], entry


def emit(event: LogEntry | dict[str, Any]) -> None:
    """Send an event on the custom stream; outside a graph do nothing."""
    try:
        writer = get_stream_writer()
    except RuntimeError:
        return
    writer(dict(event))


def now(ago: float = 0.0) -> str:
    """Return the time, or that of so many seconds `ago`, as ISO 8601 in UTC."""
    return (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="milliseconds")
