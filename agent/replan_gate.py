"""The gate after every round of milestones: plain rules, no model, and when in doubt never success."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from plan_execute.agent.audit import record_decision
from plan_execute.agent.context import Context
from plan_execute.agent.outcome import conclude
from plan_execute.agent.schedule import ready_milestones, start_milestones
from plan_execute.agent.setup import Setup
from plan_execute.agent.state import Action, Decision, Milestone, RunState, merge_milestones

STEPS_FOR_ROUND = 3
"""LangGraph steps another round needs to end in a status: executor, gate, synthesis."""
STEPS_FOR_REPLAN = 6
"""Those a new plan needs to be worth making: planner, one round and its gate, the end, one to spare."""
_STEPS_NEAR = "LangGraph's recursion limit is near; raise recursion_limit to go on."


@dataclass(frozen=True)
class Situation:
    """What the rules look at."""

    state: RunState
    context: Context

    @property
    def round(self) -> list[Milestone]:
        """The milestones that have just run."""
        decision = self.state["decision"]
        return [self.state["milestones"][key] for key in decision["milestones"]] if decision else []

    @property
    def failed(self) -> list[Milestone]:
        """Those of them that are not done."""
        return [milestone for milestone in self.round if milestone["status"] != "completed"]

    @property
    def codes(self) -> set[str]:
        """Classes of their failures."""
        return {_code(milestone) for milestone in self.failed}

    @property
    def retryable(self) -> list[Milestone]:
        """Those that failed for a passing reason with attempts left."""
        return [
            milestone
            for milestone in self.failed
            if _code(milestone) == "transient" and milestone["attempts"] < self.context.max_attempts
        ]

    @property
    def surprised(self) -> list[Milestone]:
        """Those done whose report contradicts the plan, while something is still to come."""
        if not self.pending:
            return []
        return [m for m in self.round if m["status"] == "completed" and (m["report"] or {}).get("surprise")]

    @property
    def pending(self) -> list[Milestone]:
        """Milestones still to come."""
        return [m for m in self.state["milestones"].values() if m["status"] == "pending"]

    @property
    def steps(self) -> int:
        """LangGraph steps left in this invocation."""
        return self.state["remaining_steps"]

    @property
    def steps_lacking(self) -> bool:
        """Whether what comes next could no longer end in a status."""
        if self.failed or self.surprised:
            return self.steps <= STEPS_FOR_REPLAN
        return bool(self.pending) and self.steps <= STEPS_FOR_ROUND

    @property
    def replans_left(self) -> bool:
        """Whether another cycle may be used."""
        return self.state["replans"] < self.context.max_replans


class Rule(NamedTuple):
    """When `applies`, the run does `action`; `reason` says why."""

    name: str
    applies: Callable[[Situation], object]
    action: Action
    reason: Callable[[Situation], str]
    code: str | None = None
    """What cut the run short, for a rule that does; else the failure's own code is recorded."""


RULES: tuple[Rule, ...] = (
    Rule("steps_used_up", lambda s: s.steps_lacking, "finish", lambda _: _STEPS_NEAR, "recursion_limit"),
    Rule("transient", lambda s: s.failed and s.failed == s.retryable, "retry", lambda s: _reasons(s.failed)),
    Rule("model_unavailable", lambda s: "model_unavailable" in s.codes, "abort", lambda s: _reasons(s.failed)),
    Rule("replans_used_up", lambda s: s.failed and not s.replans_left, "abort", lambda s: _reasons(s.failed)),
    Rule("failed", lambda s: s.failed, "replan", lambda s: _reasons(s.failed)),
    Rule("surprise", lambda s: s.surprised and s.replans_left, "replan", lambda s: _surprises(s.surprised)),
    Rule("more_to_do", lambda s: s.pending, "continue", lambda s: f"{len(s.pending)} milestones are still to come."),
    Rule("all_done", lambda s: s.round, "finish", lambda _: "Every milestone is completed."),
    Rule("unexpected", lambda _: True, "abort", lambda _: "The gate was reached without a milestone having run."),
)
"""The first rule that applies decides."""

ABORT_CODES = {
    "model_unavailable": "executor_unavailable",
    "replans_used_up": "max_replans",
    "unexpected": "unexpected_state",
}
"""The code a run ends with, by the rule that ended it."""


def decide(state: RunState, setup: Setup) -> dict[str, Any]:
    """Rule on the round that has just ended, and write the ruling down; the edge behind only reads it."""
    situation = Situation(state, setup.context(state["settings"]))
    rule = next(rule for rule in RULES if rule.applies(situation))
    action, reason = rule.action, rule.reason(situation)
    failed = situation.failed[0] if situation.failed else None
    code = rule.code or (_code(failed) if failed else None)
    plan = state["plan"]
    revision = plan["revision"] if plan else 0
    retried = {m["id"]: Milestone(status="pending") for m in situation.retryable} if action == "retry" else {}
    milestones = merge_milestones(state["milestones"], [retried])
    go_on = action in {"continue", "retry"}
    keys = ready_milestones(milestones, situation.context.max_parallel) if go_on else []
    decision = Decision(action=action, rule=rule.name, reason=reason, code=code, milestones=keys)
    entry = record_decision(decision, revision)
    started, log = start_milestones(milestones, keys, revision)
    update: dict[str, Any] = {
        "milestones": merge_milestones(retried, [started]),
        "decision": decision,
        "log": [entry, *log],
    }
    if action == "replan":
        update["replans"] = state["replans"] + 1
    if action == "abort":
        ended = _abort(state, rule, reason, failed)
        update |= {**ended, "log": [*update["log"], *ended["log"]]}
    return update


def _abort(state: RunState, rule: Rule, reason: str, failed: Milestone | None) -> dict[str, Any]:
    count = state["replans"]
    times = f"{count} {'replan' if count == 1 else 'replans'}"
    message = f"Aborted after {times}{', the most allowed' if rule.name == 'replans_used_up' else ''}. {reason}"
    return conclude(
        state, "aborted", code=ABORT_CODES[rule.name], message=message, milestone=failed["id"] if failed else None
    )


def _code(milestone: Milestone) -> str:
    failure = milestone["failure"]
    return failure["code"] if failure else "unknown"


def _reasons(failed: Sequence[Milestone]) -> str:
    reasons = []
    for milestone in failed:
        failure = milestone["failure"]
        reasons.append(f"{milestone['id']} ({milestone['goal']}): {failure['message'] if failure else 'no outcome'}")
    return " ".join(reasons)


def _surprises(surprised: Sequence[Milestone]) -> str:
    return " ".join(f"{m['id']} found: {(m['report'] or {})['surprise']}" for m in surprised)
