"""The state of a run: typed dicts of plain JSON, because checkpoints outlive code."""

import operator
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, Required

from langchain_core.messages import AnyMessage, convert_to_messages
from langgraph.channels import DeltaChannel, EphemeralValue
from langgraph.graph.message import add_messages
from langgraph.managed import RemainingSteps
from typing_extensions import TypedDict

from plan_execute.agent.codes import (
    Action,
    DecisionType,
    ErrorCode,
    EventType,
    FailureCode,
    MilestoneStatus,
    Rule,
    RunStatus,
)
from plan_execute.agent.truncation import json_safe

SCHEMA_VERSION = 1
"""Incremented whenever a key changes its meaning, so that a reader of an old checkpoint can tell."""

SNAPSHOT_FREQUENCY = 5_000
"""Updates after which a `DeltaChannel`, which stores its writes, stores its whole value.

LangGraph does so after 5,000 steps anyway. A lower number would store a run of 1,000 milestones again and again; a much
higher one would need more writes than one SQLite statement can read.
"""


class ModelUsage(TypedDict):
    """What one model cost: `calls`, `input_tokens`, `output_tokens`; `usd` is null where no price is known."""

    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None


class RoleUsage(ModelUsage):
    """What one role cost, and by which models (by name)."""

    models: dict[str, ModelUsage]


class PinnedCall(TypedDict):
    """A tool call fixed at planning time; `args` is a JSON object as text, in which `$m1.total` refers to a value."""

    tool: str
    args: str


class Yield(TypedDict):
    """A typed value that a milestone passes on; `options` only for the kind `choice`.

    `path` is the JSON pointer at which it stands in the result of the last call; without one, the executor reads it.
    """

    name: str
    kind: str
    options: list[str]
    path: NotRequired[str]


class ToolCallRecord(TypedDict):
    """One tool call of a milestone: its arguments, when it was made, whether it succeeded, how many seconds it took.

    `effect` is whether the tool declares that it changes the world. For a failed call, `code` is the class of failure
    and `error` what the model was told.
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
    """The idempotency key of a call that may change the world."""
    answer: NotRequired[str]
    """The truncated result of such a call, where it succeeded."""
    verdict: NotRequired[DecisionType]
    """The decision of the person who was asked to approve the call."""


class Failure(TypedDict):
    """Why a milestone is not done: `code` is a class of failure, `message` a sentence, `evidence` what tools returned.

    `retry_after` is how many seconds the service asked to wait, where it did.
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
    open: bool
    """Whether a person has to allow it in strict trust, because it acts with arguments that are not pinned."""
    pitfalls: list[str]
    depends_on: list[str]
    covers: list[int]
    revision: int
    status: MilestoneStatus
    attempts: int
    result: str
    values: dict[str, Any]
    """What it yields, by name: texts, numbers, booleans, or lists of them."""
    tainted: bool
    """Whether anything it says may come from a tool that is not trusted."""
    report: dict[str, Any] | None
    failure: Failure | None
    answers: dict[str, str]
    """The user's answers, by question."""
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
    """The strategy behind the milestones; small, because each revision writes it again."""

    revision: int
    strategy: str
    requirements: list[Requirement]
    givens: list[str]
    unknowns: list[str]
    pitfalls: list[str]
    answer: NotRequired[str]
    """Of a plan that was given: the answer, in which `$m1.total` refers to a value."""


class Decision(TypedDict):
    """The gate's decision: what to do next, by which rule, why in words, and the code of the failure behind it."""

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
    """The call of unknown outcome that a person was asked about, by `receipts.call_key`."""


class Brief(TypedDict, total=False):
    """All that an executor sees of the run: one milestone and the results it depends on, by milestone id.

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
    values: dict[str, dict[str, Any]]
    """What the milestones it depends on yield, by their ids."""
    tainted: list[str]
    """Those of them whose values and results may come from a tool that is not trusted."""
    open: bool
    """Whether a person has allowed it to act with arguments that are not pinned."""
    revision: int
    attempt: int
    hint: str
    """Why the last attempt failed."""
    answers: dict[str, str]
    """The user's answers, by question."""
    nonce: str
    """The random number of the run, which stands in the marks around texts from outside."""
    wait: float
    """Seconds to wait before the first call, after a transient failure."""


def merge_milestones(
    milestones: Mapping[str, Milestone], writes: Sequence[Mapping[str, Milestone]]
) -> dict[str, Milestone]:
    """Update the fields that are written, and add new milestones at the end: the dict stays in plan order."""
    merged = dict(milestones)
    for write in writes:
        for key, fields in write.items():
            merged[key] = {**merged.get(key, Milestone()), **fields}
    return merged


def append_log(log: Sequence[LogEntry], writes: Sequence[Sequence[LogEntry]]) -> list[LogEntry]:
    """Append every entry that is written."""
    return [*log, *(entry for write in writes for entry in write)]


def last_write(_before: Any, writes: Sequence[Any]) -> Any:
    """Take the last value written."""
    return writes[-1]


def add_usage(left: Mapping[str, RoleUsage] | None, right: Mapping[str, RoleUsage] | None) -> dict[str, RoleUsage]:
    """Sum usage by role and by model; a sum with an unknown price is unknown."""
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
    """The last value written, None at first; stored only when it is written, not at every step like `LastValue`."""

    def __init__(self, reducer: Any = None, typ: Any = None, *, snapshot_frequency: int = SNAPSHOT_FREQUENCY) -> None:
        """Accept what LangGraph passes when it copies a channel; the reducer and the initial value are fixed."""
        super().__init__(last_write, type(None), snapshot_frequency=snapshot_frequency)


class StorableInput(EphemeralValue[Any]):
    """The input of a graph, which LangGraph stores before any node runs, and which so has to be made safe to store."""

    def update(self, values: Sequence[Any]) -> bool:
        """Take the input."""
        return super().update([self._storable(value) for value in values])

    @staticmethod
    def _storable(value: Any) -> Any:
        if isinstance(value, dict) and "messages" in value:
            given = value["messages"]
            value = {**value, "messages": convert_to_messages(given if isinstance(given, list) else [given])}
        return json_safe(value)


Messages = Annotated[list[AnyMessage], add_messages]
Milestones = Annotated[dict[str, Milestone], DeltaChannel(merge_milestones, snapshot_frequency=SNAPSHOT_FREQUENCY)]
Log = Annotated[list[LogEntry], DeltaChannel(append_log, snapshot_frequency=SNAPSHOT_FREQUENCY)]
Usage = Annotated[dict[str, RoleUsage], add_usage]


class RunState(TypedDict, total=False):
    """The whole state of the plan-execute graph; `PlanExecuteInput` and `PlanExecuteOutput` are what callers see."""

    schema_version: int
    messages: Messages
    inputs: Annotated[dict[str, Any], LastWrite()]
    given: Annotated[dict[str, Any] | None, LastWrite()]
    """The plan that the run was given, and its inputs; None where it is asked for."""
    objective: str
    settings: Annotated[dict[str, Any], DeltaChannel(last_write, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    plan: Annotated[Plan | None, LastWrite()]
    milestones: Milestones
    decision: Decision | None
    replans: int
    usage: Usage
    log: Log
    status: RunStatus
    error: RunError | None
    answer: str | None
    structured_response: dict[str, Any] | None
    seconds: Annotated[float, operator.add]
    remaining_steps: RemainingSteps


RunUpdate = RunState
"""What a node of the graph returns: the keys that it writes, and no others."""


class PlanExecuteInput(TypedDict):
    """What a caller sends: the conversation, the last human message being the request.

    `plan` is a plan to carry out instead of asking for one, in the form of a `PlanDraft`; `inputs` are its parameters,
    by the names under which it refers to them as `$input.name`.
    """

    messages: Annotated[list[AnyMessage | dict[str, Any]], add_messages]
    plan: NotRequired[dict[str, Any]]
    inputs: NotRequired[dict[str, Any]]


class PlanExecuteOutput(TypedDict):
    """What a caller gets back; keys that no run has written yet are missing."""

    messages: Messages
    answer: str | None
    status: RunStatus
    error: RunError | None
    plan: Plan | None
    milestones: Milestones
    usage: Usage
    structured_response: dict[str, Any] | None


class Spent(TypedDict):
    """What a run has cost so far."""

    usage: dict[str, RoleUsage]
    seconds: float


class Effect(TypedDict):
    """What a call did to the world, its truncated result as `answer`, and its idempotency `key`.

    `done` happened, `unknown` may have happened and is not repeated, `open` may have happened and may be repeated under
    the same key.
    """

    outcome: Literal["done", "unknown", "open"]
    answer: str
    key: str


class RunSoFar(Spent):
    """What an executor must respect of its run: the settings, the cost so far, the effects so far."""

    settings: dict[str, Any]
    effects: dict[str, Effect]
    """By `receipts.call_key`."""


class ExecutorInput(TypedDict):
    """The input of the executor graph: a brief, and what its limits need to know of the run it belongs to."""

    brief: Brief
    run: NotRequired[RunSoFar]


class ExecutorOutput(TypedDict):
    """The output of the executor graph: the fields of its milestone, what it cost, its entry in the log."""

    milestones: Milestones
    usage: Usage
    seconds: Annotated[float, operator.add]
    log: Log


def with_status(milestones: Mapping[str, Milestone], *statuses: MilestoneStatus) -> dict[str, Milestone]:
    """Select the milestones with one of these statuses, in plan order."""
    return {key: milestone for key, milestone in milestones.items() if milestone["status"] in statuses}


def is_strict(state: RunState) -> bool:
    """Tell whether the run is in strict trust."""
    return (state.get("settings") or {}).get("trust") == "strict"


def is_tainted(milestone: Milestone) -> bool:
    """Tell whether what a milestone says may come from a tool that is not trusted; of older ones nobody knows."""
    return milestone.get("tainted", True)


def revision_of(state: RunState) -> int:
    """Return the number of the current plan; 0 before the first one."""
    plan = state.get("plan")
    return plan["revision"] if plan else 0


def new_id() -> str:
    """Make a unique id: 96 random bits in 16 characters, because a run stores each id several times."""
    return secrets.token_urlsafe(12)


def new_nonce() -> str:
    """Make a random number of more than 128 bits, in 23 letters and digits."""
    return secrets.token_urlsafe(17).replace("-", "_")


def _sum(a: ModelUsage | RoleUsage, b: ModelUsage | RoleUsage) -> ModelUsage:
    usd = None if a["usd"] is None or b["usd"] is None else a["usd"] + b["usd"]
    return ModelUsage(
        calls=a["calls"] + b["calls"],
        input_tokens=a["input_tokens"] + b["input_tokens"],
        output_tokens=a["output_tokens"] + b["output_tokens"],
        usd=usd,
    )
