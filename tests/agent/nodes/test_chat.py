"""What chat clients are shown while a run works: the plan, ticked off, and the answer while it is written."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import PrivateAttr

from plan_execute.agent import Context
from plan_execute.graphs import create_plan_execute_agent
from tests.fakes import Answer, Asked, ScriptedModel, diligent, heavy, milestone, plan, report, synthesis, tool_call

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


@pytest.mark.parametrize("as_text", [False, True])
def test_messages_have_the_answer_once_as_it_is_written(as_text: bool) -> None:
    model = Streaming(heavy(plan(milestone("Find a.")), end=synthesis(ANSWER))._script, as_text)
    agent = create_plan_execute_agent(model, ScriptedModel(diligent), [look_up])
    streamed: Any = agent.stream(ASKED, stream_mode=["messages", "values"])
    pieces, states = [], []
    for kind, part in streamed:
        if kind == "messages":
            pieces.append(part[0])
        else:
            states.append(part)
    assert "".join(piece.text for piece in pieces) == ANSWER
    assert len(pieces) > 10
    assert {piece.id for piece in pieces} == {states[-1]["messages"][-1].id}
    assert [message.type for message in states[-1]["messages"]] == ["human", "ai"]


def test_answer_that_does_not_stream_is_one_message() -> None:
    agent = create_plan_execute_agent(heavy(plan(milestone("Find a."))), ScriptedModel(diligent), [look_up])
    streamed: Any = agent.stream(ASKED, stream_mode="messages")
    assert [message.text for message, _ in streamed] == ["The answer."]


def test_second_attempt_at_an_answer_is_a_message_of_its_own() -> None:
    ends = iter([{"answer": "Half of it", "requirements": "none"}, synthesis(ANSWER)])

    def answer(asked: Asked) -> Answer:
        return next(ends) if asked.tools == ["Synthesis"] else plan(milestone("Find a."))

    agent = create_plan_execute_agent(Streaming(answer, as_text=False), ScriptedModel(diligent), [look_up])
    texts: dict[str, str] = {}
    streamed: Any = agent.stream(ASKED, stream_mode=["messages", "values"])
    for kind, part in streamed:
        if kind == "messages":
            texts[part[0].id] = texts.get(part[0].id, "") + part[0].text
        else:
            last = part["messages"][-1]
    assert list(texts.values()) == ["Half of it", ANSWER]
    assert list(texts)[-1] == last.id


def test_plan_is_ticked_off_in_the_conversation_until_the_answer_is_there() -> None:
    steps = plan(milestone("Find a."), milestone("Find *b*.", depends_on=["m1"]), strategy="One by one.")
    agent = create_plan_execute_agent(heavy(steps), ScriptedModel(diligent), [look_up])
    states: Any = list(agent.stream(ASKED, stream_mode="values", subgraphs=True))
    assert {namespace for namespace, _ in states} == {()}
    conversations = [state["messages"] for _, state in states]
    assert all(messages[0].text == "What do a and b have in common?" for messages in conversations)
    shown = list(dict.fromkeys(messages[1].text for messages in conversations if len(messages) == 2))
    assert shown == [
        "Making a plan ...",
        "**Plan**: One by one.\n\n- [ ] Find a. *(working on it)*\n- [ ] Find *b*.",
        "**Plan**: One by one.\n\n- [x] Find a.\n- [ ] Find *b*. *(working on it)*",
        "**Plan**: One by one.\n\n- [x] Find a.\n- [x] Find *b*.\n\nWriting the answer ...",
        "The answer.",
    ]
    assert len({messages[1].id for messages in conversations if len(messages) == 2}) == 2


def test_failed_milestones_leave_the_checklist_with_the_next_plan() -> None:
    drafts = plan(milestone("Find a.")), plan(milestone("Guess a."))
    reports = iter([report("no", status="failed"), report("yes")])
    executor = ScriptedModel(
        lambda asked: next(reports) if len(asked.messages) > 3 else tool_call("look_up", {"subject": "a"})
    )
    agent = create_plan_execute_agent(heavy(*drafts), executor, [look_up])
    states: Any = list(agent.stream(ASKED, stream_mode="values"))
    shown = [state["messages"][-1].text for state in states]
    assert "**Plan**: Step by step.\n\n- [ ] Find a. *(failed)*\n\nMaking another plan ..." in shown
    assert "**Plan, revision 2**: Step by step.\n\n- [ ] Guess a. *(working on it)*" in shown


def test_no_model_is_shown_the_checklist_and_the_next_run_replaces_it() -> None:
    heavy_model = heavy(plan(milestone("Find a.")))
    saver = InMemorySaver()
    agent = create_plan_execute_agent(heavy_model, ScriptedModel(diligent), [look_up], checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "t"}}
    waiting: Any = agent.invoke(ASKED, config, context=Context(review="first"))
    assert waiting["messages"][-1].text.endswith("- [ ] Find a.\n\nThe plan waits for your review.")
    again: Any = {"messages": [("user", "And now?")], "plan": None}
    ended: Any = agent.invoke(again, config)
    assert [message.text for message in ended["messages"]] == [ASKED["messages"][0][1], "And now?", "The answer."]
    assert not any("Making a plan" in asked.text or "- [" in asked.text for asked in heavy_model.asked)


def test_executor_is_on_the_messages_stream_unless_a_chat_shows_it() -> None:
    agent = create_plan_execute_agent(heavy(plan(milestone("Find a."))), ScriptedModel(diligent), [look_up])

    def namespaces(context: Any) -> set[bool]:
        streamed: Any = agent.stream(ASKED, stream_mode="messages", subgraphs=True, context=context)
        return {bool(namespace) for namespace, _ in streamed}

    assert namespaces(None) == {True, False}
    assert namespaces(Context(client="chat")) == {False}


def test_long_plan_is_shown_about_where_it_is() -> None:
    goals = [milestone(f"Find {n}.", depends_on=[f"m{n - 1}"] if n > 1 else []) for n in range(1, 21)]
    agent = create_plan_execute_agent(heavy(plan(*goals)), ScriptedModel(diligent), [look_up])
    states: Any = list(agent.stream(ASKED, stream_mode="values"))
    shown = [state["messages"][-1].text for state in states]
    assert max(text.count("\n- [") for text in shown) == 8
    [tenth] = {text for text in shown if "Find 10. *(working on it)*" in text}
    assert tenth.split("\n\n")[1].splitlines() == [
        "- [x] 7 more",
        "- [x] Find 8.",
        "- [x] Find 9.",
        "- [ ] Find 10. *(working on it)*",
        *(f"- [ ] Find {n}." for n in range(11, 14)),
        "- [ ] 7 more",
    ]


def test_long_conversation_is_not_stored_again_for_each_round() -> None:
    agent = create_plan_execute_agent(heavy(plan(milestone("Find a."))), ScriptedModel(diligent), [look_up])
    asked: Any = {"messages": [("user", "x" * 100_001)]}
    states: Any = list(agent.stream(asked, stream_mode="values"))
    assert {tuple(message.type for message in state["messages"]) for state in states} == {("human",), ("human", "ai")}
    assert states[-1]["messages"][-1].text == "The answer."


def test_plan_makes_no_links_and_is_cut_in_any_script() -> None:
    goals = (
        milestone("See ![x](http://evil.example/?q=1)\n<img src=x> [here](http://evil.example)."),
        milestone("字" * 300),
    )
    agent = create_plan_execute_agent(heavy(plan(*goals)), ScriptedModel(diligent), [look_up])
    states: Any = list(agent.stream(ASKED, stream_mode="values"))
    [linked, long] = states[2]["messages"][-1].text.split("\n\n")[1].splitlines()
    assert linked.startswith(r"- [ ] See !\[x](http://evil.example/?q=1) \<img src=x> \[here](http://evil.example).")
    assert long == f"- [ ] {'字' * 116} ..."


def test_message_of_a_person_is_none_of_these_whatever_its_id() -> None:
    agent = create_plan_execute_agent(heavy(plan(milestone("Find a."))), ScriptedModel(diligent), [look_up])
    asked: Any = {"messages": [{"role": "user", "content": "What is a?", "id": "progress-1"}]}
    assert [message.text for message in agent.invoke(asked)["messages"]] == ["What is a?", "The answer."]
