"""The answer is told while it is written, by models that stream it as text or as a tool call."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from pydantic import PrivateAttr

from plan_execute.graphs import create_plan_execute_agent
from tests.fakes import ScriptedModel, diligent, heavy, milestone, plan, synthesis

ANSWER = 'Both "a" and b\nare letters: ä, 字. ' * 40
ASKED: Any = {"messages": [("user", "What do a and b have in common?")]}


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


class Streaming(ScriptedModel):
    """Gives its synthesis in pieces of seven characters."""

    _as_text: bool = PrivateAttr(default=False)

    def __init__(self, script: Any, as_text: bool) -> None:
        super().__init__(script)
        self._as_text = as_text

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        (whole,) = self._generate(messages, *args, **kwargs).generations
        calls = getattr(whole.message, "tool_calls", [])
        text = json.dumps(calls[0]["args"])
        for place in range(0, len(text), 7):
            piece = text[place : place + 7]
            first = {"name": calls[0]["name"], "id": "1"} if place == 0 else {"name": None, "id": None}
            call: Any = {"args": piece, "index": 0, "type": "tool_call_chunk", **first}
            message = (
                AIMessageChunk(content=piece) if self._as_text else AIMessageChunk(content="", tool_call_chunks=[call])
            )
            yield ChatGenerationChunk(message=message)


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("mode", [["messages", "custom"], ["custom"]])
def test_answer_is_told_as_it_is_written(as_text: bool, mode: list[Any]) -> None:
    script = heavy(plan(milestone("Find a.")), end=synthesis(ANSWER))._script
    model = Streaming(script, as_text)
    agent = create_plan_execute_agent(model, ScriptedModel(diligent), [look_up])
    news: Any = agent.stream(ASKED, stream_mode=mode)
    told = [event for kind, event in news if kind == "custom"]
    deltas = [event["text"] for event in told if event["type"] == "answer_delta"]
    final = next(event for event in told if event["type"] == "answer")
    assert final["status"] == "completed"
    if "messages" in mode:
        assert "".join(deltas) == ANSWER == final["answer"]
        assert {event["attempt"] for event in told if event["type"] == "answer_delta"} == {1}
        assert 10 < len(deltas) < len(ANSWER) / 7
    else:
        assert deltas == []
