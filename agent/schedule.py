"""Which milestones run next."""

from collections.abc import Mapping, Sequence
from itertools import islice

from plan_execute.agent.audit import record
from plan_execute.agent.state import LogEntry, Milestone, now


def ready_milestones(milestones: Mapping[str, Milestone], limit: int) -> list[str]:
    """Pending milestones whose dependencies are all completed, in plan order, at most `limit`."""
    ready = (
        key
        for key, milestone in milestones.items()
        if milestone["status"] == "pending"
        and all(milestones[needed]["status"] == "completed" for needed in milestone["depends_on"])
    )
    return list(islice(ready, limit))


def start_milestones(
    milestones: Mapping[str, Milestone], keys: Sequence[str], revision: int
) -> tuple[dict[str, Milestone], list[LogEntry]]:
    """Mark milestones as running: the state update and the log of it."""
    updates: dict[str, Milestone] = {}
    log = []
    for key in keys:
        attempt = milestones[key]["attempts"] + 1
        updates[key] = Milestone(status="running", attempts=attempt, started_at=now())
        log.append(
            record(
                "milestone_started",
                revision=revision,
                milestone=key,
                attempt=attempt,
                goal=milestones[key]["goal"],
                changes={key: {"status": "running", "attempts": attempt}},
            )
        )
    return updates, log
