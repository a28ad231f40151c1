"""Side effects once: a call that changes the world is not repeated by a resume, a retry or a replan."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from plan_execute.agent.context import Context
from plan_execute.agent.scratchpad import ScratchpadState
from plan_execute.agent.state import LogEntry, ToolCallRecord

DONE = "Already done: this very call succeeded earlier in this run, so it is not repeated."
UNKNOWN = "Not run: this very call was under way when the run was stopped; whether it had an effect is unknown."


def has_effect(tool: BaseTool | None) -> bool:
    """Whether a tool declares that it changes the world: `metadata={"effect": "effect"}`."""
    return tool is not None and (tool.metadata or {}).get("effect") == "effect"


def may_repeat(tool: BaseTool) -> bool:
    """Whether doing it twice is like doing it once: `metadata={"idempotent": True}`.

    A tool can see to that itself with LangChain's `InjectedToolCallId`: the id of a call is unique and stays the same
    in whatever process it is made again, so it serves as the key under which a service does the work once.
    """
    return bool((tool.metadata or {}).get("idempotent"))


def effects_so_far(log: Sequence[LogEntry]) -> list[ToolCallRecord]:
    """The calls of a run that changed the world, or may have, by its log."""
    calls = (call for entry in log for call in entry.get("tool_calls", ()))
    return [call for call in calls if call["effect"] and (call["ok"] or call["code"] in {"timeout", "interrupted"})]


class EffectsOnce(AgentMiddleware[ScratchpadState, Context]):
    """Holds back what was done, or may have been.

    A call is written down before it is made: the checkpoint with the model's message holds its tool, arguments and id.
    `after_model` is a step of its own behind that checkpoint and notes in memory that the call has not begun. Where a
    process finds a call without that note, another process was about to make it, or did.
    """

    state_schema = ScratchpadState

    def __init__(self) -> None:
        """Begin with no calls noted."""
        super().__init__()
        self._not_begun: set[str] = set()

    def after_model(self, state: ScratchpadState, runtime: Any) -> None:
        """Note which calls have not begun."""
        last = state["messages"][-1]
        if isinstance(last, AIMessage):
            self._not_begun |= {str(call["id"]) for call in last.tool_calls}

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Make a call in sync, unless it was made."""
        return self._held_back(request) or handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Make a call in async, unless it was made."""
        return self._held_back(request) or await handler(request)

    def _held_back(self, request: ToolCallRequest) -> ToolMessage | None:
        """The answer in place of a call that is not to be made."""
        call, tool = request.tool_call, request.tool
        begun = str(call["id"]) not in self._not_begun
        self._not_begun.discard(str(call["id"]))
        if tool is None or not has_effect(tool) or may_repeat(tool):
            return None
        run = request.state.get("run")
        earlier = [e for e in (run["effects"] if run else []) if (e["tool"], e["args"]) == (call["name"], call["args"])]
        if any(record["ok"] for record in earlier):
            return ToolMessage(DONE, tool_call_id=call["id"], name=call["name"])
        if begun or earlier:
            return ToolMessage(
                UNKNOWN,
                tool_call_id=call["id"],
                name=call["name"],
                status="error",
                additional_kwargs={"failure": "interrupted"},
            )
        return None
