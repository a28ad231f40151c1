"""Side effects once: a call that changes the world is not repeated by a resume, a retry or a replan."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, cast

from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from plan_execute.agent.context import Context
from plan_execute.agent.events import now
from plan_execute.agent.executor.scratchpad import Scratchpad, ScratchpadState, tally_of
from plan_execute.agent.failures import leaves_outcome_unknown
from plan_execute.agent.interrupts import active_checkpointer
from plan_execute.agent.llm.calls import Call, Steps, adrive, drive
from plan_execute.agent.state import Effect, FailureCode, LogEntry, ToolCallRecord
from plan_execute.agent.truncation import SHOWN_LIMIT, sanitize, truncate_middle

OUTCOME_UNKNOWN: FailureCode = "outcome_unknown"
"""The class of failure of a call that may have changed the world."""
MAY_HAVE_ACTED = frozenset({OUTCOME_UNKNOWN, "transient", "timeout"})
"""Classes of failure after which the work may have been done."""
CUT_SHORT = "Not run: this very call was under way when the run was stopped; whether it had an effect is unknown."
NOT_SETTLED = "Not run: this very call was made before, and whether it had an effect is unknown."


def has_effect(tool: BaseTool | None) -> bool:
    """Whether a tool declares that it changes the world: `metadata={"effect": "effect"}`."""
    return tool is not None and (tool.metadata or {}).get("effect") == "effect"


def is_at_most_once(tool: BaseTool | None) -> bool:
    """Whether a call of this tool must not be made twice.

    It must where the tool changes the world, unless it declares that doing it twice is like doing it once:
    `metadata={"effect": "effect", "idempotent": True}`. A tool can see to that itself with the key that LangChain's
    `InjectedToolCallId` gives it; see `idempotency_key`.
    """
    return tool is not None and has_effect(tool) and not (tool.metadata or {}).get("idempotent")


def call_key(tool: str, args: Mapping[str, Any]) -> str:
    """What makes two calls the same: the tool and its arguments, whatever their order."""
    return hashlib.sha256(json.dumps([tool, args], sort_keys=True, default=str).encode()).hexdigest()[:24]


def unknown_outcomes(calls: Sequence[ToolCallRecord]) -> list[ToolCallRecord]:
    """Those of a milestone's calls of which nobody knows whether they changed the world, each once."""
    return list(
        {call_key(call["tool"], call["args"]): call for call in calls if call["code"] == OUTCOME_UNKNOWN}.values()
    )


def may_have_acted(call: ToolCallRecord) -> bool:
    """Whether a call changed the world, or may have."""
    return call.get("effect", False) and (call["ok"] or call["code"] in MAY_HAVE_ACTED)  # older releases kept less


def effects_before(log: Sequence[LogEntry], milestone: str, revision: int) -> dict[str, Effect]:
    """What earlier attempts at a milestone, and earlier plans, did to the world, by `call_key`.

    Other milestones of the same plan do not count: two of them may well mean to do the same.
    """
    effects: dict[str, Effect] = {}
    for entry in log:
        kind = entry["type"]
        if kind not in {"milestone_finished", "user_answered"}:
            continue
        if entry["milestone"] != milestone and entry["revision"] >= revision:
            continue
        for call in entry.get("tool_calls", ()):
            if effect := _effect_of(call):
                key = call_key(call["tool"], call["args"])
                # What was done stays done: a call that was held back for it answers with its answer.
                effects[key] = effects[key] if key in effects and effects[key]["outcome"] == "done" else effect
        if settled := entry.get("call"):
            match entry["rule"]:
                case "approve":
                    effects.pop(settled, None)
                case "respond":
                    effects[settled] = Effect(outcome="done", answer=entry["answer"], key="")
    return effects


def result_without_call(request: ToolCallRequest, pad: Scratchpad) -> ToolMessage | None:
    """The answer in place of a call that was made before, or may have been; None for one that may be made."""
    call, key = request.tool_call, _key_of(request)
    effect = pad.effects.get(key)
    outcome = effect["outcome"] if effect else None
    if effect is not None and outcome == "done":
        said = f" Its answer was:\n{effect['answer']}" if effect["answer"] else ""
        text = f"Already done: this very call succeeded earlier in this run, so it is not repeated.{said}"
        return ToolMessage(text, tool_call_id=call["id"], name=call["name"])
    calls = unknown_outcomes(pad.tally["calls"])
    if is_at_most_once(request.tool) and (
        outcome == "unknown" or any(call_key(c["tool"], c["args"]) == key for c in calls)
    ):
        return _unknown(call, NOT_SETTLED)
    return None


def idempotency_key(request: ToolCallRequest) -> str:
    """The key under which a service that can do so does the work of this call once.

    It is the call's id, which stays the same in whatever process the call is made again; or that of an earlier call
    with the same arguments whose outcome is open, in this attempt or before it.
    """
    own, key = str(request.tool_call["id"]), _key_of(request)
    run = request.state.get("run")
    effect = run["effects"].get(key) if run else None
    if effect is not None and effect["outcome"] != "done":
        return effect["key"] or own
    calls = tally_of(request.state)["calls"]
    same = (call for call in calls if call["code"] in MAY_HAVE_ACTED and call_key(call["tool"], call["args"]) == key)
    return next((call["key"] for call in same if "key" in call), own)


def started_call(request: ToolCallRequest) -> ToolCallRequest | None:
    """The call as a process that was stopped began it, with the arguments a person gave it; None if none did."""
    receipt, call = _find_receipt(request), request.tool_call
    found = receipt and receipt.saver.get_tuple(receipt.place)
    if not found or "failed" in found.metadata:
        return None
    args: str = found.metadata["args"]  # type: ignore[typeddict-item]  # a fact of ours
    return request.override(tool_call={**call, "args": json.loads(args)})


class ReceiptMiddleware(AgentMiddleware[ScratchpadState, Context]):
    """Puts a receipt beside the thread's checkpoints before a call that must not be made twice, and another after it.

    So a process that finds a call in its checkpoint knows whether it was begun, and if it was ended, with what answer:
    it makes it, or does not know, or goes on with the answer. A receipt is a row of the checkpointer in a namespace of
    the call's own, as durable as the checkpoints are. It has to be the innermost middleware, next to the tool: what
    other middleware repeats is held back, too.
    """

    state_schema = ScratchpadState

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Make a call in sync code, unless it was begun."""
        return drive(self._call_once(request, handler)) if has_effect(request.tool) else handler(request)

    def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> Coroutine[Any, Any, ToolMessage | Command[Any]]:
        """Make a call in async code, unless it was begun."""
        if not has_effect(request.tool):
            return cast("Coroutine[Any, Any, ToolMessage | Command[Any]]", handler(request))
        return adrive(self._call_once(request, handler))

    def _call_once(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]
    ) -> Steps[ToolMessage | Command[Any]]:
        key = idempotency_key(request)
        receipt = _find_receipt(request)
        if receipt is None:
            call = partial(handler, _under(request, key))
            return _answering(request, (yield Call(call, call)), key)
        found = yield receipt.read()
        if found is not None and "failed" not in found.metadata:
            return _recalled(request, found.metadata)
        yield receipt.begun()
        call = partial(handler, request)
        try:
            answer = yield Call(call, call)
        except Exception as error:  # whatever it is, it is noted what it says of the call
            if not leaves_outcome_unknown(error):
                yield receipt.failed()
            raise
        yield receipt.ended(answer)
        return cast("ToolMessage | Command[Any]", answer)


class _Receipt(NamedTuple):
    """Where the receipt of a call is kept."""

    saver: BaseCheckpointSaver[Any]
    place: RunnableConfig
    facts: dict[str, Any]

    def read(self) -> Call:
        """Read the newest receipt of the call."""
        return Call(partial(self.saver.get_tuple, self.place), partial(self.saver.aget_tuple, self.place))

    def begun(self) -> Call:
        """Write before the call that it begins."""
        return self._write({"begun": now()})

    def ended(self, answer: ToolMessage | Command[Any]) -> Call:
        """Write after the call what its tool answered."""
        message = answer if isinstance(answer, ToolMessage) else ToolMessage("Done.", tool_call_id="")
        text = truncate_middle(sanitize(message.text), SHOWN_LIMIT)
        return self._write({"ended": now(), "answer": text, "ok": message.status != "error"})

    def failed(self) -> Call:
        """Write after the call that its tool says it failed, so that it may be made again."""
        return self._write({"failed": now()})

    def _write(self, facts: dict[str, Any]) -> Call:
        row: tuple[Any, ...] = (
            self.place,
            empty_checkpoint(),
            {"source": "update", "step": 0, **self.facts, **facts},
            {},
        )
        return Call(partial(self.saver.put, *row), partial(self.saver.aput, *row))


def _find_receipt(request: ToolCallRequest) -> _Receipt | None:
    """None for a call that may be repeated, or where nothing is kept and so nothing is resumed."""
    if not is_at_most_once(request.tool) or (saver := active_checkpointer()) is None:
        return None
    call = request.tool_call
    configurable = request.runtime.config["configurable"]
    place = {"thread_id": configurable["thread_id"], "checkpoint_ns": f"effect:{call['id']}"}
    facts = {
        "milestone": request.state["brief"]["id"],
        "tool": call["name"],
        "call": call_key(call["name"], call["args"]),
        "args": json.dumps(call["args"]),
        "parents": configurable.get("checkpoint_map", {}),
    }
    return _Receipt(saver, {"configurable": place}, facts)


def _recalled(request: ToolCallRequest, receipt: Mapping[str, Any]) -> ToolMessage:
    """The answer to a call that another process began."""
    call = request.tool_call
    if "ended" not in receipt:
        return _unknown(call, CUT_SHORT)
    status = "success" if receipt["ok"] else "error"
    return ToolMessage(receipt["answer"], tool_call_id=call["id"], name=call["name"], status=status)


def _effect_of(call: ToolCallRecord) -> Effect | None:
    if not may_have_acted(call):
        return None
    outcome: Literal["done", "unknown", "open"]
    outcome = "done" if call["ok"] else "unknown" if call["code"] == OUTCOME_UNKNOWN else "open"
    return Effect(outcome=outcome, answer=call.get("answer", ""), key=call.get("key", ""))


def _key_of(request: ToolCallRequest) -> str:
    return call_key(request.tool_call["name"], request.tool_call["args"])


def _under(request: ToolCallRequest, key: str) -> ToolCallRequest:
    """The call with another id, which is what its tool is told as the key."""
    return request if key == request.tool_call["id"] else request.override(tool_call={**request.tool_call, "id": key})


def _answering(request: ToolCallRequest, answer: ToolMessage | Command[Any], key: str) -> ToolMessage | Command[Any]:
    """The answer to a call that was made under another id, as the answer to the call of the model."""
    own = request.tool_call["id"]
    if key == own:
        return answer
    if isinstance(answer, ToolMessage):
        return answer.model_copy(update={"tool_call_id": own})
    update = answer.update if isinstance(answer.update, dict) else {}
    said = [m for m in update.get("messages", ()) if isinstance(m, ToolMessage) and m.tool_call_id == key]
    return replace(answer, update={**update, "messages": [m.model_copy(update={"tool_call_id": own}) for m in said]})


def _unknown(call: Mapping[str, Any], text: str) -> ToolMessage:
    failure = {"failure": OUTCOME_UNKNOWN}
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error", additional_kwargs=failure)
