"""Receipts: a call that changes the world is made at most once, whatever is resumed, retried or planned again."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, cast

from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from plan_execute.agent.codes import FailureCode
from plan_execute.agent.context import Context
from plan_execute.agent.events import now
from plan_execute.agent.executor.scratchpad import CALLS_KEY, Scratchpad, ScratchpadState, tally_of, tool_message
from plan_execute.agent.failures import leaves_outcome_unknown
from plan_execute.agent.interrupts import active_checkpointer
from plan_execute.agent.llm.calls import Call, Steps, adrive, drive
from plan_execute.agent.state import Effect, LogEntry, ToolCallRecord
from plan_execute.agent.truncation import SHOWN_LIMIT, sanitize, truncate_middle
from plan_execute.agent.trust.tool_kinds import is_idempotent, kind_of

OUTCOME_UNKNOWN: FailureCode = "outcome_unknown"
"""The class of failure of a call that may have changed the world, and is not made again."""
MAY_HAVE_ACTED = frozenset({OUTCOME_UNKNOWN, "transient", "timeout"})
"""Classes of failure after which a call may have had its effect."""
ANSWERS_LIMIT = 12_000
"""Most characters of the answers of all earlier effects together that a milestone is given, in equal shares."""
UNFINISHED = "Not run: this very call was under way when the run stopped; whether it had an effect is unknown."
UNSETTLED = "Not run: this very call was made before, and whether it had an effect is unknown."


def has_effect(tool: BaseTool | None) -> bool:
    """Tell whether a tool changes the world: it declares it, or its MCP hints do not say that it only reads."""
    return kind_of(tool) == "effect"


def is_at_most_once(tool: BaseTool | None) -> bool:
    """Tell whether a call of this tool is made at most once.

    It is where the tool changes the world, unless it declares that it is idempotent, or an MCP hint does:
    `metadata={"effect": "effect", "idempotent": True}`. A tool can make itself so with the idempotency key that it gets
    through LangChain's `InjectedToolCallId`; see `idempotency_key`.
    """
    return has_effect(tool) and not is_idempotent(tool)


def call_key(tool: str, args: Mapping[str, Any]) -> str:
    """Hash what makes two calls the same: the tool and its arguments, in any order."""
    return hashlib.sha256(json.dumps([tool, args], sort_keys=True, default=str).encode()).hexdigest()[:24]


def unknown_outcomes(calls: Sequence[ToolCallRecord]) -> list[ToolCallRecord]:
    """Return the calls of which it is unknown whether they changed the world, each once."""
    return list(
        {call_key(call["tool"], call["args"]): call for call in calls if call["code"] == OUTCOME_UNKNOWN}.values()
    )


def may_have_acted(call: ToolCallRecord) -> bool:
    """Tell whether a call changed the world, or may have."""
    return call.get("effect", False) and (call["ok"] or call["code"] in MAY_HAVE_ACTED)  # older releases stored less


def effects_before(log: Sequence[LogEntry], milestone: str, revision: int, tools: Collection[str]) -> dict[str, Effect]:
    """Collect what earlier attempts at a milestone, and earlier plans, did to the world, by `call_key`.

    Other milestones of the same plan do not count: two of them may make the same call on purpose. All answers together
    have at most `ANSWERS_LIMIT` characters, because every milestone is stored with them.

    Args:
        log: The run's.
        milestone: The id of the milestone.
        revision: The revision of the plan that it belongs to.
        tools: The tools it is granted; it can make no other call.
    """
    effects: dict[str, Effect] = {}
    for entry in log:
        kind = entry["type"]
        if kind not in {"milestone_finished", "user_answered"}:
            continue
        if entry["milestone"] != milestone and entry["revision"] >= revision:
            continue
        for call in entry.get("tool_calls", ()):
            if call["tool"] in tools and (effect := _effect_of(call)):
                key = call_key(call["tool"], call["args"])
                # What is done stays done: a later record of the same call is that of a call that was not repeated.
                effects[key] = effects[key] if key in effects and effects[key]["outcome"] == "done" else effect
        if settled := entry.get("call"):
            match entry["rule"]:
                case "approve":
                    effects.pop(settled, None)
                case "respond":
                    effects[settled] = Effect(outcome="done", answer=entry["answer"], key="")
    share = min(SHOWN_LIMIT, ANSWERS_LIMIT // max(len(effects), 1))
    return {
        key: Effect(outcome=e["outcome"], answer=truncate_middle(e["answer"], share), key=e["key"])
        for key, e in effects.items()
    }


def result_without_call(request: ToolCallRequest, pad: Scratchpad) -> ToolMessage | None:
    """Make the result of a call that was made before, or may have been; None for a call that may be made."""
    call, key = request.tool_call, _key_of(request)
    effect = pad.effects.get(key)
    outcome = effect["outcome"] if effect else None
    if effect is not None and outcome == "done":
        result = f" Its result was:\n{effect['answer']}" if effect["answer"] else ""
        said = "Already done: this very call succeeded earlier in this run."
        message = tool_message(call, f"{said}{result}")
        message.additional_kwargs["preamble"] = len(message.text) - len(effect["answer"])
        return message
    calls = unknown_outcomes(pad.tally["calls"])
    if is_at_most_once(request.tool) and (
        outcome == "unknown" or any(call_key(c["tool"], c["args"]) == key for c in calls)
    ):
        return tool_message(call, UNSETTLED, OUTCOME_UNKNOWN)
    return None


def idempotency_key(request: ToolCallRequest) -> str:
    """Return the idempotency key of a call, under which a service that can do so carries it out once.

    It is the call's own, which stays the same in any process that makes the call again; or that of an earlier call with
    the same arguments whose outcome is open, in this attempt or before it.
    """
    own, key = _own_key(request), _key_of(request)
    run = request.state.get("run")
    effect = run["effects"].get(key) if run else None
    if effect is not None and effect["outcome"] != "done":
        return effect["key"] or own
    calls = tally_of(request.state)["calls"]
    same = (call for call in calls if call["code"] in MAY_HAVE_ACTED and call_key(call["tool"], call["args"]) == key)
    return next((call["key"] for call in same if "key" in call), own)


def started_call(request: ToolCallRequest) -> ToolCallRequest | None:
    """Return the call as a stopped process started it, with the arguments a person gave it; None if none did."""
    receipt, call = _receipt_of(request), request.tool_call
    row = receipt and receipt.saver.get_tuple(receipt.place)
    if not row or "failed" in row.metadata:
        return None
    args: str = row.metadata["args"]  # type: ignore[typeddict-item]  # a field of ours
    return request.override(tool_call={**call, "args": json.loads(args)})


def results_in(command: Command[Any], call_id: str | None) -> list[ToolMessage]:
    """Return the results of a call in a `Command` that its tool returned."""
    update = command.update if isinstance(command.update, dict) else {}
    return [m for m in update.get("messages", ()) if isinstance(m, ToolMessage) and m.tool_call_id == call_id]


class ReceiptMiddleware(AgentMiddleware[ScratchpadState, Context]):
    """Writes a receipt beside the thread's checkpoints before a call that is made at most once, and another after it.

    So a process that finds a call in its checkpoint knows whether it was started, and whether it ended with which
    result: it makes the call, reports its outcome as unknown, or goes on with the result. A receipt is a row of the
    checkpointer in a namespace of its own for each call, as durable as the checkpoints are. This has to be the
    innermost middleware, next to the tool, so that it also stops calls that other middleware repeats.
    """

    state_schema = ScratchpadState

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Make a call in sync code, unless it was started."""
        return drive(self._call_once(request, handler)) if has_effect(request.tool) else handler(request)

    def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> Coroutine[Any, Any, ToolMessage | Command[Any]]:
        """Make a call in async code, unless it was started."""
        if not has_effect(request.tool):
            return cast("Coroutine[Any, Any, ToolMessage | Command[Any]]", handler(request))
        return adrive(self._call_once(request, handler))

    def _call_once(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]
    ) -> Steps[ToolMessage | Command[Any]]:
        key = idempotency_key(request)
        receipt = _receipt_of(request)
        call = partial(handler, _with_key(request, key))
        if receipt is None:
            return _without_key(request, (yield Call(call, call)), key)
        row = yield receipt.read()
        if row is not None and "failed" not in row.metadata:
            return _result_of(row.metadata, request.tool_call)
        yield receipt.write(begun=now())
        try:
            result = _without_key(request, (yield Call(call, call)), key)
        except Exception as error:
            if not leaves_outcome_unknown(error):
                yield receipt.write(failed=now())
            raise
        message = result if isinstance(result, ToolMessage) else ToolMessage("Done.", tool_call_id="")
        text = truncate_middle(sanitize(message.text), SHOWN_LIMIT)
        yield receipt.write(ended=now(), answer=text, ok=message.status != "error")
        return result


class _Receipt(NamedTuple):
    """The receipt of a call: where it is stored, and the fields that all its rows have."""

    saver: BaseCheckpointSaver[Any]
    place: RunnableConfig
    fields: dict[str, Any]

    def read(self) -> Call:
        """Read the latest row."""
        return Call(partial(self.saver.get_tuple, self.place), partial(self.saver.aget_tuple, self.place))

    def write(self, **fields: Any) -> Call:
        """Write a row: `begun` before the call, `failed` after one that may be repeated, `ended` with a result."""
        metadata = {"source": "update", "step": 0, **self.fields, **fields}
        row: tuple[Any, ...] = (self.place, empty_checkpoint(), metadata, {})
        return Call(partial(self.saver.put, *row), partial(self.saver.aput, *row))


def _receipt_of(request: ToolCallRequest) -> _Receipt | None:
    """Return the receipt of a call; None for one that may be repeated, or without a checkpointer."""
    if not is_at_most_once(request.tool) or (saver := active_checkpointer()) is None:
        return None
    call = request.tool_call
    configurable = request.runtime.config["configurable"]
    place = {"thread_id": configurable["thread_id"], "checkpoint_ns": f"effect:{_own_key(request)}"}
    fields = {
        "milestone": request.state["brief"]["id"],
        "tool": call["name"],
        "call": call_key(call["name"], call["args"]),
        "args": json.dumps(call["args"]),
        "parents": configurable.get("checkpoint_map", {}),
    }
    return _Receipt(saver, {"configurable": place}, fields)


def _result_of(receipt: Mapping[str, Any], call: ToolCall) -> ToolMessage:
    """Make the result of a call that another process started."""
    if "ended" not in receipt:
        return tool_message(call, UNFINISHED, OUTCOME_UNKNOWN)
    status = "success" if receipt["ok"] else "error"
    return ToolMessage(receipt["answer"], tool_call_id=call["id"], name=call["name"], status=status)


def _effect_of(call: ToolCallRecord) -> Effect | None:
    if not may_have_acted(call):
        return None
    outcome: Literal["done", "unknown", "open"]
    outcome = "done" if call["ok"] else "unknown" if call["code"] == OUTCOME_UNKNOWN else "open"
    return Effect(outcome=outcome, answer=call.get("answer", ""), key=call.get("key", ""))


def _own_key(request: ToolCallRequest) -> str:
    """Return what no other call has: the key of its AI message with its id, because services give ids out again."""
    messages, call = request.state["messages"], str(request.tool_call["id"])
    last = next((message for message in reversed(messages) if isinstance(message, AIMessage)), None)
    key = last.response_metadata.get(CALLS_KEY) if last is not None else None
    return f"{key}-{call}" if key else call  # threads of older releases have ids of our own


def _key_of(request: ToolCallRequest) -> str:
    return call_key(request.tool_call["name"], request.tool_call["args"])


def _with_key(request: ToolCallRequest, key: str) -> ToolCallRequest:
    """Give a call its idempotency key as id, because the id is what its tool is told."""
    return request if key == request.tool_call["id"] else request.override(tool_call={**request.tool_call, "id": key})


def _without_key(request: ToolCallRequest, result: ToolMessage | Command[Any], key: str) -> ToolMessage | Command[Any]:
    """Give the result of a call that was made under its idempotency key the id of the model's call."""
    own = {"tool_call_id": request.tool_call["id"]}
    if key == request.tool_call["id"]:
        return result
    if isinstance(result, ToolMessage):
        return result.model_copy(update=own)
    update = result.update if isinstance(result.update, dict) else {}
    messages = [message.model_copy(update=own) for message in results_in(result, key)]
    return replace(result, update={**update, "messages": messages})
