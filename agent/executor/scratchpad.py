"""The scratchpad: the ReAct loop of one milestone, and what it has come to so far.

What limits a milestone and what bears out its report is counted beside the messages, which other middleware may
shorten; all of it is state, so it holds across a resume.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, Required

from langchain.agents import AgentState
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolCall
from langgraph.channels import DeltaChannel
from langgraph.graph.message import add_messages
from langgraph.managed.is_last_step import RemainingStepsManager
from typing_extensions import TypedDict

from plan_execute.agent.build import Build
from plan_execute.agent.context import Price
from plan_execute.agent.llm.usage import count_call, crossed_budget
from plan_execute.agent.prompts import RESULT_LIMIT
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.state import (
    SNAPSHOT_FREQUENCY,
    Brief,
    Effect,
    FailureCode,
    RoleUsage,
    RunSoFar,
    Spent,
    ToolCallRecord,
    add_usage,
    last_write,
)

REPORT = MilestoneReport.__name__
"""Name of the tool an executor reports with."""
STEPS_FOR_TURN = 4
"""LangGraph steps a ReAct loop needs for a turn, its tools and the last report, hooks of middleware aside."""
HOOKS = {"before_agent": 1, "before_model": 1, "after_model": 2, "after_agent": 1}
"""How often each hook that is a step of its own comes in them."""


def extend_messages(messages: Sequence[AnyMessage], writes: Sequence[Any]) -> list[AnyMessage]:
    """LangGraph's `add_messages`, write by write."""
    merged = list(messages)
    for write in writes:
        merged = add_messages(merged, write)  # type: ignore[assignment, arg-type]  # typed for message-likes
    return merged


class Tally(TypedDict, total=False):
    """What a ReAct loop has come to: `turns` are model calls, `seconds` those of its model and tool calls."""

    turns: int
    calls: list[ToolCallRecord]
    """Every tool call that was answered, in order, reports aside."""
    kept: dict[str, str]
    """Tool results that were shown only in part, whole, by reference."""
    usage: dict[str, RoleUsage]
    seconds: float


NO_TALLY = Tally(turns=0, calls=[], kept={}, usage={}, seconds=0.0)
"""That of a milestone that has done nothing."""


def add_tallies(tally: Tally, writes: Sequence[Tally]) -> Tally:
    """Sum tallies up."""
    total: Tally = {**NO_TALLY, **tally}
    for part in writes:
        total["turns"] += part.get("turns", 0)
        total["seconds"] += part.get("seconds", 0.0)
        if calls := part.get("calls"):
            total["calls"] = [*total["calls"], *calls]
        if kept := part.get("kept"):
            total["kept"] = {**total["kept"], **kept}
        if usage := part.get("usage"):
            total["usage"] = add_usage(total["usage"], usage) if total["usage"] else usage
    return total


class ScratchpadState(AgentState[Any]):
    """The state of a ReAct loop: its brief, its messages, and the tally its guard keeps."""

    messages: Required[
        Annotated[list[AnyMessage], DeltaChannel(extend_messages, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    ]
    brief: Annotated[Brief, DeltaChannel(last_write, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    run: NotRequired[Annotated[RunSoFar, DeltaChannel(last_write, snapshot_frequency=SNAPSHOT_FREQUENCY)]]
    tally: NotRequired[Annotated[Tally, DeltaChannel(add_tallies, dict, snapshot_frequency=SNAPSHOT_FREQUENCY)]]
    remaining_steps: NotRequired[Annotated[int, PrivateStateAttr, RemainingStepsManager]]


def tally_of(state: Mapping[str, Any]) -> Tally:
    """The tally so far, with nothing missing."""
    return {**NO_TALLY, **state.get("tally", {})}


class Scratchpad:
    """A scratchpad as a hook finds it, with the settings it is held to."""

    def __init__(self, state: Mapping[str, Any], build: Build) -> None:
        """Read the state of a ReAct loop, or of the executor around it; settings are resolved here, once a hook."""
        self.state = state
        self.brief: Brief = state["brief"]
        self.messages: Sequence[AnyMessage] = state["messages"]
        self.report: dict[str, Any] | None = state.get("structured_response")
        self.run: RunSoFar | None = state.get("run") or None
        self.context = build.context(self.run["settings"] if self.run else None)
        self.tally: Tally = {**NO_TALLY, **state.get("tally", {})}
        self.seconds_spent = (self.run["seconds"] if self.run else 0.0) + self.tally["seconds"]
        """How long the run has worked, this milestone included."""
        self.seconds_left = self.context.milestone_timeout - self.tally["seconds"]
        """What is left of the milestone's time."""
        budget = self.context.budget.seconds
        self.run_seconds_left = math.inf if budget is None else max(budget - self.seconds_spent, 0.0)
        """What is left of the run's budget of seconds."""
        cut = {key: text for key, text in self.brief.get("inputs", {}).items() if len(text) > RESULT_LIMIT}
        self.readable_texts = cut | self.tally["kept"]
        """The long texts a model was shown only in part, by reference: cut tool results, and those it depends on."""

    @property
    def effects(self) -> Mapping[str, Effect]:
        """What was done to the world before this attempt, by `receipts.call_key`."""
        return self.run["effects"] if self.run else {}

    @property
    def has_evidence(self) -> bool:
        """Whether a granted tool has answered successfully."""
        return any(call["ok"] and call["tool"] in self.brief["tools"] for call in self.tally["calls"])

    def limit_reached(self, steps: int = STEPS_FOR_TURN) -> str | None:
        """Name what leaves nothing to the model but to report, in words; None while there is room.

        Args:
            steps: LangGraph steps that a turn and the last report need.
        """
        if self.state.get("remaining_steps", steps + 1) <= steps:
            return "LangGraph's recursion limit"
        tally, context = self.tally, self.context
        if tally["turns"] >= context.max_model_calls - 1:
            return f"the limit of {context.max_model_calls} model calls"
        if len(tally["calls"]) >= context.tool_call_limit:
            return f"the limit of {context.tool_call_limit} tool calls"
        if self.run is None:
            return None
        return crossed_budget(context.budget, self.run, Spent(usage=tally["usage"], seconds=tally["seconds"]))


def pending_calls(messages: Sequence[AnyMessage]) -> list[ToolCall]:
    """The tool calls of the last AI message."""
    last = next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)
    return last.tool_calls if last is not None else []


def usage_of(messages: Sequence[BaseMessage], prices: Mapping[str, Price]) -> dict[str, RoleUsage]:
    """What the model calls behind these messages cost."""
    usage: dict[str, RoleUsage] = {}
    for message in messages:
        if isinstance(message, AIMessage) and not _is_no_call(message):
            counted = count_call("executor", None, message, prices)
            usage = add_usage(usage, counted) if usage else counted
    return usage


def steps_for_turn(middleware: Sequence[AgentMiddleware[Any, Any]]) -> int:
    """LangGraph steps a ReAct loop needs for a turn, its tools and the last report, with this middleware."""
    hooked = (
        times
        for own in map(type, middleware)
        for hook, times in HOOKS.items()
        if any(getattr(own, name) is not getattr(AgentMiddleware, name) for name in (hook, f"a{hook}"))
    )
    return STEPS_FOR_TURN + sum(hooked)


def raised_failure(messages: Sequence[AnyMessage]) -> tuple[FailureCode, str, float | None] | None:
    """Class and text of what the model's last call raised, if it did, and the seconds to wait before the next."""
    last = messages[-1] if messages else None
    if isinstance(last, AIMessage) and (raised := last.additional_kwargs.get("raised")):
        return raised["code"], raised["message"], raised["wait"]
    return None


def raised_message(code: FailureCode, message: str, wait: float | None = None) -> AIMessage:
    """Stands in the scratchpad for a reply that never came."""
    return AIMessage("", additional_kwargs={"raised": {"code": code, "message": message, "wait": wait}})


def _is_no_call(message: AIMessage) -> bool:
    """Whether a message stands for a reply that never came, or one for which no model had to be asked."""
    return "raised" in message.additional_kwargs or bool(message.response_metadata.get("unasked"))
