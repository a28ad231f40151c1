"""The guard: holds a ReAct loop to its milestone's tools and limits, and to a report that can be believed."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command
from plan_execute.agent import compact, prompts
from plan_execute.agent.audit import announce
from plan_execute.agent.context import Context
from plan_execute.agent.failures import FailureCode, classify_error, describe_error
from plan_execute.agent.models import is_compact, model_for
from plan_execute.agent.plan import MilestoneReport
from plan_execute.agent.question import aask, ask
from plan_execute.agent.scratchpad import (
    REPORT,
    ScratchpadState,
    call_records,
    model_calls,
    pending_calls,
    raised_message,
)
from plan_execute.agent.setup import Setup
from plan_execute.agent.state import Brief, now
from plan_execute.agent.usage import model_name
from pydantic import Field

ERROR_LIMIT = 500
"""Most characters of a tool's error that the model is shown."""

Turn = Generator[ModelRequest[Context], ModelResponse[Any], ModelResponse[Any]]


class Guard(AgentMiddleware[ScratchpadState, Context]):
    """One agent serves all milestones: the grant is applied to what its model is shown, and again to every call."""

    state_schema = ScratchpadState

    def __init__(self, setup: Setup) -> None:
        """Guard the agent of one graph."""
        super().__init__()
        self.setup = setup

    def wrap_model_call(
        self, request: ModelRequest[Context], handler: Callable[[ModelRequest[Context]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Hold one turn of the model in sync."""
        turn = self._turn(request)
        try:
            asked = next(turn)
            while True:
                asked = turn.send(handler(asked))
        except StopIteration as end:
            return _response(end.value)
        except GraphBubbleUp:
            raise
        except Exception as error:
            return ModelResponse(result=[raised_message(classify_error(error), describe_error(error))])

    async def awrap_model_call(
        self,
        request: ModelRequest[Context],
        handler: Callable[[ModelRequest[Context]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Hold one turn of the model in async."""
        turn = self._turn(request)
        try:
            asked = next(turn)
            while True:
                asked = turn.send(await handler(asked))
        except StopIteration as end:
            return _response(end.value)
        except GraphBubbleUp:
            raise
        except Exception as error:
            return ModelResponse(result=[raised_message(classify_error(error), describe_error(error))])

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Let a granted call through in sync, and turn what it raises into an answer the model can act on."""
        refused = self._admit(request)
        if refused is not None:
            return refused
        try:
            return _announced(request, handler(request))
        except GraphBubbleUp:
            raise
        except Exception as error:
            return _announced(request, _error_message(request.tool_call, error))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Let a granted call through in async."""
        refused = self._admit(request)
        if refused is not None:
            return refused
        try:
            return _announced(request, await handler(request))
        except GraphBubbleUp:
            raise
        except Exception as error:
            return _announced(request, _error_message(request.tool_call, error))

    def _turn(self, request: ModelRequest[Context]) -> Turn:
        """Ask the model with the milestone's model and tools; nudge it once if it answers in plain text."""
        context = self._context(request.state)
        brief: Brief = cast("ScratchpadState", request.state)["brief"]
        messages: Sequence[AnyMessage] = request.state["messages"]
        last = is_last_call(messages, context)
        model = model_for("executor", context)
        request = request.override(
            model=CompactExecutor(model=model, brief=brief) if is_compact(model) else model,
            tools=[] if last else [self.setup.tools[name] for name in brief["tools"] if name in self.setup.tools],
            messages=[*request.messages, HumanMessage(prompts.LAST_CALL)] if last else request.messages,
        )
        response = yield request
        said = response.result[0]
        if isinstance(said, AIMessage) and not said.tool_calls and not last:
            nudge = HumanMessage(prompts.NUDGE)
            again = yield request.override(messages=[*request.messages, said, nudge])
            response = ModelResponse(result=[said, nudge, *again.result], structured_response=again.structured_response)
        for message in response.result:
            if isinstance(message, AIMessage):
                message.response_metadata.setdefault("model_name", model_name(model))
        if last and response.structured_response is None:
            return ModelResponse(result=[_without_calls(said)])
        return _believed(response, brief, messages, last=last)

    def _admit(self, request: ToolCallRequest) -> ToolMessage | None:
        """None for a call that may run, else the answer that refuses it."""
        call, state = request.tool_call, request.state
        granted = state["brief"]["tools"]
        if call["name"] not in granted:
            return _tool_message(call, f"{call['name']!r} is not among your tools: {', '.join(granted) or 'none'}.")
        place = next((i for i, other in enumerate(pending_calls(state["messages"])) if other["id"] == call["id"]), 0)
        if len(call_records(state["messages"])) + place >= self._context(state).tool_call_limit:
            text = "Not run: the limit of tool calls is reached. Report what you have."
            return _tool_message(call, text, "limit")
        announce({**_event("tool_started", request), "args": call["args"]})
        return None

    def _context(self, state: Any) -> Context:
        return self.setup.context(state.get("settings"))


class CompactExecutor(BaseChatModel):
    """A small model in the executor's place: takes the same messages and tools, asks in the compact form."""

    model: BaseChatModel
    brief: Brief
    tools: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "compact-executor"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Offer tools for the next turn."""
        return self.model_copy(update={"tools": [t for t in tools if isinstance(t, BaseTool) and t.name != REPORT]})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = ask(compact.next_turn(self.model, self.brief, self.tools, messages), {"tags": ["nostream"]})
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = await aask(compact.next_turn(self.model, self.brief, self.tools, messages), {"tags": ["nostream"]})
        return ChatResult(generations=[ChatGeneration(message=message)])


def is_last_call(messages: Sequence[AnyMessage], context: Context) -> bool:
    """Whether nothing is left to the model but to report: one model call, or no tool call, remains."""
    return (
        model_calls(messages) >= context.max_model_calls - 1 or len(call_records(messages)) >= context.tool_call_limit
    )


def _believed(
    response: ModelResponse[Any], brief: Brief, messages: Sequence[AnyMessage], *, last: bool
) -> ModelResponse[Any]:
    """Send back a report that cannot be believed; an accepted one goes on as plain JSON.

    A claim of success without evidence goes back once; a second one is left to the judgement of the report.
    """
    report = response.structured_response
    if not isinstance(report, MilestoneReport):
        return response
    said = next(message for message in reversed(response.result) if isinstance(message, AIMessage))
    objection = None
    if any(call["name"] != REPORT for call in said.tool_calls):
        objection = prompts.REPORT_ALONE
    elif report.status == "succeeded" and brief["tools"] and not last:
        shown = any(record["ok"] for record in call_records(messages))
        told = any(isinstance(m, ToolMessage) and m.content == prompts.NO_EVIDENCE for m in messages)
        objection = None if shown or told else prompts.NO_EVIDENCE
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


def _without_calls(said: BaseMessage) -> AIMessage:
    """What was said on the last turn, without the calls that would keep the loop going."""
    return AIMessage(
        said.text, response_metadata=said.response_metadata, usage_metadata=getattr(said, "usage_metadata", None)
    )


def _response(value: object) -> ModelResponse[Any]:
    if not isinstance(value, ModelResponse):
        raise TypeError(f"A turn of the model ended with {value!r} instead of a response.")
    return value


def _announced(request: ToolCallRequest, answer: ToolMessage | Command[Any]) -> ToolMessage | Command[Any]:
    if isinstance(answer, ToolMessage):
        result = prompts.clip(answer.text, prompts.DIGEST_LIMIT)
        announce({**_event("tool_finished", request), "ok": answer.status != "error", "result": result})
    return answer


def _event(kind: str, request: ToolCallRequest) -> dict[str, Any]:
    brief = request.state["brief"]
    place = {"revision": brief.get("revision", 0), "milestone": brief["id"]}
    return {"type": kind, "at": now(), **place, "tool": request.tool_call["name"]}


def _error_message(call: ToolCall, error: Exception) -> ToolMessage:
    said = str(error) if isinstance(error, ToolException) else describe_error(error, ERROR_LIMIT)
    code = "failed" if isinstance(error, ToolException) else classify_error(error)
    return _tool_message(call, said, code)


def _tool_message(call: ToolCall, text: str, code: FailureCode = "failed") -> ToolMessage:
    return ToolMessage(
        prompts.clip(text, ERROR_LIMIT),
        tool_call_id=call["id"],
        name=call["name"],
        status="error",
        additional_kwargs={"failure": code},
    )
