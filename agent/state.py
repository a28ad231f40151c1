"""What a run remembers: JSON-plain typed dicts, because checkpoints outlive code."""

import operator
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, Required

from langchain_core.messages import AnyMessage
from langgraph.channels import DeltaChannel
from langgraph.graph.message import add_messages
from langgraph.managed import RemainingSteps
from typing_extensions import TypedDict

SCHEMA_VERSION = 1
"""Counts up whenever a key changes its meaning, so that a reader of an old checkpoint can tell."""

SNAPSHOT_FREQUENCY = 5_000
"""Updates after which a channel kept by its writes is stored whole.

LangGraph stores one whole after 5,000 steps anyway. Less would store all of a run of 1,000 milestones again and again;
much more would be too many writes for one statement of SQLite's when they are read.
"""

MilestoneStatus = Literal["pending", "running", "completed", "failed", "blocked", "skipped"]
RunStatus = Literal["running", "completed", "partial", "aborted"]
Action = Literal["continue", "retry", "ask", "replan", "finish", "abort"]
Role = Literal["planner", "executor", "synthesizer", "verifier"]
ErrorCode = Literal[
    "plan_unparsable",
    "plan_invalid",
    "planner_unavailable",
    "model_unavailable",
    "executor_unavailable",
    "max_replans",
    "no_progress",
    "budget",
    "recursion_limit",
    "unmet_requirements",
    "synthesis_failed",
    "rejected",
    "empty_request",
    "unexpected_state",
]
"""Why a run did not complete."""
FailureCode = Literal[
    "transient",
    "timeout",
    "outcome_unknown",
    "bad_arguments",
    "missing",
    "not_found",
    "permission",
    "limit",
    "unexpected_state",
    "refusal",
    "no_evidence",
    "no_report",
    "unverified",
    "model_unavailable",
    "failed",
    "unknown",
]
"""Why a milestone or a tool call failed; `failures.MEANINGS` says what each means."""
DecisionType = Literal["approve", "edit", "reject", "respond"]
"""What a person may decide, in the words of LangChain's human-in-the-loop middleware."""
Rule = Literal[
    "budget",
    "steps",
    "model",
    "ask",
    "surprise",
    "transient",
    "escalate",
    "replans_used_up",
    "no_progress",
    "failed",
    "more_to_do",
    "all_done",
    "unexpected",
    "planned",
    "nothing_left",
    "review_due",
    "reviewed",
    "edited",
    "comment",
    "unmet_requirement",
]
"""Which rule decided: the gate's (see `replan_gate.RULES`), then those of planner, review and synthesis."""
EventType = Literal[
    "plan_created",
    "plan_revised",
    "plan_reviewed",
    "milestone_started",
    "milestone_finished",
    "tool_started",
    "tool_finished",
    "decision",
    "user_answered",
    "synthesized",
    "answer_delta",
    "answer",
]
"""What an event on the custom stream tells; an entry of the log has one of these types, too."""


class ModelUsage(TypedDict):
    """What one model cost: `calls` made, `input_tokens`, `output_tokens`; `usd` is null where no price is known."""

    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None


class RoleUsage(ModelUsage):
    """What one role cost, and by which models (by name)."""

    models: dict[str, ModelUsage]


class PinnedCall(TypedDict):
    """A tool call fixed at planning time; `args` is a JSON object as text."""

    tool: str
    args: str


class Yield(TypedDict):
    """A typed value a milestone hands on; `options` only for the kind `choice`."""

    name: str
    kind: str
    options: list[str]


class ToolCallRecord(TypedDict):
    """One call a milestone made: tool, arguments as given, when, whether it succeeded and how many seconds it took.

    `effect` is whether the tool says that it changes the world. Of a failed call, `code` is the class of failure and
    `error` what the model was told. What only few calls have is left out where there is none.
    """

    tool: str
    args: dict[str, Any]
    ok: bool
    effect: bool
    at: str
    seconds: float
    code: FailureCode | None
    error: str | None
    key: NotRequired[str]
    """The id under which a tool that changes the world was called."""
    answer: NotRequired[str]
    """What it said when it did, cut."""
    verdict: NotRequired[DecisionType]
    """What a person said who was asked about the call before it was made."""


class Failure(TypedDict):
    """Why a milestone is not done: `code` is a class of failure, `message` a sentence, `evidence` what was found.

    `retry_after` is how many seconds the service asked to be left alone, where it did.
    """

    code: FailureCode
    message: str
    evidence: str
    retry_after: float | None


class Milestone(TypedDict, total=False):
    """One piece of work: what was planned, then what became of it."""

    id: str
    goal: str
    done_when: str
    tools: list[str]
    calls: list[PinnedCall]
    yields: list[Yield]
    pitfalls: list[str]
    depends_on: list[str]
    covers: list[int]
    revision: int
    status: MilestoneStatus
    attempts: int
    result: str
    values: dict[str, str]
    report: dict[str, Any] | None
    failure: Failure | None
    answers: dict[str, str]
    """What the user answered, by the question."""
    tool_calls: list[ToolCallRecord]
    usage: dict[str, RoleUsage]
    started_at: str | None
    finished_at: str | None


class Requirement(TypedDict):
    """One thing the objective asks for; `number` counts from 1 and never changes, `met` is null until judged."""

    number: int
    text: str
    met: bool | None
    milestones: list[str]
    note: str | None


class Plan(TypedDict):
    """The strategy behind the milestones; small, because it is written anew at each revision."""

    revision: int
    strategy: str
    requirements: list[Requirement]
    givens: list[str]
    unknowns: list[str]
    pitfalls: list[str]


class Decision(TypedDict):
    """The gate's ruling: what to do next, which rule said so, why in words, and the code of the failure behind it."""

    action: Action
    rule: Rule
    reason: str
    code: ErrorCode | FailureCode | None
    milestones: list[str]


class RunError(TypedDict):
    """Why a run did not complete; `milestone` is the one it stopped at, `replans` the cycles used."""

    code: ErrorCode
    message: str
    milestone: str | None
    replans: int


class LogEntry(TypedDict, total=False):
    """One transition: `at` (ISO 8601, UTC), `type`, `revision`, and what changed."""

    at: str
    type: EventType
    revision: int
    milestone: str
    attempt: int
    action: Action
    rule: Rule | DecisionType
    reason: str
    code: ErrorCode | FailureCode | None
    tool_calls: list[ToolCallRecord]
    fingerprint: str
    plan: Plan
    requirements: list[Requirement]
    changes: dict[str, Milestone]
    question: str
    answer: str
    call: str
    """Which call that may have changed the world a person was asked about; see `effects.call_key`."""


class Brief(TypedDict, total=False):
    """All an executor gets to see of the run: one milestone and the results it depends on, by milestone id.

    Written by hand it needs only a goal, and the tools it grants.
    """

    id: str
    goal: Required[str]
    done_when: str
    pitfalls: list[str]
    tools: list[str]
    calls: list[PinnedCall]
    yields: list[Yield]
    inputs: dict[str, str]
    revision: int
    attempt: int
    hint: str
    """Why the last attempt failed."""
    answers: dict[str, str]
    """What the user answered, by the question."""
    wait: float
    """Seconds to let pass before the first call, after a failure that may pass by itself."""


def merge_milestones(
    milestones: Mapping[str, Milestone], writes: Sequence[Mapping[str, Milestone]]
) -> dict[str, Milestone]:
    """Lay written fields over the milestones they name, new ones at the end: the dict stays in plan order."""
    merged = dict(milestones)
    for write in writes:
        for key, fields in write.items():
            merged[key] = {**merged.get(key, Milestone()), **fields}
    return merged


def append_log(log: Sequence[LogEntry], writes: Sequence[Sequence[LogEntry]]) -> list[LogEntry]:
    """Append every written entry."""
    return [*log, *(entry for write in writes for entry in write)]


def last_write(_before: Any, writes: Sequence[Any]) -> Any:
    """Keep what was written last."""
    return writes[-1]


def add_usage(left: Mapping[str, RoleUsage] | None, right: Mapping[str, RoleUsage] | None) -> dict[str, RoleUsage]:
    """Sum two accounts by role and by model; a sum with an unknown price is unknown."""
    total = dict(left or {})
    for role, usage in (right or {}).items():
        before = total.get(role)
        if before is None:
            total[role] = usage
            continue
        models = dict(before["models"])
        for name, used in usage["models"].items():
            models[name] = _sum(models[name], used) if name in models else used
        total[role] = RoleUsage(**_sum(before, usage), models=models)
    return total


class LastWrite(DeltaChannel[Any]):
    """The last value written, None before; it is stored when it is written and not, as others are, at every step."""

    def __init__(self, reducer: Any = None, typ: Any = None, *, snapshot_frequency: int = SNAPSHOT_FREQUENCY) -> None:
        """Take what LangGraph gives when it copies a channel; the reducer and the value it begins with are ours."""
        super().__init__(last_write, type(None), snapshot_frequency=snapshot_frequency)


class RunState(TypedDict, total=False):
    """The whole state of the plan-execute graph; `PlanExecuteInput` and `PlanExecuteOutput` are what callers see."""

    schema_version: int
    messages: Annotated[list[AnyMessage], add_messages]
    objective: str
    settings: Annotated[dict[str, Any], DeltaChannel(last_write, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    plan: Annotated[Plan | None, LastWrite()]
    milestones: Annotated[dict[str, Milestone], DeltaChannel(merge_milestones, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    decision: Decision | None
    replans: int
    usage: Annotated[dict[str, RoleUsage], add_usage]
    log: Annotated[list[LogEntry], DeltaChannel(append_log, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    status: RunStatus
    error: RunError | None
    answer: str | None
    structured_response: dict[str, Any] | None
    seconds: Annotated[float, operator.add]
    remaining_steps: RemainingSteps


class PlanExecuteInput(TypedDict):
    """What a caller sends: the conversation, the last human message being the request."""

    messages: Annotated[list[AnyMessage | dict[str, Any]], add_messages]


class PlanExecuteOutput(TypedDict):
    """What a caller gets back."""

    messages: Annotated[list[AnyMessage], add_messages]
    answer: str | None
    status: RunStatus
    error: RunError | None
    plan: Plan | None
    milestones: Annotated[dict[str, Milestone], DeltaChannel(merge_milestones, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    usage: Annotated[dict[str, RoleUsage], add_usage]
    structured_response: dict[str, Any] | None


class Spent(TypedDict):
    """What a run has cost so far."""

    usage: dict[str, RoleUsage]
    seconds: float


class Effect(TypedDict):
    """What a call did to the world, what it answered, cut, and under which `key`.

    `open` is a failure of a tool that may be called again, after which nobody knows.
    """

    outcome: Literal["done", "unknown", "open"]
    answer: str
    key: str


class RunSoFar(Spent):
    """What an executor is held to of the run it belongs to: its settings, what it has cost, what it has changed."""

    settings: dict[str, Any]
    effects: dict[str, Effect]
    """By `effects.call_key`."""


class ExecutorInput(TypedDict):
    """What the executor graph takes: a brief, and what its limits need of the run it belongs to."""

    brief: Brief
    run: NotRequired[RunSoFar]


class ExecutorOutput(TypedDict):
    """What the executor graph hands back: its milestone's fields, what it cost, its line in the log."""

    milestones: Annotated[dict[str, Milestone], DeltaChannel(merge_milestones, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    usage: Annotated[dict[str, RoleUsage], add_usage]
    seconds: Annotated[float, operator.add]
    log: Annotated[list[LogEntry], DeltaChannel(append_log, snapshot_frequency=SNAPSHOT_FREQUENCY)]


def new_id() -> str:
    """An id that no other bears: 96 random bits in 16 letters, because a run stores each of them several times."""
    return secrets.token_urlsafe(12)


def _sum(a: ModelUsage | RoleUsage, b: ModelUsage | RoleUsage) -> ModelUsage:
    usd = None if a["usd"] is None or b["usd"] is None else a["usd"] + b["usd"]
    return ModelUsage(
        calls=a["calls"] + b["calls"],
        input_tokens=a["input_tokens"] + b["input_tokens"],
        output_tokens=a["output_tokens"] + b["output_tokens"],
        usd=usd,
    )
