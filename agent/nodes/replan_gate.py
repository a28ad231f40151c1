"""The replan_gate node: decides after every round of milestones, by plain rules without a model."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from plan_execute.agent.build import Build
from plan_execute.agent.codes import Action, ErrorCode, FailureCode, Rule
from plan_execute.agent.context import Context
from plan_execute.agent.events import emit, log_decision, log_event, now
from plan_execute.agent.interrupts import can_interrupt
from plan_execute.agent.llm.usage import crossed_budget
from plan_execute.agent.nodes.ask_user import OpenQuestion, open_questions
from plan_execute.agent.nodes.chat import show_progress
from plan_execute.agent.nodes.finish import finish_run
from plan_execute.agent.nodes.hand_over import handed_over
from plan_execute.agent.state import (
    Decision,
    LogEntry,
    Milestone,
    RunState,
    RunUpdate,
    merge_milestones,
    revision_of,
    with_status,
)

STEPS_FOR_ROUND = 3
"""LangGraph steps that another round needs to end in a status: executor, gate, synthesis."""
STEPS_FOR_REPLAN = 6
"""LangGraph steps without which a new plan is not worth making: planner, executor, gate, synthesis, two to spare."""
RETRYABLE: frozenset[FailureCode] = frozenset({"transient"})
"""Failures after which the same attempt may succeed."""
CONTRADICTION = "something that contradicts the plan."
"""What stands for a surprise of which the text is not handed over."""
ESCALATABLE: frozenset[FailureCode] = frozenset(
    {"failed", "no_evidence", "no_value", "no_report", "bad_arguments", "limit", "unverified", "unknown"}
)
"""Failures that a stronger model may overcome."""


@dataclass(frozen=True)
class Situation:
    """What the rules look at: the round that has just run, what is still to come, and what the run may still spend."""

    state: RunState
    context: Context

    @cached_property
    def round(self) -> list[Milestone]:
        """The milestones that have just run."""
        decision = self.state["decision"]
        return [self.state["milestones"][key] for key in decision["milestones"]] if decision else []

    @property
    def finished(self) -> list[LogEntry]:
        """The log entries of how the round ended; the gate sends their events, because a subgraph's stay there."""
        decision = self.state["decision"]
        if not self.round or (decision and decision["action"] == "ask"):  # sent before
            return []
        entries = [entry for entry in self.state["log"] if entry["type"] == "milestone_finished"]
        return entries[-len(self.round) :]

    @cached_property
    def failed(self) -> list[Milestone]:
        """The milestones of the round that failed, except those to be tried again because of a person's answer."""
        return [milestone for milestone in self.round if milestone["status"] not in {"completed", "pending"}]

    @cached_property
    def codes(self) -> set[FailureCode]:
        """Their classes of failure."""
        return {_code(milestone) for milestone in self.failed}

    @cached_property
    def pending(self) -> list[Milestone]:
        """Milestones still to come."""
        return list(with_status(self.state["milestones"], "pending").values())

    @cached_property
    def ready(self) -> list[str]:
        """The pending milestones that can run now."""
        return ready_milestones(self.state["milestones"], self.context.max_parallel)

    @cached_property
    def surprised(self) -> list[Milestone]:
        """Milestones of the round whose report contradicts the plan, while something is still to come."""
        done = [m for m in self.round if m["status"] == "completed"]
        return [m for m in done if self.pending and (m["report"] or {}).get("surprise")]

    @cached_property
    def questions(self) -> list[OpenQuestion]:
        """Questions about the failed milestones that only a person can answer; none without a checkpointer."""
        return open_questions(self.failed, self.state["log"], ask_user=self.context.ask_user) if can_interrupt() else []

    @property
    def troubled(self) -> bool:
        """Whether the plan cannot go on as it is."""
        return bool(self.failed or self.surprised)

    @property
    def attempts_left(self) -> bool:
        """Whether every failed milestone may be tried again."""
        return all(milestone["attempts"] < self.context.max_attempts for milestone in self.failed)

    @property
    def may_retry(self) -> bool:
        """Whether the same attempt may succeed."""
        return bool(self.failed) and self.codes <= RETRYABLE and self.attempts_left

    @property
    def may_escalate(self) -> bool:
        """Whether a stronger model should try again."""
        overcome = bool(self.failed) and self.codes <= ESCALATABLE | RETRYABLE
        return self.context.escalate and overcome and self.attempts_left

    @property
    def reasons(self) -> str:
        """Why milestones failed, and what contradicts the plan, in words."""
        shown = handed_over(self.state, texts=False)
        failures = [(milestone, shown[milestone["id"]]["failure"]) for milestone in self.failed]
        reasons = [f"{m['id']} ({m['goal']}): {f['message'] if f else 'no outcome'}" for m, f in failures]
        surprises = [(m["id"], (shown[m["id"]]["report"] or {}).get("surprise")) for m in self.surprised]
        return " ".join([*reasons, *(f"{key} found: {text or CONTRADICTION}" for key, text in surprises)])

    @property
    def replans_left(self) -> bool:
        """Whether the run may replan again."""
        return self.state["replans"] < self.context.max_replans

    @property
    def replan_ahead(self) -> bool:
        """Whether a new plan comes next, unless a budget or the step limit prevents it."""
        given_up = self.failed and not (self.questions or self.may_retry or self.may_escalate)
        return self.replans_left and bool(self.surprised or given_up) and not self.seen_before

    @property
    def steps_lacking(self) -> bool:
        """Whether the next step might not end in a status before LangGraph's recursion limit."""
        needed = STEPS_FOR_REPLAN if self.replan_ahead else STEPS_FOR_ROUND
        return (self.troubled or bool(self.pending)) and self.state["remaining_steps"] <= needed

    @cached_property
    def crossed(self) -> str | None:
        """The budget that leaves no room for the next step: another round, or a new plan and the answer."""
        if not self.troubled and not self.pending:
            return None
        return crossed_budget(self.context.budget, self.state, heavy_ahead=2 if self.replan_ahead else 0)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what a new plan would start from: classes of failure, failed goals, and all that remains."""
        remaining = [*self.failed, *self.pending]
        facts = [
            sorted(_code(m) for m in self.failed),
            sorted(m["goal"].casefold() for m in self.failed),
            sorted([m["goal"].casefold(), sorted(m["tools"]), json.dumps(m["calls"])] for m in remaining),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def seen_before(self) -> bool:
        """Whether the run has replanned from the same fingerprint before: A-A, and A-B-A too."""
        return any(entry.get("fingerprint") == self.fingerprint for entry in self.state["log"])


class GateRule(NamedTuple):
    """If it `applies`, the run does `action`; `reason` says why."""

    name: Rule
    applies: Callable[[Situation], object]
    action: Action
    reason: Callable[[Situation], str]
    code: ErrorCode | None = None
    """The code of a run that this rule ends; None to record the class of the failure."""


RULES: tuple[GateRule, ...] = (
    GateRule("budget", lambda s: s.crossed, "finish", lambda s: f"Crossed {s.crossed}.", "budget"),
    GateRule("steps", lambda s: s.steps_lacking, "finish", lambda _: _NEAR_LIMIT, "recursion_limit"),
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
    GateRule(
        "unexpected", lambda _: True, "abort", lambda _: "No milestone has run, and none can run.", "unexpected_state"
    ),
)
"""The first rule that applies decides."""

_NEAR_LIMIT = "LangGraph's recursion limit is near; set a higher recursion_limit to let the run go on."
_SAME = "The run is back at a failure from which it has replanned before. "


def decide_next(state: RunState, build: Build) -> RunUpdate:
    """Decide what comes after the round that has just ended; the edge behind this node only reads the decision.

    Returns:
        The state update: `decision`, `milestones`, `log`; for a replan also `replans`, for an abort the keys of
        `finish_run`.
    """
    situation = Situation(state, build.context(state["settings"]))
    for entry in situation.finished:
        emit(entry)
    rule = next(rule for rule in RULES if rule.applies(situation))
    failed = situation.failed[0] if situation.failed else None
    retried = {m["id"]: Milestone(status="pending") for m in situation.failed} if rule.action == "retry" else {}
    milestones = merge_milestones(state["milestones"], [retried])
    go_on = rule.action in {"continue", "retry"}
    keys = ready_milestones(milestones, situation.context.max_parallel) if go_on else []
    if rule.action == "ask":  # with the answers, the gate decides about the same round again
        keys = [milestone["id"] for milestone in situation.round]
    code = rule.code or (_code(failed) if failed else None)
    decision = Decision(action=rule.action, rule=rule.name, reason=rule.reason(situation), code=code, milestones=keys)
    revision = revision_of(state)
    entry = log_decision(decision, revision)
    if retried:
        entry["changes"] = retried
    if rule.action == "replan":
        entry["fingerprint"] = situation.fingerprint
    started, log = start_milestones(milestones, keys if go_on else [], revision)
    update: RunUpdate = {
        "milestones": merge_milestones(retried, [started]),
        "decision": decision,
        "log": [entry, *log],
    }
    if rule.action == "replan":
        update["replans"] = state["replans"] + 1
    if rule.action == "abort":
        ended = _abort(state, rule.code, decision["reason"], failed)
        return {**update, **ended, "log": [*update["log"], *ended["log"]]}
    asked = "\n\n".join(question.request.description for question in situation.questions)
    note = {"ask": asked, "replan": "Making another plan ...", "finish": "Writing the answer ..."}.get(rule.action, "")
    show_progress(state["messages"], state["plan"], merge_milestones(milestones, [started]), note)
    return update


def _abort(state: RunState, code: ErrorCode | None, reason: str, failed: Milestone | None) -> RunUpdate:
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
    """Return the pending milestones whose dependencies are all completed, in plan order, at most `limit`."""
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
    """Mark milestones as running; return their new fields, and log entries."""
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
