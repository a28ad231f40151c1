"""The plan and its milestones, rebuilt from nothing but the log of a run."""

from collections.abc import Sequence

from plan_execute.agent.state import LogEntry, Milestone, Plan, merge_milestones


def replay(log: Sequence[LogEntry]) -> tuple[Plan | None, dict[str, Milestone]]:
    """Rebuild the plan as it stood at the end of a log, and what became of each milestone (results aside)."""
    plan: Plan | None = None
    milestones: dict[str, Milestone] = {}
    for entry in log:
        plan = entry.get("plan", plan)
        if plan is not None and "requirements" in entry:
            plan = {**plan, "requirements": entry["requirements"]}
        milestones = merge_milestones(milestones, [entry.get("changes", {})])
    return plan, milestones
