"""Whatever a user, a model or a tool says is stored, or cut, on every checkpointer, and never raises."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver

from plan_execute import create_plan_execute_agent
from tests.fakes import Answer, Asked, ScriptedModel, heavy, milestone, plan, report, synthesis, tool_call


class Thing:
    """Somebody's own class, as providers put into their metadata."""


class Mute:
    """One that cannot even say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


def nested() -> dict[str, Any]:
    """Hold itself."""
    knot: dict[str, Any] = {}
    knot["again"] = [knot]
    return knot


VALUES: dict[str, Callable[[], Any]] = {
    "NUL": lambda: "a\0b",
    "half an emoji": lambda: "a\ud83db",
    "key": lambda: {"a\ud83d\0": 1},
    "number": lambda: 10**30,
    "object": Thing,
    "mute": Mute,
    "bytes": lambda: b"\0\xff",
    "set": lambda: {1, (2, "a\ud83d")},
    "not a number": lambda: float("nan"),
    "knot": nested,
    "depth": lambda: __import__("json").loads("[" * 900 + "]" * 900),
    "long": lambda: "x" * 20_000_000,
    "many bytes": lambda: b"x" * 20_000_000,
}
TEXTS: dict[str, str] = {name: VALUES[name]() for name in ("NUL", "half an emoji", "long")}
MOST = 8_000_000
"""More bytes than any of these runs may store."""


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return "found"


def use_tool(asked: Asked) -> Answer:
    return report() if asked.messages[-1].type == "tool" else tool_call(asked.tools[0], {"subject": "x"})


def run(
    saver: BaseCheckpointSaver[Any],
    thread: str,
    *,
    planner: ScriptedModel | None = None,
    executor: ScriptedModel | None = None,
    tools: Any = (look_up,),
    request: Any = "Find x.",
) -> dict[str, Any]:
    agent = create_plan_execute_agent(
        planner or heavy(plan(milestone("Find x."))),
        executor or ScriptedModel(use_tool),
        list(tools),
        checkpointer=saver,
        context={"max_replans": 0, "max_attempts": 1},
    )
    output: dict[str, Any] = agent.invoke({"messages": request}, {"configurable": {"thread_id": thread}})
    stored = agent.get_state({"configurable": {"thread_id": thread}}).values
    assert stored["status"] == output["status"]
    return output


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("where", ["request", "block", "answer", "planner", "synthesizer", "executor", "tool", "error"])
def test_any_text_is_stored(checkpointer: BaseCheckpointSaver[Any], thread: str, where: str, kind: str) -> None:
    text: str = TEXTS[kind]
    given: dict[str, Any] = {}

    @tool("look_up")
    def odd(subject: str) -> str:
        """Look a subject up."""
        if where == "error":
            raise RuntimeError(text)
        return text

    match where:
        case "request":
            given = {"request": text}
        case "block":
            given = {"request": [HumanMessage([{"type": "text", "text": text}], name=text[:100])]}
        case "answer":
            given = {"planner": ScriptedModel([{"answer": text, "milestones": []}])}
        case "planner":
            given = {"planner": ScriptedModel([text])}
        case "synthesizer":
            given = {"planner": heavy(plan(milestone("Find x.")), end=synthesis(text))}
        case "executor":
            given = {"executor": ScriptedModel([tool_call("look_up", {"subject": text}), report(text)])}
        case _:
            given = {"tools": [odd]}
    output = run(checkpointer, thread, **given)
    assert output["status"] == {"planner": "aborted", "error": "aborted"}.get(where, "completed")
    assert len(str(output)) < MOST


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("where", ["request", "reply", "result"])
def test_any_value_around_a_message_is_stored(
    checkpointer: BaseCheckpointSaver[Any], thread: str, where: str, kind: str
) -> None:
    def extra() -> dict[str, Any]:
        block = {"type": "text", "text": "Find x.", "extra": VALUES[kind]()}
        return {"content": [block], "additional_kwargs": {"extra": VALUES[kind]()}}

    def reply(asked: Asked) -> Answer:
        if asked.messages[-1].type == "tool":
            return report()
        call = tool_call("look_up", {"subject": "x"})
        return AIMessage(tool_calls=call.tool_calls, response_metadata={"extra": VALUES[kind]()}, **extra())

    @tool("look_up", response_format="content_and_artifact")
    def odd(subject: str) -> tuple[list[Any], Any]:
        """Look a subject up."""
        return extra()["content"], VALUES[kind]()

    match where:
        case "request":
            given: dict[str, Any] = {"request": [HumanMessage(**extra())]}
        case "reply":
            given = {"executor": ScriptedModel(reply)}
        case _:
            given = {"tools": [odd]}
    assert run(checkpointer, thread, **given)["status"] == "completed"


def test_blocks_of_a_model_go_back_to_it_as_they_came(checkpointer: BaseCheckpointSaver[Any], thread: str) -> None:
    blocks: list[Any] = [
        {"type": "thinking", "thinking": "Hm.", "signature": "abc" * 9_000},
        {"reasoningContent": {"redactedContent": b"\0\xff"}},
        {"type": "text", "text": "I look it up."},
    ]

    def reply(asked: Asked) -> Answer:
        if asked.messages[-1].type == "tool":
            assert asked.messages[-2].content == blocks
            return report()
        return AIMessage(copy.deepcopy(blocks), tool_calls=tool_call("look_up", {"subject": "x"}).tool_calls)

    assert run(checkpointer, thread, executor=ScriptedModel(reply))["status"] == "completed"


@pytest.mark.parametrize(("size", "left_out"), [(3_000_000, False), (20_000_000, True)])
@pytest.mark.parametrize("kind", ["image", "image_url"])
def test_picture_of_a_tool_is_stored_whole_or_not_at_all(
    checkpointer: BaseCheckpointSaver[Any], thread: str, kind: str, size: int, left_out: bool
) -> None:
    blocks: dict[str, dict[str, Any]] = {
        "image": {"type": "image", "base64": "A" * size, "mime_type": "image/png"},
        "image_url": {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * size}},
    }
    block = blocks[kind]

    @tool("look_up")
    def picture(subject: str) -> list[Any]:
        """Look a subject up."""
        return [{"type": "text", "text": "a picture"}, block]

    executor = ScriptedModel(use_tool)
    assert run(checkpointer, thread, executor=executor, tools=[picture])["status"] == "completed"
    shown = executor.asked[-1].messages[-1].content[1]
    assert (shown != block) == left_out
    assert ("left out" in str(shown)) == left_out
