"""Tool results: truncated for the model, stored whole, recorded in the tally, and sent as events."""

import asyncio
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping
from functools import partial, wraps
from typing import Any

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, Tool, ToolException
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from plan_execute.agent import prompts
from plan_execute.agent.codes import EventType, FailureCode
from plan_execute.agent.events import emit, now
from plan_execute.agent.executor.approval import CallDecision
from plan_execute.agent.executor.receipts import (
    OUTCOME_UNKNOWN,
    has_effect,
    idempotency_key,
    is_at_most_once,
    results_in,
)
from plan_execute.agent.executor.scratchpad import (
    CALL_NUMBER,
    ScratchpadState,
    Tally,
    index_of_call,
    pending_calls,
    tally_of,
    tool_message,
)
from plan_execute.agent.failures import (
    classify_tool_error,
    classify_tool_text,
    describe_error,
    error_text,
    leaves_outcome_unknown,
)
from plan_execute.agent.llm.calls import CallAbandonedError, CallEndedError, in_thread
from plan_execute.agent.state import ToolCallRecord, new_id
from plan_execute.agent.truncation import SHOWN_LIMIT, json_safe, read_reference, sanitize, truncate_middle

ERROR_LIMIT = 500
"""Most characters of a tool's error that the model is shown."""


def tool_result_update(decision: CallDecision, result: ToolMessage | Command[Any], began: float) -> Command[Any]:
    """Truncate a tool's result, store it whole, send its event, and make the state update.

    Args:
        decision: The call that was made.
        result: What the tool returned.
        began: When the call was made, by `time.monotonic`.
    """
    request = decision.request
    message, more = _unpack(request.tool_call, result)
    message = json_safe(message.model_copy(update={"artifact": None}))
    text, kept = decision.note + sanitize(message.text), {}
    if len(text) > SHOWN_LIMIT:
        reference = _next_reference(request)
        kept = {reference: text}
        text = truncate_middle(text, SHOWN_LIMIT, reference)
    elif not isinstance(message.content, str) and not decision.note:
        text = message.content  # blocks, such as pictures
    message = message.model_copy(update={"content": text})
    if decision.note:
        message.additional_kwargs["preamble"] = len(decision.note)
    emit_tool_finished(request, message.model_copy(update={"content": message.text.removeprefix(decision.note)}))
    return tool_call_update(decision, message, began, kept=kept, more=more)


def tool_call_update(
    decision: CallDecision,
    message: ToolMessage,
    began: float,
    *,
    kept: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Command[Any]:
    """Make the state update for a call that has a result: its message, its record, its seconds.

    Args:
        decision: The call.
        message: Its result.
        began: When it was made, by `time.monotonic`.
        kept: The whole text of a truncated result, by reference.
        more: What the tool writes to state keys of other middleware.
    """
    call, tool, ok = decision.request.tool_call, decision.request.tool, message.status != "error"
    seconds = time.monotonic() - began
    record = ToolCallRecord(
        tool=call["name"],
        args=call["args"],
        ok=ok,
        effect=has_effect(tool),
        at=now(ago=seconds),
        seconds=round(seconds, 3),
        code=None
        if ok
        else message.additional_kwargs.get("failure") or classify_tool_text(message.text, "bad_arguments"),
        error=None if ok else truncate_middle(message.text, ERROR_LIMIT),
    )
    if has_effect(tool):
        record["key"] = idempotency_key(decision.request)
        if ok:
            record["answer"] = truncate_middle(message.text, prompts.RESULT_LIMIT)
    if decision.type:
        record["verdict"] = decision.type
    number = _number_of(decision.request)
    message = message.model_copy(
        update={"id": new_id(), "additional_kwargs": {**message.additional_kwargs, CALL_NUMBER: number}}
    )
    tally = Tally(calls=[record], seconds=seconds)
    if kept:
        tally["kept"] = dict(kept)
    return Command(update={**(more or {}), "messages": [message], "tally": tally})


def reader_result(call: ToolCall, texts: Mapping[str, str]) -> ToolMessage:
    """Read on in one of these truncated texts, which are given whole, by reference."""
    try:
        offset = int(call["args"].get("offset") or 0)
        text = read_reference(texts, str(call["args"].get("reference")), offset)
    except (ToolException, ValueError, TypeError) as error:
        return refused_result(call, str(error), "bad_arguments")
    return tool_message(call, text)


def emit_tool_finished(request: ToolCallRequest, message: ToolMessage) -> None:
    """Send the event of a call that has a result."""
    result = truncate_middle(message.text, prompts.DIGEST_LIMIT)
    emit({**tool_event("tool_finished", request), "ok": message.status != "error", "result": result})


def tool_event(kind: EventType, request: ToolCallRequest) -> dict[str, Any]:
    """Make what every event of a tool call has."""
    brief, call = request.state["brief"], request.tool_call
    place = {"revision": brief.get("revision", 0), "milestone": brief["id"]}
    return {"type": kind, "at": now(), **place, "tool": call["name"], "call": call["id"]}


def error_result(request: ToolCallRequest, error: Exception) -> ToolMessage:
    """Turn what a tool raised into a result that the model can act on."""
    call, abandoned = request.tool_call, isinstance(error, CallAbandonedError)
    if is_at_most_once(request.tool) and (
        abandoned or isinstance(error, CallEndedError) or leaves_outcome_unknown(error)
    ):
        text = f"No result ({describe_error(error)}); whether the call had an effect is unknown. It is not made again."
        return refused_result(call, text, OUTCOME_UNKNOWN)
    if abandoned:
        return refused_result(call, "No result in time; whether the call had an effect is unknown.", "timeout")
    text = error_text(error) if isinstance(error, ToolException) else describe_error(error, ERROR_LIMIT)
    return refused_result(call, text, classify_tool_error(error))


def refused_result(call: ToolCall, text: str, code: FailureCode) -> ToolMessage:
    """Make the error of a call that has no result."""
    return tool_message(call, truncate_middle(sanitize(text), ERROR_LIMIT), code)


def _unpack(call: ToolCall, result: ToolMessage | Command[Any]) -> tuple[ToolMessage, dict[str, Any]]:
    """Return the message in a tool's result, and what a `Command` writes to state keys of other middleware.

    Only a report ends a milestone, so a command's `goto` is ignored; so are its writes to our own keys.
    """
    if isinstance(result, ToolMessage):
        return result, {}
    update = result.update if isinstance(result.update, dict) else {}
    more = {key: value for key, value in update.items() if key not in ScratchpadState.__annotations__}
    return next(iter(results_in(result, call["id"])), tool_message(call, "Done.")), more


def _next_reference(request: ToolCallRequest) -> str:
    """Name a long result by the number of its call."""
    return f"r{_number_of(request)}"


def _number_of(request: ToolCallRequest) -> int:
    """Count a call among the milestone's, from 1."""
    state = request.state
    return len(tally_of(state)["calls"]) + index_of_call(pending_calls(state["messages"]), request.tool_call) + 1


def as_react_tool(tool: BaseTool) -> BaseTool:
    """Make a tool fit for a ReAct loop that ends with a report, in sync and in async code.

    Its result always goes back to the model, whatever its `return_direct` says. One that exists only as a coroutine can
    be called in sync code too, on an event loop of its own; one that only blocks is called in async code in a thread of
    its own.
    """
    tool = tool.model_copy(update={"return_direct": False})
    tool = tool.model_copy(update={"_arun": _outlived(tool._arun)})
    return tool.model_copy(update={"invoke": partial(_invoke, tool), "ainvoke": partial(_ainvoke, tool)})


def _invoke(tool: BaseTool, *args: Any, **kwargs: Any) -> Any:
    """Call a tool in sync code, as a coroutine if it is nothing else."""
    try:
        return tool.invoke(*args, **kwargs)
    except NotImplementedError as error:
        if not (_is_async(tool) and _is_raised_in("_run", error)):
            raise
    return asyncio.run(tool.ainvoke(*args, **kwargs))


async def _ainvoke(tool: BaseTool, *args: Any, **kwargs: Any) -> Any:
    """Call a tool in async code, in a thread if it is no coroutine."""
    if _is_async(tool):
        try:
            return await tool.ainvoke(*args, **kwargs)
        except NotImplementedError as error:
            if not _is_raised_in("_arun", error):
                raise
    return await in_thread(partial(tool.invoke, *args, **kwargs))


def _is_async(tool: BaseTool) -> bool:
    """Tell whether a tool has an async form of its own; LangChain makes one of any tool, by the loop's threads."""
    kind: Any = type(tool)
    if (kind._arun, kind.ainvoke) in {(k._arun, k.ainvoke) for k in (Tool, StructuredTool)}:
        return getattr(tool, "coroutine", None) is not None
    return (kind._arun, kind.arun, kind.ainvoke) != (BaseTool._arun, BaseTool.arun, BaseTool.ainvoke)


def _is_raised_in(name: str, error: BaseException) -> bool:
    """Tell whether a function of this name raised an error itself, and nothing that it called."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and frames[-1][0].f_code.co_name == name


def _outlived(arun: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Keep a coroutine that raises SystemExit from ending the event loop: LangChain runs it in a task of its own."""

    @wraps(arun)
    async def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return await arun(*args, **kwargs)
        except SystemExit:
            raise CallEndedError("SystemExit") from None

    return run
