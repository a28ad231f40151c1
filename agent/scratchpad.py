"""The scratchpad: the ReAct messages of one milestone, and what can be read off them.

Everything that limits a milestone is counted from its messages, so it holds across a resume.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired

from langchain.agents import AgentState
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langgraph.managed.is_last_step import RemainingStepsManager

from plan_execute.agent.context import Context, Price
from plan_execute.agent.failures import FailureCode
from plan_execute.agent.plan import MilestoneReport
from plan_execute.agent.prompts import RESULT_LIMIT
from plan_execute.agent.state import Brief, RoleUsage, Spent, ToolCallRecord
from plan_execute.agent.usage import count_call, crossed_budget, sum_usage

REPORT = MilestoneReport.__name__
"""Name of the tool an executor reports with."""
STEPS_FOR_TURN = 4
"""LangGraph steps a ReAct loop needs for a turn, its tools and the last report."""


class ScratchpadState(AgentState[Any]):
    """The state of a ReAct loop: its messages, and the brief, settings and spending its guard reads."""

    brief: Brief
    settings: NotRequired[dict[str, Any]]
    spent: NotRequired[Spent]
    turns: NotRequired[Annotated[int, operator.add]]
    """Model calls so far; other middleware may take messages away, so these are counted beside them."""
    remaining_steps: NotRequired[Annotated[int, PrivateStateAttr, RemainingStepsManager]]


def call_records(messages: Sequence[AnyMessage]) -> list[ToolCallRecord]:
    """Every tool call that was answered, in order, reports aside."""
    records: list[ToolCallRecord] = []
    open_calls: list[ToolCall] = []
    for message in messages:
        if isinstance(message, AIMessage):
            # Ids are unique in one message at best: some servers begin at call_0 every time.
            open_calls = list(message.tool_calls)
        elif isinstance(message, ToolMessage):
            call = next((call for call in open_calls if call["id"] == message.tool_call_id), None)
            if call is None:
                continue
            open_calls.remove(call)
            if call["name"] != REPORT:
                records.append(ToolCallRecord(tool=call["name"], args=call["args"], ok=message.status != "error"))
    return records


def turns_taken(state: Mapping[str, Any]) -> int:
    """How often the model was called."""
    return max(int(state.get("turns", 0)), sum(isinstance(m, AIMessage) for m in state["messages"]))


def has_evidence(messages: Sequence[AnyMessage], brief: Brief) -> bool:
    """Whether a granted tool has answered successfully."""
    return any(record["ok"] and record["tool"] in brief["tools"] for record in call_records(messages))


def pending_calls(messages: Sequence[AnyMessage]) -> list[ToolCall]:
    """The tool calls of the last AI message."""
    last = next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)
    return last.tool_calls if last is not None else []


def tool_failures(messages: Sequence[AnyMessage]) -> list[tuple[FailureCode, str]]:
    """Class and text of every failed tool call."""
    return [
        (m.additional_kwargs.get("failure", "bad_arguments"), m.text)
        for m in messages
        if isinstance(m, ToolMessage) and m.status == "error" and m.name != REPORT
    ]


def kept_texts(messages: Sequence[AnyMessage], brief: Brief) -> dict[str, str]:
    """The long texts a model was shown only in part, by reference: cut tool results, and results it depends on."""
    results = {key: text for key, text in brief["inputs"].items() if len(text) > RESULT_LIMIT}
    cut = (m.additional_kwargs.get("kept") for m in messages if isinstance(m, ToolMessage))
    return results | {kept["reference"]: kept["text"] for kept in cut if kept}


def seconds_spent(messages: Sequence[AnyMessage]) -> float:
    """Working seconds: those of every model call and tool call."""
    return float(sum(m.response_metadata.get("seconds", 0) for m in messages))


def usage_of(messages: Sequence[AnyMessage], prices: Mapping[str, Price]) -> dict[str, RoleUsage]:
    """What the model calls cost."""
    said = (m for m in messages if isinstance(m, AIMessage) and not _is_no_call(m))
    return sum_usage(count_call("executor", None, message, prices) for message in said)


def limit_reached(state: Mapping[str, Any], context: Context) -> str | None:
    """Name what leaves nothing to the model but to report, in words; None while there is room."""
    messages = state["messages"]
    if state.get("remaining_steps", STEPS_FOR_TURN + 1) <= STEPS_FOR_TURN:
        return "LangGraph's recursion limit"
    if turns_taken(state) >= context.max_model_calls - 1:
        return f"the limit of {context.max_model_calls} model calls"
    if len(call_records(messages)) >= context.tool_call_limit:
        return f"the limit of {context.tool_call_limit} tool calls"
    spent = state.get("spent")
    if spent is None:
        return None
    return crossed_budget(
        context.budget,
        Spent(
            usage=sum_usage([spent["usage"], usage_of(messages, context.prices)]),
            seconds=spent["seconds"] + seconds_spent(messages),
        ),
    )


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
