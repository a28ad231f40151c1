"""The messages of a ReAct loop as they go back to the model: calls and results paired, in an order all services take.

A reply goes back as it came. What has to change in it, such as an id that stood in the conversation before, changes
everywhere at once: providers read a call from the content blocks of its message, or from maps keyed by its id.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage

from plan_execute.agent.executor.scratchpad import CALLS_KEY, tool_message
from plan_execute.agent.state import new_id
from plan_execute.agent.truncation import json_safe, truncate_middle

CALL_BLOCKS = frozenset({"tool_use", "function_call", "custom_tool_call", "tool_call", "tool_call_chunk"})
"""Types of the content blocks in which providers' integrations keep a tool call."""
STAND_IN = "OK."
"""What an AI message says that said nothing, or that has to stand before a human message."""
MALFORMED = "Not run: the arguments are not a JSON object: {}\nSend the call again, with valid JSON."
_SHOWN_ARGS = 200
"""Most characters of a call's malformed arguments that the model is shown."""


def received(reply: AIMessage, before: Sequence[BaseMessage], model_name: str) -> tuple[AIMessage, list[ToolMessage]]:
    """Take a reply into the conversation: its id and those of its calls stay, unless they are missing or repeated.

    LangGraph replaces a message by another one with its id, and models and servers repeat ids or give none. A call with
    malformed arguments becomes one without arguments that has its result already, since services want one for it.

    Args:
        reply: What the model replied.
        before: The conversation so far.
        model_name: The model's, for the metadata of replies that do not name it.

    Returns:
        The reply, and the results of its malformed calls.
    """
    malformed = [ToolCall(name=c["name"] or "unknown", args={}, id=c["id"]) for c in reply.invalid_tool_calls]
    calls: list[ToolCall] = []
    taken = {call["id"] for message in before if isinstance(message, AIMessage) for call in message.tool_calls}
    renamed: dict[str | None, list[str]] = {}
    for call in [*reply.tool_calls, *malformed]:
        unique = call["id"] if call["id"] and call["id"] not in taken else new_id()
        taken.add(unique)
        renamed.setdefault(call["id"] or None, []).append(unique)
        calls.append(ToolCall(name=call["name"], args=json_safe(call["args"]), id=unique, type="tool_call"))
    known = {message.id for message in before}
    update: dict[str, Any] = {
        "id": reply.id if reply.id and reply.id not in known else new_id(),
        "tool_calls": calls,
        "invalid_tool_calls": [],
        "response_metadata": {"model_name": model_name, **reply.response_metadata, CALLS_KEY: new_id()},
    }
    if malformed or any(old != new for old, ids in renamed.items() for new in ids):
        update["content"] = _with_ids(reply.content, renamed)
        update["additional_kwargs"] = {key: _with_ids(item, renamed) for key, item in reply.additional_kwargs.items()}
    results = [
        tool_message(call, MALFORMED.format(truncate_middle(invalid["args"] or "", _SHOWN_ARGS)), "bad_arguments")
        for call, invalid in zip(calls[len(reply.tool_calls) :], reply.invalid_tool_calls, strict=True)
    ]
    return reply.model_copy(update=update), results


def sendable(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Put messages into a form that the strictest service takes.

    Anthropic, Bedrock and Mistral refuse an AI message without text or calls, Mistral a human message right after the
    result of a tool, and some chat templates of open-weights models one after another human message.
    """
    ordered: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, AIMessage) and not message.tool_calls and not message.text.strip():
            ordered.append(AIMessage(STAND_IN, id=message.id))
            continue
        if isinstance(message, HumanMessage) and ordered and isinstance(ordered[-1], HumanMessage | ToolMessage):
            ordered.append(AIMessage(STAND_IN))
        ordered.append(message)
    return ordered


def _with_ids(value: Any, renamed: Mapping[str | None, Sequence[str]]) -> Any:
    """Put the new ids of calls into content blocks, into calls as a provider sent them, and into the keys of maps."""
    ids = {old: iter(new) for old, new in renamed.items()}

    def rename(value: Any) -> Any:
        if isinstance(value, list):
            return [rename(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("type") == "invalid_tool_call":
            value = {"type": "tool_call", "id": value.get("id"), "name": value.get("name") or "unknown", "args": {}}
        if value.get("type") in CALL_BLOCKS or "function" in value:
            key = "call_id" if "call_id" in value else "id"
            return {**value, key: next(ids.get(value.get(key) or None, iter(())), value.get(key))}
        return {new: item for key, item in value.items() for new in renamed.get(key, [key])}

    return rename(value)
