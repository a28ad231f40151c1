"""What a tool answered, or what is answered in its place: cut, kept whole, recorded, and told to who listens."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from plan_execute.agent import prompts
from plan_execute.agent.events import emit, now
from plan_execute.agent.executor.approval import CallDecision
from plan_execute.agent.executor.receipts import OUTCOME_UNKNOWN, has_effect, idempotency_key, is_at_most_once
from plan_execute.agent.executor.scratchpad import (
    ScratchpadState,
    Tally,
    pending_calls,
    tally_of,
)
from plan_execute.agent.failures import classify_tool_error, describe_error, error_text, leaves_outcome_unknown
from plan_execute.agent.llm.calls import CallAbandonedError
from plan_execute.agent.state import FailureCode, ToolCallRecord, new_id
from plan_execute.agent.truncation import SHOWN_LIMIT, read_reference, sanitize, truncate_middle

ERROR_LIMIT = 500
"""Most characters of a tool's error that the model is shown."""


def tool_result_update(ruling: CallDecision, answer: ToolMessage | Command[Any], began: float) -> Command[Any]:
    """Take what a tool answered: a long result is cut and kept whole, and who listens is told."""
    request = ruling.request
    message, more = _unpacked(request.tool_call, answer)
    text, kept = ruling.note + sanitize(message.text), {}
    if len(text) > SHOWN_LIMIT:
        reference = _next_reference(request)
        kept = {reference: text}
        text = truncate_middle(text, SHOWN_LIMIT, reference)
    elif not isinstance(message.content, str) and not ruling.note:
        text = message.content  # type: ignore[assignment]  # blocks, such as pictures
    message = message.model_copy(update={"content": text, "artifact": None})
    emit_tool_finished(request, message.model_copy(update={"content": message.text.removeprefix(ruling.note)}))
    return tool_call_update(ruling, message, began, kept=kept, more=more)


def tool_call_update(
    ruling: CallDecision,
    message: ToolMessage,
    began: float,
    *,
    kept: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Command[Any]:
    """The state update for an answered call: its message, its record, the time it took."""
    call, tool, ok = ruling.request.tool_call, ruling.request.tool, message.status != "error"
    seconds = time.monotonic() - began
    record = ToolCallRecord(
        tool=call["name"],
        args=call["args"],
        ok=ok,
        effect=has_effect(tool),
        at=now(ago=seconds),
        seconds=round(seconds, 3),
        code=None if ok else message.additional_kwargs.get("failure", "bad_arguments"),
        error=None if ok else truncate_middle(message.text, ERROR_LIMIT),
    )
    if has_effect(tool):
        record["key"] = idempotency_key(ruling.request)
        if ok:
            record["answer"] = truncate_middle(message.text, prompts.RESULT_LIMIT)
    if ruling.verdict:
        record["verdict"] = ruling.verdict
    message = message.model_copy(update={"id": new_id()})
    tally = Tally(calls=[record], seconds=seconds)
    if kept:
        tally["kept"] = dict(kept)
    return Command(update={**(more or {}), "messages": [message], "tally": tally})


def answer_reader(call: ToolCall, texts: dict[str, str]) -> ToolMessage:
    """Answer for the reader of long texts."""
    try:
        offset = int(call["args"].get("offset") or 0)
        text = read_reference(texts, str(call["args"].get("reference")), offset)
    except (ToolException, ValueError, TypeError) as error:
        return refused_result(call, str(error), "bad_arguments")
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"])


def emit_tool_finished(request: ToolCallRequest, message: ToolMessage) -> None:
    """Tell who listens what came of a call."""
    result = truncate_middle(message.text, prompts.DIGEST_LIMIT)
    emit({**tool_event("tool_finished", request), "ok": message.status != "error", "result": result})


def tool_event(kind: str, request: ToolCallRequest) -> dict[str, Any]:
    """What every event of a tool call says."""
    brief = request.state["brief"]
    place = {"revision": brief.get("revision", 0), "milestone": brief["id"]}
    call = request.tool_call
    return {"type": kind, "at": now(), **place, "tool": call["name"], "call": call["id"]}


def error_result(request: ToolCallRequest, error: Exception) -> ToolMessage:
    """Make of what a tool raised an answer that the model can act on."""
    call = request.tool_call
    if is_at_most_once(request.tool) and (isinstance(error, CallAbandonedError) or leaves_outcome_unknown(error)):
        text = f"No answer ({describe_error(error)}); whether the call had an effect is unknown. It is not made again."
        return refused_result(call, text, OUTCOME_UNKNOWN)
    if isinstance(error, CallAbandonedError):
        return refused_result(
            call, "No answer in the time there was; whether the call had an effect is unknown.", "timeout"
        )
    said = error_text(error) if isinstance(error, ToolException) else describe_error(error, ERROR_LIMIT)
    return refused_result(call, said, classify_tool_error(error))


def refused_result(call: ToolCall, text: str, code: FailureCode) -> ToolMessage:
    """An answer that says why there is none."""
    return ToolMessage(
        truncate_middle(sanitize(text), ERROR_LIMIT),
        tool_call_id=call["id"],
        name=call["name"],
        status="error",
        additional_kwargs={"failure": code},
    )


def _unpacked(call: ToolCall, answer: ToolMessage | Command[Any]) -> tuple[ToolMessage, dict[str, Any]]:
    """The message in a tool's answer, and what else a `Command` writes for other middleware.

    A milestone is left by its report only: where a command would go is ignored, and the guard's own keys are its own.
    """
    if isinstance(answer, ToolMessage):
        return answer, {}
    update = answer.update if isinstance(answer.update, dict) else {}
    more = {key: value for key, value in update.items() if key not in ScratchpadState.__annotations__}
    said = [m for m in update.get("messages", ()) if isinstance(m, ToolMessage) and m.tool_call_id == call["id"]]
    message = said[0] if said else ToolMessage("Done.", tool_call_id=call["id"], name=call["name"])
    return message, more


def _next_reference(request: ToolCallRequest) -> str:
    """A name for a long result: its place among the milestone's tool calls."""
    state, call = request.state, request.tool_call
    batch = pending_calls(state["messages"])
    place = next((i for i, other in enumerate(batch) if other["id"] == call["id"]), 0)
    return f"r{len(tally_of(state)['calls']) + place + 1}"


def as_react_tool(tool: BaseTool) -> BaseTool:
    """Make a tool fit for a ReAct loop that ends with a report.

    Its answer always goes back to the model, whatever its `return_direct` says, and one that exists only as a coroutine
    can be called from sync code too, on a loop of its own.
    """
    tool = tool.model_copy(update={"return_direct": False})
    if not isinstance(tool, StructuredTool) or tool.func is not None or tool.coroutine is None:
        return tool
    coroutine = tool.coroutine

    def call(*args: Any, **kwargs: Any) -> Any:
        async def run() -> Any:
            return await coroutine(*args, **kwargs)

        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(copy_context().run, asyncio.run, run()).result()

    return tool.model_copy(update={"func": call})
