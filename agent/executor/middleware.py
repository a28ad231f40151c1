"""The guard: holds a ReAct loop to its milestone's tools, limits and time, and to a report that can be believed."""

import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.context import Context
from plan_execute.agent.events import emit
from plan_execute.agent.executor.approval import CallDecision, decide_call
from plan_execute.agent.executor.receipts import has_effect, result_without_call
from plan_execute.agent.executor.scratchpad import (
    REPORT,
    STEPS_FOR_TURN,
    Scratchpad,
    ScratchpadState,
    Tally,
    pending_calls,
    raised_message,
    usage_of,
)
from plan_execute.agent.executor.tool_calls import (
    answer_reader,
    emit_tool_finished,
    error_result,
    refused_result,
    tool_call_update,
    tool_event,
    tool_result_update,
)
from plan_execute.agent.failures import classify_error, describe_error, is_checkpointer_error, retry_after
from plan_execute.agent.interrupts import is_resuming
from plan_execute.agent.llm.calls import Call, CallAbandonedError, Steps, Wait, adrive, drive
from plan_execute.agent.llm.models import compact_forms, find_model
from plan_execute.agent.llm.structured_output import FINAL_CALL_SECONDS
from plan_execute.agent.llm.usage import model_name
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.state import Brief, FailureCode, new_id
from plan_execute.agent.truncation import READER, READER_NAME, json_safe

ERROR_LIMIT = 500
"""Most characters of a tool's error that the model is shown."""
MOST_REPEATS = 3
"""How often the very same tool call may be made in one milestone."""


class ExecutorMiddleware(AgentMiddleware[ScratchpadState, Context]):
    """One agent serves all milestones: the grant is applied to what its model is shown, and again to every call."""

    state_schema = ScratchpadState

    def __init__(self, build: Build, steps: int = STEPS_FOR_TURN) -> None:
        """Take what the graph was built with, and how many LangGraph steps a turn and the last report take in it."""
        super().__init__()
        self.build = build
        self.steps = steps

    def wrap_model_call(
        self, request: ModelRequest[Context], handler: Callable[[ModelRequest[Context]], ModelResponse[Any]]
    ) -> ExtendedModelResponse[Any]:
        """Take one turn of the model in sync code."""
        return drive(self._turn(request, handler))

    # No coroutine functions, only functions that return one: around a coroutine function LangChain puts LangSmith's
    # tracer, which changes threads twice at each call, whether anything is traced or not.
    def awrap_model_call(
        self,
        request: ModelRequest[Context],
        handler: Callable[[ModelRequest[Context]], Awaitable[ModelResponse[Any]]],
    ) -> Coroutine[Any, Any, ExtendedModelResponse[Any]]:
        """Take one turn of the model in async code."""
        return adrive(self._turn(request, handler))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> Command[Any]:
        """Make a granted call in sync code."""
        return drive(self._call_tool(request, handler))

    def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> Coroutine[Any, Any, Command[Any]]:
        """Make a granted call in async code."""
        return adrive(self._call_tool(request, handler))

    def _turn(
        self, request: ModelRequest[Context], handler: Callable[[ModelRequest[Context]], Any]
    ) -> Steps[ExtendedModelResponse[Any]]:
        """Ask the model, and add what it cost to the tally; what a provider raises is the milestone's failure."""
        began = time.monotonic()
        pad = Scratchpad(request.state, self.build)
        try:
            response = yield from self._ask(request, handler, pad)
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001 - a provider may raise anything; the milestone says what it was
            response = reply_for_error(error)
        tally = Tally(
            turns=sum(isinstance(message, AIMessage) for message in response.result),
            usage=usage_of(response.result, pad.context.prices),
            seconds=time.monotonic() - began,
        )
        return ExtendedModelResponse(response, Command(update={"tally": tally}))

    def _ask(
        self, request: ModelRequest[Context], handler: Callable[[ModelRequest[Context]], Any], pad: Scratchpad
    ) -> Steps[ModelResponse[Any]]:
        """Ask with the milestone's model and tools; nudge the model once if it answers in plain text."""
        brief, context = pad.brief, pad.context
        if "wait" in brief and not any(isinstance(m, AIMessage) for m in pad.messages):
            yield Wait(brief["wait"])
        seconds = min(pad.seconds_left, max(pad.run_seconds_left, FINAL_CALL_SECONDS))
        if seconds <= 0:
            raise CallAbandonedError("no time is left for another model call")
        if pad.tally["turns"] >= context.max_model_calls:  # middleware may send the loop back to the model
            return ModelResponse(result=[raised_message("limit", f"{context.max_model_calls} model calls are made")])

        def put(request: ModelRequest[Context]) -> Call:
            return Call(partial(handler, request), partial(handler, request), seconds)

        limit = pad.limit_reached(self.steps)
        model = yield from executor_model(brief, context)
        forms = compact_forms(model)
        request = request.override(
            model=forms.executor_model(brief) if forms else model,
            tools=[] if limit else self._tools(pad),
            messages=[*request.messages, HumanMessage(prompts.last_call(limit))] if limit else request.messages,
        )
        response: ModelResponse[Any] = yield put(request)
        said = response.result[0]
        may_nudge = pad.tally["turns"] + 2 < context.max_model_calls
        if isinstance(said, AIMessage) and not said.tool_calls and not limit and may_nudge:
            nudge = HumanMessage(prompts.NUDGE, id=new_id())
            again: ModelResponse[Any] = yield put(request.override(messages=[*request.messages, said, nudge]))
            response = ModelResponse(result=[said, nudge, *again.result], structured_response=again.structured_response)
        response = with_own_ids(response, model_name(model))
        if limit and response.structured_response is None:
            return ModelResponse(result=[without_calls(response)])
        return checked_report(response, pad, last=bool(limit))

    def _call_tool(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Steps[Command[Any]]:
        """Make a call, unless it is refused or answered without its tool; what a tool raises becomes its answer."""
        pad = Scratchpad(request.state, self.build)
        began = time.monotonic()
        if refused := self._answer_without_tool(request, pad):
            return tool_call_update(CallDecision(request), refused, began)
        decision = CallDecision(request)
        if request.tool_call["name"] in pad.context.approve_tools or is_resuming():
            decision = yield Call(partial(decide_call, request, pad.context.approve_tools))
        emit({**tool_event("tool_started", request), "args": decision.request.tool_call["args"]})
        began = time.monotonic()
        if decision.answer is not None:
            emit_tool_finished(request, decision.answer)
            return tool_call_update(decision, decision.answer, began)
        call = partial(handler, decision.request)
        try:
            answer = yield Call(call, call, min(pad.seconds_left, pad.run_seconds_left))
        except GraphBubbleUp:
            raise
        except Exception as error:  # a tool may raise anything; the model is told
            if is_checkpointer_error(error):
                raise
            answer = error_result(decision.request, error)
        return tool_result_update(decision, answer, began)

    def _answer_without_tool(self, request: ToolCallRequest, pad: Scratchpad) -> ToolMessage | None:
        """The answer to a call that no tool is to see: a refusal, or part of a long text; None for one that may run."""
        call, granted, records = request.tool_call, pad.brief["tools"], pad.tally["calls"]
        batch = pending_calls(pad.messages)
        place = next((i for i, other in enumerate(batch) if other["id"] == call["id"]), 0)
        same = (call["name"], call["args"])
        repeats = sum((r["tool"], r["args"]) == same for r in records)
        repeats += sum((c["name"], c["args"]) == same for c in batch[:place])
        if len(records) + place >= pad.context.tool_call_limit:
            return refused_result(call, "Not run: the limit of tool calls is reached. Report what you have.", "limit")
        if repeats >= MOST_REPEATS:
            text = f"Not run: you made this very call {repeats} times. Use its answer, or try something else."
            return refused_result(call, text, "failed")
        if call["name"] == READER_NAME:
            return answer_reader(call, pad.readable_texts)
        if call["name"] not in granted:
            text = f"{call['name']!r} is not among your tools: {', '.join(granted) or 'none'}."
            return refused_result(call, text, "permission")
        return result_without_call(request, pad) if has_effect(request.tool) else None

    def _tools(self, pad: Scratchpad) -> list[BaseTool | dict[str, Any]]:
        """The granted tools, and the reader where something was cut."""
        tools: list[BaseTool | dict[str, Any]] = [
            self.build.tools[name] for name in pad.brief["tools"] if name in self.build.tools
        ]
        return [*tools, READER] if pad.readable_texts else tools


def executor_model(brief: Brief, context: Context) -> Steps[BaseChatModel]:
    """The model for this attempt: the last of several, or one after an attempt in vain, goes to the planner's.

    That is if the run escalates; what may pass by itself, and what the user has answered, is tried again as it was.
    """
    attempt = brief.get("attempt", 1)
    in_vain = "hint" in brief and not {"wait", "answers"} & brief.keys()
    stronger = context.escalate and attempt > 1 and (in_vain or attempt >= context.max_attempts)
    return (yield from find_model("planner" if stronger else "executor", context))


def checked_report(response: ModelResponse[Any], pad: Scratchpad, *, last: bool) -> ModelResponse[Any]:
    """Send back a report that cannot be believed; an accepted one goes on as plain JSON.

    A claim of success without evidence, or with something missing, goes back once; a second one is left to the
    judgement of the report.
    """
    report = response.structured_response
    if not isinstance(report, MilestoneReport):
        return response
    said = next(message for message in reversed(response.result) if isinstance(message, AIMessage))
    objection = None
    if any(call["name"] != REPORT for call in said.tool_calls):
        objection = prompts.REPORT_ALONE
    elif report.status == "succeeded" and not last:
        doubt = prompts.STILL_MISSING if report.missing else None
        if pad.brief["tools"] and not pad.has_evidence:
            doubt = prompts.NO_EVIDENCE
        told = any(isinstance(m, ToolMessage) and m.content == doubt for m in pad.messages)
        objection = None if told else doubt
    if objection is None:
        return ModelResponse(result=response.result, structured_response=report.model_dump(mode="json"))
    return ModelResponse(
        result=[
            m.model_copy(update={"content": objection, "status": "error"})
            if isinstance(m, ToolMessage) and m.name == REPORT
            else m
            for m in response.result
        ]
    )


def with_own_ids(response: ModelResponse[Any], name: str) -> ModelResponse[Any]:
    """Give every message an id of our own, and every call one that no other bears.

    What is counted is counted from the messages, and LangGraph replaces a message by another of its id; models and
    servers repeat ids, or give none.
    """
    result: list[BaseMessage] = []
    ids: list[tuple[str | None, str]] = []
    for message in response.result:
        if isinstance(message, AIMessage):
            safe = [json_safe(call["args"]) for call in message.tool_calls]
            calls = [
                {**call, "id": new_id(), "args": args} for call, args in zip(message.tool_calls, safe, strict=True)
            ]
            ids = [(old["id"], new["id"]) for old, new in zip(message.tool_calls, calls, strict=True)]
            metadata = {"model_name": name, **message.response_metadata}
            facts = {"id": new_id(), "tool_calls": calls, "response_metadata": metadata}
            result.append(message.model_copy(update=facts))
        elif isinstance(message, ToolMessage):
            new = next((new for old, new in ids if old == message.tool_call_id), message.tool_call_id)
            result.append(message.model_copy(update={"id": new_id(), "tool_call_id": new}))
        else:
            result.append(message)
    return ModelResponse(result=result, structured_response=response.structured_response)


def without_calls(response: ModelResponse[Any]) -> AIMessage:
    """What was said on the last turn, without the calls that would keep the loop going; why a report was no good."""
    said = response.result[0]
    rejected = [m.text for m in response.result if isinstance(m, ToolMessage) and m.name == REPORT]
    return AIMessage(
        said.text,
        id=said.id,
        additional_kwargs={"rejected": _without_advice(rejected[0])} if rejected else {},
        response_metadata=said.response_metadata,
        usage_metadata=said.usage_metadata if isinstance(said, AIMessage) else None,
    )


def reply_for_error(error: Exception) -> ModelResponse[Any]:
    """Stand in for a reply that never came."""
    code: FailureCode = "timeout" if isinstance(error, CallAbandonedError) else classify_error(error)
    advice = " (an executor needs a model that calls tools)" if isinstance(error, NotImplementedError) else ""
    return ModelResponse(result=[raised_message(code, describe_error(error) + advice, retry_after(error))])


def _without_advice(text: str) -> str:
    """LangChain's words about a report that does not fit, less what it says to the model."""
    return re.split(r"\n\s*For further information|\n\s*Please fix", text)[0].removeprefix("Error: ").strip()
