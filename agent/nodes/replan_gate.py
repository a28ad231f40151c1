"""The gate after every round of milestones: plain rules, no model, and when in doubt never success."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

from plan_execute.agent.build import Build
from plan_execute.agent.context import Context
from plan_execute.agent.events import emit, log_decision, log_event, now
from plan_execute.agent.interrupts import can_interrupt
from plan_execute.agent.llm.usage import crossed_budget
from plan_execute.agent.nodes.ask_user import OpenQuestion, open_questions
from plan_execute.agent.nodes.finish import finish_run
from plan_execute.agent.state import (
    Action,
    Decision,
    ErrorCode,
    FailureCode,
    LogEntry,
    Milestone,
    Rule,
    RunState,
    merge_milestones,
)

STEPS_FOR_ROUND = 3
"""LangGraph steps another round needs to end in a status: executor, gate, synthesis."""
STEPS_FOR_REPLAN = 6
"""Those a new plan needs to be worth making: planner, one round and its gate, the end, one to spare."""
RETRYABLE: frozenset[FailureCode] = frozenset({"transient"})
"""Failures worth another attempt as they are."""
ESCALATABLE: frozenset[FailureCode] = frozenset(
    {"failed", "no_evidence", "no_report", "bad_arguments", "limit", "unverified", "unknown"}
)
"""Failures that a stronger model may overcome."""


@dataclass(frozen=True)
class Situation:
    """What the rules look at: the round that has just run, what is still to come, and what may still be spent."""

    state: RunState
    context: Context

    @cached_property
    def round(self) -> list[Milestone]:
        """The milestones that have just run."""
        decision = self.state["decision"]
        return [self.state["milestones"][key] for key in decision["milestones"]] if decision else []

    @property
    def finished(self) -> list[LogEntry]:
        """How the round ended, by the log; told here, because an executor's own events stay inside its graph."""
        decision = self.state["decision"]
        if not self.round or (decision and decision["action"] == "ask"):  # it has been told
            return []
        entries = [entry for entry in self.state["log"] if entry["type"] == "milestone_finished"]
        return entries[-len(self.round) :]

    @cached_property
    def failed(self) -> list[Milestone]:
        """Those of them that are not done, and not to be tried again because of what a person answered."""
        return [milestone for milestone in self.round if milestone["status"] not in {"completed", "pending"}]

    @cached_property
    def codes(self) -> set[FailureCode]:
        """Classes of their failures."""
        return {_code(milestone) for milestone in self.failed}

    @cached_property
    def pending(self) -> list[Milestone]:
        """Milestones still to come."""
        return [m for m in self.state["milestones"].values() if m["status"] == "pending"]

    @cached_property
    def ready(self) -> list[str]:
        """Those of them that could run now."""
        return ready_milestones(self.state["milestones"], self.context.max_parallel)

    @cached_property
    def surprised(self) -> list[Milestone]:
        """Milestones of the round whose report contradicts the plan, while something is still to come."""
        done = [m for m in self.round if m["status"] == "completed"]
        return [m for m in done if self.pending and (m["report"] or {}).get("surprise")]

    @cached_property
    def questions(self) -> list[OpenQuestion]:
        """What only a person can say about the failed milestones, where one can be asked."""
        return open_questions(self.failed, self.state["log"], ask_user=self.context.ask_user) if can_interrupt() else []

    @property
    def troubled(self) -> bool:
        """Whether the plan no longer stands."""
        return bool(self.failed or self.surprised)

    @property
    def attempts_left(self) -> bool:
        """Whether every failed milestone may be tried again."""
        return all(milestone["attempts"] < self.context.max_attempts for milestone in self.failed)

    @property
    def may_retry(self) -> bool:
        """Whether what failed may succeed as it is."""
        return bool(self.failed) and self.codes <= RETRYABLE and self.attempts_left

    @property
    def may_escalate(self) -> bool:
        """Whether a stronger model is to try what failed once more."""
        return (
            self.context.escalate and bool(self.failed) and self.codes <= ESCALATABLE | RETRYABLE and self.attempts_left
        )

    @property
    def reasons(self) -> str:
        """Why the failed milestones failed."""
        failures = [(milestone, milestone["failure"]) for milestone in self.failed]
        reasons = [f"{m['id']} ({m['goal']}): {f['message'] if f else 'no outcome'}" for m, f in failures]
        return " ".join([*reasons, self.surprises]).strip()

    @property
    def surprises(self) -> str:
        """What contradicts the plan."""
        return " ".join(f"{m['id']} found: {(m['report'] or {})['surprise']}" for m in self.surprised)

    @property
    def replans_left(self) -> bool:
        """Whether another cycle may be used."""
        return self.state["replans"] < self.context.max_replans

    @property
    def replan_ahead(self) -> bool:
        """Whether a new plan is what comes next, if nothing else stands against it."""
        in_vain = self.failed and not (self.questions or self.may_retry or self.may_escalate)
        return self.replans_left and bool(self.surprised or in_vain) and not self.seen_before

    @property
    def steps_lacking(self) -> bool:
        """Whether what comes next could no longer end in a status before LangGraph's recursion limit."""
        needed = STEPS_FOR_REPLAN if self.replan_ahead else STEPS_FOR_ROUND
        return (self.troubled or bool(self.pending)) and self.state["remaining_steps"] <= needed

    @cached_property
    def crossed(self) -> str | None:
        """The budget that leaves no room for what comes next: another round, or a new plan and the answer."""
        if not self.troubled and not self.pending:
            return None
        return crossed_budget(self.context.budget, self.state, heavy_ahead=2 if self.replan_ahead else 0)

    @cached_property
    def fingerprint(self) -> str:
        """What would be planned around now: the failure's class, its goal, and all that remains, compared exactly."""
        remaining = [*self.failed, *self.pending]
        facts = [
            sorted(_code(m) for m in self.failed),
            sorted(m["goal"].casefold() for m in self.failed),
            sorted([m["goal"].casefold(), sorted(m["tools"]), json.dumps(m["calls"])] for m in remaining),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def seen_before(self) -> bool:
        """Whether a plan was already made around the same situation: A-A, and A-B-A too."""
        return any(entry.get("fingerprint") == self.fingerprint for entry in self.state["log"])


class GateRule(NamedTuple):
    """When `applies`, the run does `action`; `reason` says why."""

    name: Rule
    applies: Callable[[Situation], object]
    action: Action
    reason: Callable[[Situation], str]
    code: ErrorCode | None = None
    """What a run that ends here ends with; else the failure's own class is recorded."""


RULES: tuple[GateRule, ...] = (
    GateRule("budget", lambda s: s.crossed, "finish", lambda s: f"Crossed {s.crossed}.", "budget"),
    GateRule("steps", lambda s: s.steps_lacking, "finish", lambda _: _STEPS_NEAR, "recursion_limit"),
    GateRule("model", lambda s: "model_unavailable" in s.codes, "abort", lambda s: s.reasons, "executor_unavailable"),
    GateRule("ask", lambda s: s.questions, "ask", lambda s: s.reasons),
    GateRule("surprise", lambda s: s.surprised and s.replan_ahead, "replan", lambda s: s.reasons, "unexpected_state"),
    GateRule("transient", lambda s: s.may_retry, "retry", lambda s: s.reasons),
    GateRule("escalate", lambda s: s.may_escalate, "retry", lambda s: s.reasons),
    GateRule("replans_used_up", lambda s: s.failed and not s.replans_left, "abort", lambda s: s.reasons, "max_replans"),
    GateRule("no_progress", lambda s: s.failed and s.seen_before, "abort", lambda s: _SAME + s.reasons, "no_progress"),
    GateRule("failed", lambda s: s.failed, "replan", lambda s: s.reasons),
    GateRule("more_to_do", lambda s: s.ready, "continue", lambda s: _still_to_come(len(s.pending))),
    GateRule("all_done", lambda s: s.round and not s.pending, "finish", lambda _: "Every milestone is completed."),
    GateRule("unexpected", lambda _: True, "abort", lambda _: "No milestone has run or can run.", "unexpected_state"),
)
"""The first rule that applies decides."""

_STEPS_NEAR = "LangGraph's recursion limit is near; a higher recursion_limit lets the run go on."
_SAME = "The plan came back to a failure already planned around. "


def decide_next(state: RunState, build: Build) -> dict[str, Any]:
    """Rule on the round that has just ended, and write the ruling down; the edge behind only reads it."""
    situation = Situation(state, build.context(state["settings"]))
    for entry in situation.finished:
        emit(entry)
    rule = next(rule for rule in RULES if rule.applies(situation))
    failed = situation.failed[0] if situation.failed else None
    retried = {m["id"]: Milestone(status="pending") for m in situation.failed} if rule.action == "retry" else {}
    milestones = merge_milestones(state["milestones"], [retried])
    go_on = rule.action in {"continue", "retry"}
    keys = ready_milestones(milestones, situation.context.max_parallel) if go_on else []
    if rule.action == "ask":  # the round is ruled on again when the answers are there
        keys = [milestone["id"] for milestone in situation.round]
    code = rule.code or (_code(failed) if failed else None)
    decision = Decision(action=rule.action, rule=rule.name, reason=rule.reason(situation), code=code, milestones=keys)
    plan = state["plan"]
    revision = plan["revision"] if plan else 0
    entry = log_decision(decision, revision)
    if retried:
        entry["changes"] = retried
    if rule.action == "replan":
        entry["fingerprint"] = situation.fingerprint
    started, log = start_milestones(milestones, keys if go_on else [], revision)
    update: dict[str, Any] = {
        "milestones": merge_milestones(retried, [started]),
        "decision": decision,
        "log": [entry, *log],
    }
    if rule.action == "replan":
        update["replans"] = state["replans"] + 1
    if rule.action == "abort":
        ended = _abort(state, rule.code, decision["reason"], failed)
        update |= {**ended, "log": [*update["log"], *ended["log"]]}
    return update


def _abort(state: RunState, code: ErrorCode | None, reason: str, failed: Milestone | None) -> dict[str, Any]:
    count = state["replans"]
    most = ", the most allowed" if code == "max_replans" else ""
    message = f"Aborted after {count} {'replan' if count == 1 else 'replans'}{most}. {reason}"
    return finish_run(state, "aborted", code=code, message=message, milestone=failed["id"] if failed else None)


def _still_to_come(count: int) -> str:
    return "1 milestone is still to come." if count == 1 else f"{count} milestones are still to come."


def _code(milestone: Milestone) -> FailureCode:
    failure = milestone["failure"]
    return failure["code"] if failure else "unknown"


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
            log_event(
                "milestone_started",
                revision=revision,
                milestone=key,
                attempt=attempt,
                goal=milestones[key]["goal"],
                changes={key: {"status": "running", "attempts": attempt}},
            )
        )
    return updates, log
