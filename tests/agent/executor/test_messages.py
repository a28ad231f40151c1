"""How replies go back to their provider: as they came, and what is renamed is renamed everywhere."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import ToolCall, invalid_tool_call, tool_call

from plan_execute.agent.executor.messages import STAND_IN, received, sendable

SIGNATURES = "__gemini_function_call_thought_signatures__"
FORMS: dict[str, dict[str, Any]] = {
    "tool_use": {"content": [{"type": "text", "text": "I look."}, {"type": "tool_use", "id": "a", "input": {"x": 1}}]},
    "Responses": {
        "content": [{"type": "reasoning", "id": "rs"}, {"type": "function_call", "call_id": "a", "id": "fc"}]
    },
    "standard": {"content": [{"type": "tool_call", "id": "a", "name": "f", "args": {"x": 1}}]},
    "raw calls": {"content": "", "additional_kwargs": {"tool_calls": [{"id": "a", "function": {"name": "f"}}]}},
    "signatures": {"content": "", "additional_kwargs": {SIGNATURES: {"a": "signed"}}},
    "item ids": {"content": "", "additional_kwargs": {"__openai_function_call_ids__": {"a": "fc"}}},
}


def _call(called: str | None) -> ToolCall:
    return tool_call(name="f", args={"x": 1}, id=called)


def _ids(value: Any) -> list[str]:
    """Everything in a message that stands where an id of a call does, or a key that may be one."""
    if isinstance(value, list):
        return [found for item in value for found in _ids(item)]
    if isinstance(value, dict) and value.get("type") not in {"text", "reasoning"}:
        if {"id", "call_id"} & value.keys():
            return [value.get("call_id") or value["id"]]
        return [*value] if all(isinstance(item, str) for item in value.values()) else _ids([*value.values()])
    return []


@pytest.mark.parametrize("form", FORMS)
def test_reply_goes_back_as_it_came(form: str) -> None:
    reply = AIMessage(**FORMS[form], tool_calls=[_call("a")], id="msg")
    message, results = received(reply, [HumanMessage("Go.")], "model")
    assert (message.content, message.tool_calls, message.id) == (reply.content, reply.tool_calls, "msg")
    assert message.additional_kwargs == reply.additional_kwargs
    assert results == []


@pytest.mark.parametrize("form", FORMS)
def test_id_that_stood_in_the_conversation_before_is_renamed_everywhere(form: str) -> None:
    reply = AIMessage(**FORMS[form], tool_calls=[_call("a")], id="msg")
    message, _ = received(
        reply, [AIMessage("", tool_calls=[_call("a")], id="msg"), ToolMessage("1", tool_call_id="a")], ""
    )
    renamed = message.tool_calls[0]["id"]
    assert renamed != "a"
    assert message.id != "msg"
    assert [*_ids(message.content), *_ids(message.additional_kwargs)] == [renamed]
    assert {"rs", "fc"} & set(str(message).split("'")) == {"rs", "fc"} & set(str(reply).split("'"))


@pytest.mark.parametrize("given", ["a", "", None], ids=["repeated", "empty", "missing"])
def test_ids_within_a_reply_become_unique_in_the_order_of_the_calls(given: str | None) -> None:
    blocks: list[str | dict[Any, Any]] = [{"type": "tool_use", "id": given, "input": {"x": n}} for n in (1, 2)]
    message, _ = received(AIMessage(blocks, tool_calls=[_call(given), _call(given)]), [], "")
    ids = [call["id"] for call in message.tool_calls]
    assert len(set(ids)) == 2
    assert all(ids)
    assert _ids(message.content) == ids


@pytest.mark.parametrize("given", ["a", None])
def test_malformed_call_gets_a_result_and_goes_back_well_formed(given: str | None) -> None:
    malformed = invalid_tool_call(name="f", args='{"x": ', id=given, error="no JSON")
    block: dict[Any, Any] = {"type": "invalid_tool_call", "name": "f", "args": '{"x": ', "id": given}
    message, results = received(AIMessage([block], invalid_tool_calls=[malformed]), [], "")
    assert message.invalid_tool_calls == []
    assert [call["args"] for call in message.tool_calls] == [{}]
    assert [result.tool_call_id for result in results] == [call["id"] for call in message.tool_calls]
    assert _ids(message.content) == [message.tool_calls[0]["id"]]
    assert '{"x": ' in results[0].text
    assert results[0].status == "error"


def test_empty_replies_and_neighbours_are_put_into_an_order_all_services_take() -> None:
    asked = AIMessage("", tool_calls=[_call("a")])
    messages: list[AnyMessage] = [
        *(SystemMessage("s"), HumanMessage("Go."), AIMessage(" "), HumanMessage("Go on.")),
        *(asked, ToolMessage("1", tool_call_id="a"), HumanMessage("Last turn.")),
    ]
    sent = sendable(messages)
    assert [m.type for m in sent] == ["system", "human", "ai", "human", "ai", "tool", "ai", "human"]
    assert [sent[2].text, sent[6].text] == [STAND_IN, STAND_IN]
    assert sent[4] is asked
    assert sendable(sent) == sent
