"""The executor's middleware: limits a ReAct loop to its milestone's tools, calls and time, and checks its report."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command
from pydantic import ValidationError

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.codes import FailureCode
from plan_execute.agent.context import Context
from plan_execute.agent.errors import validation_problems
from plan_execute.agent.events import emit
from plan_execute.agent.executor.approval import CallDecision, decide_call
from plan_execute.agent.executor.enforced import ask_for_call, ask_for_report, report_tool
from plan_execute.agent.executor.messages import received, sendable
from plan_execute.agent.executor.pinned import (
    DIRECT,
    NO_CALLS,
    is_direct,
    next_message,
    offered_tools,
    read_yields,
    refuse_unpinned,
    uses_tainted,
)
from plan_execute.agent.executor.receipts import has_effect, result_without_call
from plan_execute.agent.executor.scratchpad import (
    REPORT,
    STEPS_FOR_TURN,
    Scratchpad,
    ScratchpadState,
    Tally,
    index_of_call,
    pending_calls,
    raised_message,
    tool_message,
    usage_of,
)
from plan_execute.agent.executor.tool_calls import (
    emit_tool_finished,
    error_result,
    reader_result,
    refused_result,
    tool_call_update,
    tool_event,
    tool_result_update,
)
from plan_execute.agent.failures import classify_error, describe_error, is_checkpointer_error, refusal_in, retry_after
from plan_execute.agent.interrupts import is_resuming
from plan_execute.agent.llm.calls import Call, CallAbandonedError, NoTimeLeftError, Steps, Wait, adrive, drive
from plan_execute.agent.llm.models import compact_forms, find_model, in_threads
from plan_execute.agent.llm.parsing import TEXTUAL, read_textual_calls
from plan_execute.agent.llm.structured_output import FINAL_CALL_SECONDS
from plan_execute.agent.llm.usage import model_name
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.state import Brief, new_id
from plan_execute.agent.truncation import READER, READER_NAME, json_safe

MOST_REPEATS = 3
"""How often one and the same tool call may be made in a milestone."""


class ExecutorMiddleware(AgentMiddleware[ScratchpadState, Context]):
    """Serves all milestones with one agent: grants decide which tools its model is shown, and again which calls run."""

    state_schema = ScratchpadState

    def __init__(self, build: Build, steps: int = STEPS_FOR_TURN) -> None:
        """Take what the graph is built with, and how many LangGraph steps a turn and the last report need in it."""
        super().__init__()
        self.build = build
        self.steps = steps

    def wrap_model_call(
        self, request: ModelRequest[Context], handler: Callable[[ModelRequest[Context]], ModelResponse[Any]]
    ) -> ExtendedModelResponse[Any]:
        """Take one turn of the model in sync code."""
        return drive(self._turn(request, handler))

    # Plain functions that return a coroutine: LangChain wraps coroutine functions in LangSmith's tracer, which switches
    # threads twice for each call, even if nothing is traced.
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
        """Call the model, and add the cost to the tally; what a provider raises is a failure of the milestone."""
        began = time.monotonic()
        pad = Scratchpad(request.state, self.build)
        try:
            response = yield from self._call_model(request, handler, pad)
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            response = reply_for_error(error)
        response = ModelResponse(json_safe(response.result), response.structured_response)
        turns = [message for message in response.result if isinstance(message, AIMessage)]
        tally = Tally(
            turns=sum(not is_direct(message) for message in turns),
            usage=usage_of(response.result, pad.context.prices) or (NO_CALLS if any(map(is_direct, turns)) else {}),
            seconds=time.monotonic() - began,
        )
        return ExtendedModelResponse(response, Command(update={"tally": tally}))

    def _call_model(
        self, request: ModelRequest[Context], handler: Callable[[ModelRequest[Context]], Any], pad: Scratchpad
    ) -> Steps[ModelResponse[Any]]:
        """Call the milestone's model with its tools; nudge it once if it replies in plain text."""
        brief, context = pad.brief, pad.context
        wait = 0.0 if any(isinstance(m, AIMessage) for m in pad.messages) else brief.get("wait", 0.0)
        if wait and wait >= (left := min(pad.seconds_left, pad.run_seconds_left)):
            raise NoTimeLeftError(wait, left, brief.get("hint", ""))
        if wait:
            yield Wait(wait)
        seconds = min(pad.seconds_left - wait, max(pad.run_seconds_left - wait, FINAL_CALL_SECONDS))
        if seconds <= 0:
            raise CallAbandonedError("no time is left for another model call")
        if step := next_message(pad):
            reply, _ = received(step, pad.messages, DIRECT)
            return checked_report(reply, [], pad, last=True)
        if pad.tally["turns"] >= context.max_model_calls:  # other middleware may send the loop back to the model
            return ModelResponse(result=[raised_message("limit", f"it made {context.max_model_calls} model calls")])

        def call(request: ModelRequest[Context]) -> Call:
            return Call(partial(handler, request), partial(handler, request), seconds)

        model = yield from executor_model(brief, context)
        forms = compact_forms(model)
        limit, name = pad.limit_reached(self.steps), model_name(model)
        tools = [] if limit else self._tools(pad)
        request = request.override(
            model=in_threads(forms.executor_model(brief) if forms else model),
            tools=[*tools, report_tool(brief)],
            tool_choice="any" if (model.profile or {}).get("tool_choice") else None,
            response_format=None,  # LangChain would force a call, which not every server takes or enforces
            messages=[*request.messages, HumanMessage(prompts.last_call(limit))] if limit else request.messages,
        )
        if not forms:
            request = request.override(messages=sendable(request.messages))
        names = [tool.name for tool in tools if isinstance(tool, BaseTool)]
        before: list[AnyMessage] = []

        def read(response: ModelResponse[Any]) -> tuple[AIMessage, list[ToolMessage]]:
            reply = response.result[0]
            assert isinstance(reply, AIMessage)
            called = read_textual_calls(reply, names, MilestoneReport)
            if called is not reply and pad.has_made(called.tool_calls):
                called = reply  # a weak model begins its report with the calls it has made
            return received(called, [*pad.messages, *before], name)

        reply, malformed = read((yield call(request)))
        turns_left = context.max_model_calls - pad.tally["turns"]
        if not reply.tool_calls and reply.text and not forms and turns_left >= 2 and (limit or pad.may_report):
            before = [reply, HumanMessage(prompts.PUT_INTO_REPORT, id=new_id())]
            report = yield from ask_for_report(model, pad, reply.text, seconds)
            reply, malformed = received(report, [*pad.messages, *before], name)
        elif turns_left >= 2 and (objection := contradiction(reply, pad)):
            before = [reply, objection]
            report = yield from ask_for_report(model, pad, "", seconds)  # in view of its own words it repeats them
            reply, malformed = received(report, [*pad.messages, *before], name)
        elif not reply.tool_calls and not limit and turns_left > 2 and not refusal_in(reply):
            before = [reply, HumanMessage(prompts.NUDGE, id=new_id())]
            reply, malformed = read((yield call(request.override(messages=sendable([*request.messages, *before])))))
            if not reply.tool_calls and turns_left > 3 and not refusal_in(reply):
                asked = yield from ask_for_call(model, pad, tools, seconds)
                if asked is not None:
                    before += [reply, HumanMessage(prompts.NUDGE, id=new_id())]
                    reply, malformed = received(asked, [*pad.messages, *before], name)
        response = checked_report(reply, malformed, pad, last=bool(limit))
        if limit and response.structured_response is None:
            response = ModelResponse([without_calls(response)])
        return ModelResponse([*before, *response.result], response.structured_response)

    def _call_tool(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Steps[Command[Any]]:
        """Make a call, unless it is refused or needs no tool; what a tool raises becomes its result."""
        pad = Scratchpad(request.state, self.build)
        began = time.monotonic()
        decision = CallDecision(request)
        if result := self._result_without_tool(request, pad):
            return tool_call_update(decision, result, began)
        approved = pad.context.approve_tools
        if pad.context.approve_tainted and uses_tainted(request.tool_call, pad):
            approved = (*approved, request.tool_call["name"])
        if request.tool_call["name"] in approved or is_resuming():
            decision = yield Call(partial(decide_call, request, approved))
        emit({**tool_event("tool_started", request), "args": decision.request.tool_call["args"]})
        began = time.monotonic()
        if decision.result is not None:
            emit_tool_finished(request, decision.result)
            return tool_call_update(decision, decision.result, began)
        call = partial(handler, decision.request)
        try:
            made = yield Call(call, call, min(pad.seconds_left, pad.run_seconds_left))
        except GraphBubbleUp:
            raise
        except Exception as error:
            if is_checkpointer_error(error):
                raise
            made = error_result(decision.request, error)
        return tool_result_update(decision, made, began)

    def _result_without_tool(self, request: ToolCallRequest, pad: Scratchpad) -> ToolMessage | None:
        """Make the result of a call that reaches no tool: a refusal, or part of a long text; None if it may run."""
        call, granted, records = request.tool_call, pad.brief["tools"], pad.tally["calls"]
        batch = pending_calls(pad.messages)
        place = index_of_call(batch, call)
        same = (call["name"], call["args"])
        repeats = sum((r["tool"], r["args"]) == same for r in records)
        repeats += sum((c["name"], c["args"]) == same for c in batch[:place])
        if len(records) + place >= pad.context.tool_call_limit:
            return refused_result(
                call, "Not run: you have reached the limit of tool calls. Report what you have.", "limit"
            )
        if repeats >= MOST_REPEATS:
            text = f"Not run: you made this very call {repeats} times. Use its result, or try something else."
            return refused_result(call, text, "failed")
        if call["name"] == READER_NAME:
            return reader_result(call, pad.truncated_texts)
        if call["name"] not in granted:
            text = f"{call['name']!r} is not among your tools: {', '.join(granted) or 'none'}."
            return refused_result(call, text, "permission")
        last = next((m for m in reversed(pad.messages) if isinstance(m, AIMessage)), None)
        if not is_direct(last) and (text := refuse_unpinned(call, pad) or ""):
            return refused_result(call, text, "permission")
        return result_without_call(request, pad) if has_effect(request.tool) else None

    def _tools(self, pad: Scratchpad) -> list[BaseTool | dict[str, Any]]:
        """Return the granted tools that the model may call, and the reader where something was truncated."""
        tools: list[BaseTool | dict[str, Any]] = [self.build.tools[name] for name in offered_tools(pad)]
        return [*tools, READER] if pad.truncated_texts else tools


def executor_model(brief: Brief, context: Context) -> Steps[BaseChatModel]:
    """Find the model for this attempt: the executor's, or the planner's if the run escalates.

    It escalates on the last attempt, and after a failure that is neither transient nor answered by the user.
    """
    attempt = brief.get("attempt", 1)
    overcome = "hint" in brief and not {"wait", "answers"} & brief.keys()
    stronger = context.escalate and attempt > 1 and (overcome or attempt >= context.max_attempts)
    return (yield from find_model("planner" if stronger else "executor", context))


def checked_report(
    reply: AIMessage, malformed: Sequence[ToolMessage], pad: Scratchpad, *, last: bool
) -> ModelResponse[Any]:
    """Read the report in a reply, if it has one; it is rejected if it is not consistent with what was done.

    A claim of success without evidence, or with something missing, is rejected once; a second one is accepted here, and
    judged when the milestone ends.

    Args:
        reply: The reply of the model.
        malformed: The results of its malformed calls.
        pad: The scratchpad before it.
        last: Whether this was the last turn.

    Returns:
        The reply, followed by the results of its malformed calls and of each report; an accepted report as plain JSON.
    """
    answered = {result.tool_call_id for result in malformed}
    reports = [call for call in reply.tool_calls if call["name"] == REPORT and call["id"] not in answered]
    if not reports:
        return ModelResponse([reply, *malformed])
    report, objection = None, None
    try:
        report = MilestoneReport.model_validate(reports[0]["args"])
    except ValidationError as error:
        objection = prompts.invalid_report(validation_problems(error, "the top")[0])
    values, problems = read_yields(pad, [value.model_dump() for value in report.values] if report else [])
    if len(reply.tool_calls) > 1:
        objection = prompts.REPORT_ALONE
    elif report is not None and report.status == "succeeded" and not last:
        objection = prompts.values_missing(problems) if problems else None
        if report.missing:
            objection = prompts.STILL_MISSING
        if not pad.may_report:
            objection = prompts.NO_EVIDENCE
        if any(isinstance(m, ToolMessage) and m.content == objection for m in pad.messages):
            objection = None
    if report is None or objection is not None:
        rejections = [tool_message(call, objection or "", "failed") for call in reports]
        return ModelResponse([reply, *malformed, *rejections])
    results = [tool_message(reports[0], "Report received.")]
    accepted = report.model_dump(mode="json")
    accepted["values"] = [{"name": name, "value": value} for name, value in values.items()]
    return ModelResponse([reply, *results], accepted)


def contradiction(reply: AIMessage, pad: Scratchpad) -> ToolMessage | None:
    """Object to the report of a model that writes its calls as text, if it contradicts what they have returned."""
    if not reply.response_metadata.get(TEXTUAL) or [call["name"] for call in reply.tool_calls] != [REPORT]:
        return None
    (call,) = reply.tool_calls
    status, result, missing = (call["args"].get(key) for key in ("status", "result", "missing"))
    objection = None
    if status == "failed" and not missing and pad.has_evidence and all(made["ok"] for made in pad.tally["calls"]):
        objection = prompts.NOTHING_FAILED
    elif status == "succeeded" and (figures := pad.ungrounded_figures(str(result))):
        objection = prompts.ungrounded(", ".join(figures))
    return tool_message(call, objection, "failed") if objection else None


def without_calls(response: ModelResponse[Any]) -> AIMessage:
    """Make the reply of the last turn without its tool calls, which would go on, and with why a report failed."""
    reply = response.result[0]
    rejected = [m.text for m in response.result if isinstance(m, ToolMessage) and m.name == REPORT]
    return AIMessage(
        reply.text,
        additional_kwargs={"rejected": rejected[0]} if rejected else {},
        response_metadata=reply.response_metadata,
        usage_metadata=reply.usage_metadata if isinstance(reply, AIMessage) else None,
    )


def reply_for_error(error: Exception) -> ModelResponse[Any]:
    """Make the response that stands for a model call that raised."""
    code: FailureCode = "timeout" if isinstance(error, CallAbandonedError) else classify_error(error)
    advice = " (an executor needs a model that calls tools)" if isinstance(error, NotImplementedError) else ""
    return ModelResponse(result=[raised_message(code, describe_error(error) + advice, retry_after(error))])
