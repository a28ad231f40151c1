"""A message on a thread that waits for a person is the person's answer, where it can be one."""

import uuid
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.types import interrupt

from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.persistence.checkpointer import open_checkpointer
from tests.fakes import Answer, Asked, ScriptedModel, diligent, heavy, milestone, plan, report

ASKED: Any = {"messages": [("user", "Where is my order?")]}
TWO = plan(milestone("Find the order.")), plan(milestone("Ask the shop."))


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


@tool
def ask_clerk(subject: str) -> str:
    """Look a subject up, with a person's help."""
    return f"about {interrupt('Which shelf?')}"


def lacks_number(asked: Asked) -> Answer:
    return diligent(asked) if "4711" in asked.text else report("", "blocked", missing="the order's number")


class Chat:
    """One thread of a run that may wait; all it is told are messages."""

    def __init__(self, saver: Any, light: Any = diligent, tools: Any = (look_up,), **settings: Any) -> None:
        self.planner, self.light = heavy(*TWO), ScriptedModel(light)
        self.agent = create_plan_execute_agent(
            self.planner, self.light, list(tools), checkpointer=saver, context=settings
        )
        self.config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}

    async def say(self, *texts: Any) -> Any:
        output: Any = None
        for text in texts:
            output = await self.agent.ainvoke({"messages": [HumanMessage(text)]}, self.config, durability="sync")
        return output

    @property
    def plans_made(self) -> int:
        return len([asked for asked in self.planner.asked if asked.tools == ["PlanDraft"]])


async def test_word_approves_a_plan_and_stays_in_the_conversation(threads_url: str) -> None:
    async with open_checkpointer(threads_url) as saver:
        chat = Chat(saver, review="first")
        output = await chat.say("Where is my order?", "ok")
    assert [message.text for message in output["messages"]] == ["Where is my order?", "ok", "The answer."]
    assert (output["status"], chat.plans_made) == ("completed", 1)


async def test_other_words_are_a_comment_on_the_plan(threads_url: str) -> None:
    async with open_checkpointer(threads_url) as saver:
        chat = Chat(saver, review="first")
        output = await chat.say("Where is my order?", "Ask the shop instead.")
        assert "Ask the shop instead." in chat.planner.asked[1].text
        assert output["plan"]["revision"] == 2
        assert [message.type for message in output["messages"]] == ["human", "human", "ai"]
        assert output["messages"][-1].text.startswith("**Plan, revision 2**")
        output = await chat.say("go")
    assert (output["status"], chat.plans_made) == ("completed", 2)


async def test_words_answer_a_question(threads_url: str) -> None:
    async with open_checkpointer(threads_url) as saver:
        chat = Chat(saver, lacks_number, ask_user=True)
        output = await chat.say("Where is my order?", "It is 4711")
    assert (output["status"], chat.plans_made) == ("completed", 1)
    assert output["milestones"]["m1"]["answers"] == {"the order's number": "It is 4711"}


@pytest.mark.parametrize(("word", "ok"), [("yes", True), ("no", False)])
@pytest.mark.parametrize("names_checkpoint", [False, True])  # as `useStream` does
def test_word_decides_about_a_call(word: str, ok: bool, names_checkpoint: bool) -> None:
    with open_checkpointer("memory") as saver:
        agent = create_plan_execute_agent(
            heavy(*TWO),
            ScriptedModel(diligent),
            [look_up],
            checkpointer=saver,
            context={"approve_tools": ["look_up"], "max_replans": 0},
        )
        config: Any = {"configurable": {"thread_id": "t"}}
        agent.invoke(ASKED, config)
        said: Any = {"messages": {"role": "user", "content": word}}
        output: Any = agent.invoke(said, agent.get_state(config).config if names_checkpoint else config)
    assert [call["ok"] for call in output["milestones"]["m1"]["tool_calls"]] == [ok]


async def test_words_answer_what_a_tool_asks() -> None:
    with open_checkpointer("memory") as saver:
        chat = Chat(saver, tools=(ask_clerk.model_copy(update={"name": "look_up"}),))
        output = await chat.say("Where is my order?", "the third")
    assert output["status"] == "completed"
    assert chat.light.asked[-1].messages[-1].text == "about the third"


async def test_message_that_decides_nothing_begins_a_new_run() -> None:
    with open_checkpointer("memory") as saver:
        chat = Chat(saver, approve_tools=["look_up"])
        await chat.say("Where is my order?")
        output = await chat.say("Where is my other order?")
        assert "__interrupt__" in output
        assert chat.plans_made == 2
        values = (await chat.agent.aget_state(chat.config)).values
    assert values["objective"] == "Where is my other order?"


async def test_two_questions_at_once_are_answered_by_id_only() -> None:
    two = plan(milestone("Find a."), milestone("Find b."))
    with open_checkpointer("memory") as saver:
        chat = Chat(saver, approve_tools=["look_up"], max_parallel=2)
        chat.planner._script = lambda _: two
        assert len((await chat.say("Where is my order?"))["__interrupt__"]) == 2
        await chat.say("yes")
        assert (await chat.agent.aget_state(chat.config)).values["objective"] == "yes"


async def test_plan_that_is_given_answers_nothing() -> None:
    with open_checkpointer("memory") as saver:
        chat = Chat(saver, review="first")
        await chat.say("Where is my order?")
        given: Any = {"messages": [("user", "ok")], "plan": plan(milestone("Find it."))}
        output: Any = await chat.agent.ainvoke(given, chat.config)
    assert [m["goal"] for m in output["milestones"].values()] == ["Find it."]
