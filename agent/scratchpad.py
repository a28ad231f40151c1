"""The scratchpad: the ReAct messages of one milestone, and what can be read off them."""

from collections.abc import Sequence
from typing import Any, NotRequired

from langchain.agents import AgentState
from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from plan_execute.agent.failures import FailureCode
from plan_execute.agent.plan import MilestoneReport
from plan_execute.agent.state import Brief, ToolCallRecord

REPORT = MilestoneReport.__name__
"""Name of the tool an executor reports with."""


class ScratchpadState(AgentState[Any]):
    """The state of a ReAct loop: its messages, and the brief and settings its guard reads."""

    brief: Brief
    settings: NotRequired[dict[str, Any]]


def call_records(messages: Sequence[AnyMessage]) -> list[ToolCallRecord]:
    """Every tool call that was answered, in order, reports aside."""
    asked = {call["id"]: call for m in messages if isinstance(m, AIMessage) for call in m.tool_calls}
    return [
        ToolCallRecord(tool=call["name"], args=call["args"], ok=answer.status != "error")
        for answer in messages
        if isinstance(answer, ToolMessage)
        and (call := asked.get(answer.tool_call_id)) is not None
        and call["name"] != REPORT
    ]


def pending_calls(messages: Sequence[AnyMessage]) -> list[ToolCall]:
    """The tool calls of the last AI message."""
    last = next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)
    return last.tool_calls if last is not None else []


def model_calls(messages: Sequence[AnyMessage]) -> int:
    """How often the model was called; counted from the messages, so it holds across a resume."""
    return sum(isinstance(m, AIMessage) for m in messages)


def tool_failures(messages: Sequence[AnyMessage]) -> list[tuple[FailureCode, str]]:
    """Class and text of every failed tool call."""
    return [
        (m.additional_kwargs.get("failure", "failed"), m.text)
        for m in messages
        if isinstance(m, ToolMessage) and m.status == "error" and m.name != REPORT
    ]


def raised_failure(messages: Sequence[AnyMessage]) -> tuple[FailureCode, str] | None:
    """Class and text of what the model's last call raised, if it did."""
    last = messages[-1] if messages else None
    if isinstance(last, AIMessage) and (raised := last.additional_kwargs.get("raised")):
        return raised["code"], raised["message"]
    return None


def raised_message(code: FailureCode, message: str) -> AIMessage:
    """Stands in the scratchpad for a reply that never came."""
    return AIMessage("", additional_kwargs={"raised": {"code": code, "message": message}})
