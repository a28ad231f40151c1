"""The guard: holds a ReAct loop to its milestone's tools, limits and time, and to a report that can be believed."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, NamedTuple, cast

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
from plan_execute.agent.executor.approval import CallDecision, needs_approval, request_approval
from plan_execute.agent.executor.receipts import result_without_call
from plan_execute.agent.executor.scratchpad import (
    REPORT,
    STEPS_FOR_TURN,
    ScratchpadState,
    Tally,
    has_evidence,
    limit_reached,
    pending_calls,
    raised_message,
    readable_texts,
    seconds_spent,
    tally_of,
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
from plan_execute.agent.llm.models import compact_forms, model_for
from plan_execute.agent.llm.structured_output import FINAL_CALL_SECONDS, Ended, advance
from plan_execute.agent.llm.timeout import CallAbandonedError, acall_within, call_within
from plan_execute.agent.llm.usage import model_name
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.state import Brief, FailureCode, new_id
from plan_execute.agent.truncation import READER, READER_NAME, json_safe

ERROR_LIMIT = 500
"""Most characters of a tool's error that the model is shown."""
MOST_REPEATS = 3
"""How often the very same tool call may be made in one milestone."""


class ModelCall(NamedTuple):
    """One request to the model, and the seconds there are for it."""

    request: ModelRequest[Context]
    seconds: float


class Wait(NamedTuple):
    """So many seconds before going on."""

    seconds: float


Turn = Generator[ModelCall | Wait, ModelResponse[Any] | None, ModelResponse[Any]]


class ExecutorMiddleware(AgentMiddleware[ScratchpadState, Context]):
    """One agent serves all milestones: the grant is applied to what its model is shown, and again to every call."""

    state_schema = ScratchpadState

    def __init__(self, build: Build, steps: int = STEPS_FOR_TURN) -> None:
        """Guard the agent of one graph, in which a turn and the last report take so many steps."""
        super().__init__()
        self.build = build
        self.steps = steps

    def wrap_model_call(
        self, request: ModelRequest[Context], handler: Callable[[ModelRequest[Context]], ModelResponse[Any]]
    ) -> ExtendedModelResponse[Any]:
        """Hold one turn of the model in sync."""
        turn, began = self._turn(request), time.monotonic()
        try:
            step = next(turn)
            while True:
                if isinstance(step, Wait):
                    time.sleep(step.seconds)
                    step = turn.send(None)
                else:
                    asked = step.request
                    step = turn.send(call_within(step.seconds, lambda: handler(asked)))  # noqa: B023 - called at once
        except StopIteration as end:
            return self._counted(request, end.value, began)
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001 - a provider may raise anything; the milestone says what it was
            return self._counted(request, reply_for_error(error), began)

    async def awrap_model_call(
        self,
        request: ModelRequest[Context],
        handler: Callable[[ModelRequest[Context]], Awaitable[ModelResponse[Any]]],
    ) -> ExtendedModelResponse[Any]:
        """Hold one turn of the model in async."""
        turn, began = self._turn(request), time.monotonic()
        try:
            step = await advance(turn, None)
            while not isinstance(step, Ended):
                if isinstance(step, Wait):
                    await asyncio.sleep(step.seconds)
                    step = await advance(turn, None)
                else:
                    step = await advance(turn, await acall_within(step.seconds, handler(step.request)))
            return await asyncio.to_thread(self._counted, request, step.value, began)
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001 - see `wrap_model_call`
            return self._counted(request, reply_for_error(error), began)

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> Command[Any]:
        """Let a granted call through in sync, and turn what it raises into an answer the model can act on."""
        ruling = self._rule_on(request)
        began = time.monotonic()
        if ruling.answer is not None:
            return tool_call_update(ruling, ruling.answer, began)
        try:
            answer = call_within(self._seconds_for_tool(request.state), lambda: handler(ruling.request))
        except GraphBubbleUp:
            raise
        except Exception as error:  # a tool may raise anything; the model is told
            if is_checkpointer_error(error):
                raise
            answer = error_result(ruling.request, error)
        return tool_result_update(ruling, answer, began)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> Command[Any]:
        """Let a granted call through in async."""
        ruling = await asyncio.to_thread(self._rule_on, request)  # who asks a person writes to the checkpointer
        began = time.monotonic()
        if ruling.answer is not None:
            return tool_call_update(ruling, ruling.answer, began)
        try:
            answer = await acall_within(self._seconds_for_tool(request.state), handler(ruling.request))
        except GraphBubbleUp:
            raise
        except Exception as error:  # a tool may raise anything; the model is told
            if is_checkpointer_error(error):
                raise
            answer = error_result(ruling.request, error)
        return tool_result_update(ruling, answer, began)

    def _turn(self, request: ModelRequest[Context]) -> Turn:
        """Ask the model with the milestone's model and tools; nudge it once if it answers in plain text."""
        context = self._context(request.state)
        state = cast("ScratchpadState", request.state)
        brief, messages = state["brief"], state["messages"]
        if "wait" in brief and not any(isinstance(m, AIMessage) for m in messages):
            yield Wait(brief["wait"])
        seconds = min(self._seconds_left(state), max(context.seconds_left(seconds_spent(state)), FINAL_CALL_SECONDS))
        if seconds <= 0:
            raise CallAbandonedError("no time is left for another model call")
        if tally_of(state)["turns"] >= context.max_model_calls:  # middleware may send the loop back to the model
            return ModelResponse(result=[raised_message("limit", f"{context.max_model_calls} model calls are made")])
        limit = limit_reached(state, context, self.steps)
        model = executor_model(brief, context)
        forms = compact_forms(model)
        request = request.override(
            model=forms.executor_model(brief) if forms else model,
            tools=[] if limit else self._tools(state),
            messages=[*request.messages, HumanMessage(prompts.last_call(limit))] if limit else request.messages,
        )
        response = yield ModelCall(request, seconds)
        assert response is not None
        said = response.result[0]
        may_nudge = tally_of(state)["turns"] + 2 < context.max_model_calls
        if isinstance(said, AIMessage) and not said.tool_calls and not limit and may_nudge:
            nudge = HumanMessage(prompts.NUDGE, id=new_id())
            again = yield ModelCall(request.override(messages=[*request.messages, said, nudge]), seconds)
            assert again is not None
            response = ModelResponse(result=[said, nudge, *again.result], structured_response=again.structured_response)
        response = with_own_ids(response, model_name(model))
        said = response.result[0]
        if limit and response.structured_response is None:
            return ModelResponse(result=[without_calls(response)])
        return checked_report(response, state, last=bool(limit))

    def _rule_on(self, request: ToolCallRequest) -> CallDecision:
        """Whether a call is made: refused or answered without its tool, put before a person, or let through."""
        answer = self._answer_without_tool(request)
        if answer is not None:
            return CallDecision(request, answer)
        ruling = CallDecision(request)
        if needs_approval(request, self._context(request.state).approve_tools):
            ruling = request_approval(request)
        emit({**tool_event("tool_started", request), "args": ruling.request.tool_call["args"]})
        if ruling.answer is not None:
            emit_tool_finished(request, ruling.answer)
        return ruling

    def _answer_without_tool(self, request: ToolCallRequest) -> ToolMessage | None:
        """The answer to a call that no tool is to see: a refusal, or part of a long text; None for one that may run."""
        call, state = request.tool_call, request.state
        brief, records = state["brief"], tally_of(state)["calls"]
        batch = pending_calls(state["messages"])
        place = next((i for i, other in enumerate(batch) if other["id"] == call["id"]), 0)
        same = {"tool": call["name"], "args": call["args"]}
        repeats = sum({"tool": r["tool"], "args": r["args"]} == same for r in records)
        repeats += sum({"tool": c["name"], "args": c["args"]} == same for c in batch[:place])
        if len(records) + place >= self._context(state).tool_call_limit:
            return refused_result(call, "Not run: the limit of tool calls is reached. Report what you have.", "limit")
        if repeats >= MOST_REPEATS:
            text = f"Not run: you made this very call {repeats} times. Use its answer, or try something else."
            return refused_result(call, text, "failed")
        if call["name"] == READER_NAME:
            return answer_reader(call, readable_texts(state))
        if call["name"] not in brief["tools"]:
            text = f"{call['name']!r} is not among your tools: {', '.join(brief['tools']) or 'none'}."
            return refused_result(call, text, "permission")
        return result_without_call(request)

    def _tools(self, state: Mapping[str, Any]) -> list[BaseTool | dict[str, Any]]:
        """The granted tools, and the reader where something was cut."""
        granted = state["brief"]["tools"]
        tools: list[BaseTool | dict[str, Any]] = [
            self.build.tools[name] for name in granted if name in self.build.tools
        ]
        return [*tools, READER] if readable_texts(state) else tools

    def _counted(
        self, request: ModelRequest[Context], response: ModelResponse[Any], began: float
    ) -> ExtendedModelResponse[Any]:
        """Add the turn to the tallies: its calls, what they cost, the time it took."""
        prices = self._context(request.state).prices
        tally = Tally(
            turns=sum(isinstance(message, AIMessage) for message in response.result),
            usage=usage_of(response.result, prices),  # type: ignore[arg-type]  # messages all the same
            seconds=time.monotonic() - began,
        )
        return ExtendedModelResponse(response, Command(update={"tally": tally}))

    def _seconds_for_tool(self, state: Mapping[str, Any]) -> float:
        return min(self._seconds_left(state), self._context(state).seconds_left(seconds_spent(state)))

    def _seconds_left(self, state: Mapping[str, Any]) -> float:
        return self._context(state).milestone_timeout - tally_of(state)["seconds"]

    def _context(self, state: Any) -> Context:
        run = state.get("run")
        return self.build.context(run["settings"] if run else None)


def executor_model(brief: Brief, context: Context) -> BaseChatModel:
    """The model for this attempt: the last of several, or one after an attempt in vain, goes to the planner's.

    That is if the run escalates; what may pass by itself, and what the user has answered, is tried again as it was.
    """
    attempt = brief.get("attempt", 1)
    in_vain = "hint" in brief and not {"wait", "answers"} & brief.keys()
    stronger = context.escalate and attempt > 1 and (in_vain or attempt >= context.max_attempts)
    return model_for("planner" if stronger else "executor", context)


def checked_report(response: ModelResponse[Any], state: ScratchpadState, *, last: bool) -> ModelResponse[Any]:
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
        if state["brief"]["tools"] and not has_evidence(state):
            doubt = prompts.NO_EVIDENCE
        told = any(isinstance(m, ToolMessage) and m.content == doubt for m in state["messages"])
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
            calls = [{**call, "id": new_id(), "args": json_safe(call["args"])} for call in message.tool_calls]
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
