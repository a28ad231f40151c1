"""The scratchpad: the state of one milestone's ReAct loop, its messages and a tally of what it has used so far.

The tally, on which limits and evidence depend, is counted apart from the messages, which other middleware may shorten.
All of it is state, so it survives a resume.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, Required

from langchain.agents import AgentState
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolCall, ToolMessage
from langgraph.channels import DeltaChannel
from langgraph.graph.message import add_messages
from langgraph.managed.is_last_step import RemainingStepsManager
from typing_extensions import TypedDict

from plan_execute.agent.build import Build
from plan_execute.agent.codes import FailureCode
from plan_execute.agent.context import Price
from plan_execute.agent.llm.parsing import TEXTUAL
from plan_execute.agent.llm.usage import count_call, crossed_budget
from plan_execute.agent.prompts import RESULT_LIMIT
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.state import (
    SNAPSHOT_FREQUENCY,
    Brief,
    Effect,
    RoleUsage,
    RunSoFar,
    Spent,
    ToolCallRecord,
    add_usage,
    last_write,
    new_id,
)

REPORT = MilestoneReport.__name__
"""Name of the tool with which an executor reports."""
CALLS_KEY = "calls_key"
"""Where the metadata of a reply has what no other reply has, to tell its calls from all others of a thread."""
CALL_NUMBER = "call_number"
"""Where a tool result has the number of its call among those of the milestone, from 1."""
STEPS_FOR_TURN = 4
"""LangGraph steps that a ReAct loop needs for a turn, its tools and the last report, without middleware hooks."""
SMALLEST_FIGURE = 10
"""Smaller ones may have been counted by hand, or number the lines of a list."""
HOOKS = {"before_agent": 1, "before_model": 1, "after_model": 2, "after_agent": 1}
"""How many of these steps each middleware hook adds."""


def extend_messages(messages: Sequence[AnyMessage], writes: Sequence[Any]) -> list[AnyMessage]:
    """Apply LangGraph's `add_messages`, write by write."""
    merged = list(messages)
    for write in writes:
        merged = add_messages(merged, write)  # type: ignore[assignment, arg-type]  # typed for message-likes
    return merged


class Tally(TypedDict, total=False):
    """What a ReAct loop has used: `turns` are model calls, `seconds` those spent in model and tool calls."""

    turns: int
    calls: list[ToolCallRecord]
    """Every tool call that has a result, in order, without reports."""
    kept: dict[str, str]
    """The whole text of truncated tool results, by reference."""
    usage: dict[str, RoleUsage]
    seconds: float


NO_TALLY = Tally(turns=0, calls=[], kept={}, usage={}, seconds=0.0)
"""The tally of a milestone that has not started."""


def add_tallies(tally: Tally, writes: Sequence[Tally]) -> Tally:
    """Sum tallies."""
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
    """The state of a ReAct loop: its brief, its messages, and the tally that the middleware writes."""

    messages: Required[
        Annotated[list[AnyMessage], DeltaChannel(extend_messages, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    ]
    brief: Annotated[Brief, DeltaChannel(last_write, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    run: NotRequired[Annotated[RunSoFar, DeltaChannel(last_write, snapshot_frequency=SNAPSHOT_FREQUENCY)]]
    tally: NotRequired[Annotated[Tally, DeltaChannel(add_tallies, dict, snapshot_frequency=SNAPSHOT_FREQUENCY)]]
    remaining_steps: NotRequired[Annotated[int, PrivateStateAttr, RemainingStepsManager]]


def tally_of(state: Mapping[str, Any]) -> Tally:
    """Return the tally so far, with all fields."""
    return {**NO_TALLY, **state.get("tally", {})}


class Scratchpad:
    """A scratchpad as a middleware hook reads it, with the settings in force."""

    def __init__(self, state: Mapping[str, Any], build: Build) -> None:
        """Read the state of a ReAct loop or of the executor around it, and resolve the settings, once for each hook."""
        self.state = state
        self.build = build
        self.brief: Brief = state["brief"]
        self.tally: Tally = {**NO_TALLY, **state.get("tally", {})}
        self.messages: Sequence[AnyMessage] = state["messages"]
        self.report: dict[str, Any] | None = state.get("structured_response")
        self.run: RunSoFar | None = state.get("run") or None
        self.context = build.context(self.run["settings"] if self.run else None)
        self.seconds_spent = (self.run["seconds"] if self.run else 0.0) + self.tally["seconds"]
        """Seconds that the run has worked, this milestone included."""
        self.seconds_left = self.context.milestone_timeout - self.tally["seconds"]
        """Seconds left for the milestone."""
        budget = self.context.budget.seconds
        self.run_seconds_left = math.inf if budget is None else max(budget - self.seconds_spent, 0.0)
        """Seconds left of the run's budget."""
        inputs = {key: text for key, text in self.brief.get("inputs", {}).items() if len(text) > RESULT_LIMIT}
        self.truncated_texts = inputs | self.tally["kept"]
        """The whole texts that the model was shown truncated, by reference: inputs and tool results."""

    @property
    def effects(self) -> Mapping[str, Effect]:
        """Effects on the world before this attempt, by `receipts.call_key`."""
        return self.run["effects"] if self.run else {}

    @property
    def has_evidence(self) -> bool:
        """Whether a call of a granted tool has succeeded."""
        return any(call["ok"] and call["tool"] in self.brief["tools"] for call in self.tally["calls"])

    @property
    def may_report(self) -> bool:
        """Whether success may be reported: a call of a granted tool has succeeded, or no tool was granted."""
        return self.has_evidence or not self.brief["tools"]

    @property
    def writes_calls_as_text(self) -> bool:
        """Whether its model is a weak one, which writes its calls as text."""
        return any(isinstance(m, AIMessage) and m.response_metadata.get(TEXTUAL) for m in self.messages)

    def ungrounded_figures(self, text: str) -> list[str]:
        """Return the figures of a text that stand neither in the brief, nor in a call or its result, even rounded."""
        known = [_figures(self.brief["goal"]), *map(_figures, self.brief["inputs"].values())]
        for m in self.messages:
            calls = m.tool_calls if isinstance(m, AIMessage) else []
            known += [_figures(str(call["args"])) for call in calls if call["name"] != REPORT]
            known += [_figures(m.text)] if isinstance(m, ToolMessage) and m.name != REPORT else []
        values = [value for figures in known for value, _ in figures.values()]
        return [
            figure
            for figure, (value, unit) in _figures(text).items()
            if value >= SMALLEST_FIGURE
            and not any(abs(other * by - value) <= unit / 2 for other in values for by in (1, 100))
        ]

    def has_made(self, calls: Sequence[ToolCall]) -> bool:
        """Whether each of these calls has been made and has succeeded."""
        made = [(record["tool"], record["args"]) for record in self.tally["calls"] if record["ok"]]
        return bool(calls) and all((call["name"], call["args"]) in made for call in calls)

    def limit_reached(self, steps: int = STEPS_FOR_TURN) -> str | None:
        """Name the limit that leaves the model nothing to do but to report; None while none is reached.

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


def _figures(text: str) -> dict[str, tuple[float, float]]:
    """Find the figures of a text: as written, each with its value and the unit of its last digit."""
    found = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", text)
    return {f: (float(f.replace(",", "")), 10.0 ** -len(f.partition(".")[2])) for f in found}


def pending_calls(messages: Sequence[AnyMessage]) -> list[ToolCall]:
    """Return the tool calls of the last AI message that have no result yet."""
    answered = set[str]()
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            return [call for call in message.tool_calls if call["id"] not in answered]
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
    return []


def index_of_call(calls: Sequence[ToolCall], call: ToolCall) -> int:
    """Return the position of a call among the calls of its AI message."""
    return next((i for i, other in enumerate(calls) if other["id"] == call["id"]), 0)


def tool_message(call: ToolCall, text: str, code: FailureCode | None = None) -> ToolMessage:
    """Make the result of a call whose tool is not called; with a `code`, the class of failure, it is an error."""
    return ToolMessage(
        text,
        tool_call_id=call["id"],
        id=new_id(),
        name=call["name"],
        status="error" if code else "success",
        additional_kwargs={"failure": code} if code else {},
    )


def usage_of(messages: Sequence[BaseMessage], prices: Mapping[str, Price]) -> dict[str, RoleUsage]:
    """Count what the model calls behind these messages cost."""
    usage: dict[str, RoleUsage] = {}
    for message in messages:
        if isinstance(message, AIMessage) and _is_model_call(message):
            counted = count_call("executor", None, message, prices)
            usage = add_usage(usage, counted) if usage else counted
    return usage


def steps_for_turn(middleware: Sequence[AgentMiddleware[Any, Any]]) -> int:
    """Count the LangGraph steps that a loop with this middleware needs for a turn, its tools and the last report."""
    hooked = (
        times
        for own in map(type, middleware)
        for hook, times in HOOKS.items()
        if any(getattr(own, name) is not getattr(AgentMiddleware, name) for name in (hook, f"a{hook}"))
    )
    return STEPS_FOR_TURN + sum(hooked)


def raised_failure(messages: Sequence[AnyMessage]) -> tuple[FailureCode, str, float | None] | None:
    """Read what the last model call raised: class of failure, text, seconds to wait; None if it raised nothing."""
    last = messages[-1] if messages else None
    if isinstance(last, AIMessage) and (raised := last.additional_kwargs.get("raised")):
        return raised["code"], raised["message"], raised["wait"]
    return None


def raised_message(code: FailureCode, message: str, wait: float | None = None) -> AIMessage:
    """Make the message that stands in the scratchpad for a model call that raised."""
    return AIMessage("", additional_kwargs={"raised": {"code": code, "message": message, "wait": wait}})


def _is_model_call(message: AIMessage) -> bool:
    """Tell whether a message is the reply of a model: not one that raised, or that needed no model."""
    return "raised" not in message.additional_kwargs and not message.response_metadata.get("unasked")
