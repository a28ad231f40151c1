"""Side effects once: after a process that was stopped in the middle of a call, and after a replan."""

import asyncio
import uuid
from typing import Annotated, Any

import pytest
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool
from langgraph.checkpoint.base import BaseCheckpointSaver

from plan_execute.graphs import create_executor, create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import Answer, Asked, ScriptedModel, diligent, goal_of, heavy, milestone, plan, report, tool_call

ASKED: Any = {"messages": [("user", "Tell the customer.")]}
SEND = plan(milestone("Send it.", tools=["send"]))


class Post:
    """A service that sends letters, and the first time never answers."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.keys: list[str] = []
        self.answers = asyncio.Event()
        self.called = asyncio.Event()

    async def take(self, text: str, key: str = "") -> str:
        """Send, then answer when it may."""
        if key not in self.keys:
            self.sent.append(text)
        if key:
            self.keys.append(key)
        self.called.set()
        await self.answers.wait()
        return "sent"


def plain(post: Post, **metadata: Any) -> BaseTool:
    async def send(subject: str) -> str:
        """Send a letter."""
        return await post.take(subject)

    return StructuredTool.from_function(coroutine=send, metadata=metadata)


def keyed(post: Post, **metadata: Any) -> BaseTool:
    async def send(subject: str, key: Annotated[str, InjectedToolCallId]) -> str:
        """Send a letter, once for each key."""
        return await post.take(subject, key)

    return StructuredTool.from_function(coroutine=send, metadata=metadata)


def agent_with(tool: BaseTool, checkpointer: BaseCheckpointSaver[Any], light: ScriptedModel) -> PlanExecuteAgent:
    return create_plan_execute_agent(heavy(SEND), light, [tool], checkpointer=checkpointer, context={"max_replans": 0})


async def stopped_and_resumed(tool: BaseTool, post: Post, url: str, light: ScriptedModel) -> Any:
    """Stop a run while its call is under way, then go on with an agent that knows nothing but the checkpoints."""
    config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
    async with open_checkpointer(url) as checkpointer:
        task = asyncio.create_task(agent_with(tool, checkpointer, light).ainvoke(ASKED, config, durability="sync"))
        await asyncio.wait_for(post.called.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        post.answers.set()
        return await agent_with(tool, checkpointer, light).ainvoke(None, config, durability="sync")


async def test_call_that_was_under_way_is_not_repeated_and_the_run_says_so(threads_url: str) -> None:
    def honest(asked: Asked) -> Answer:
        return report("unknown", "failed") if "whether it had an effect is unknown" in asked.text else diligent(asked)

    post = Post()
    output = await stopped_and_resumed(plain(post, effect="effect"), post, threads_url, ScriptedModel(honest))
    assert post.sent == ["x"]
    assert output["status"] == "aborted"
    assert "whether it had an effect is unknown" in output["error"]["message"]
    (call,) = output["milestones"]["m1"]["tool_calls"]
    assert (call["ok"], call["code"], call["effect"]) == (False, "interrupted", True)


@pytest.mark.parametrize("metadata", [{"effect": "effect", "idempotent": True}, {"effect": "read"}, {}])
async def test_call_that_may_be_repeated_is(threads_url: str, metadata: dict[str, Any]) -> None:
    post = Post()
    output = await stopped_and_resumed(plain(post, **metadata), post, threads_url, ScriptedModel(diligent))
    assert post.sent == ["x", "x"]
    assert output["status"] == "completed"


async def test_id_of_a_call_stays_the_same_when_it_is_made_again(threads_url: str) -> None:
    post, light = Post(), ScriptedModel(diligent)
    tool = keyed(post, effect="effect", idempotent=True)
    output = await stopped_and_resumed(tool, post, threads_url, light)
    assert (output["status"], post.sent) == ("completed", ["x"])
    assert len(post.keys) == 2
    assert len(set(post.keys)) == 1
    assert output["milestones"]["m1"]["tool_calls"][0]["args"] == {"subject": "x"}


def counting(sent: list[str], **metadata: Any) -> BaseTool:
    def send(subject: str) -> str:
        """Send a letter."""
        sent.append(subject)
        return "sent"

    return StructuredTool.from_function(send, metadata=metadata)


def clumsy(asked: Asked) -> Answer:
    """Sends, but fails at what comes after it at the first attempt."""
    answered = any(message.type == "tool" for message in asked.messages)
    if not answered:
        return tool_call("send", {"subject": "x"})
    return report("the copy was not filed", "failed") if goal_of(asked) == "Send it." else report("sent and filed")


@pytest.mark.parametrize(("metadata", "times"), [({"effect": "effect"}, 1), ({}, 2)])
def test_replan_does_not_repeat_what_was_done(metadata: dict[str, Any], times: int) -> None:
    sent: list[str] = []
    light = ScriptedModel(clumsy)
    planner = heavy(SEND, plan(milestone("Send and file it.", tools=["send"])))
    output = create_plan_execute_agent(planner, light, [counting(sent, **metadata)]).invoke(ASKED)
    assert output["status"] == "completed"
    assert sent == ["x"] * times
    assert ("Already done: this very call succeeded earlier" in light.asked[-1].text) == (times == 1)


def test_other_arguments_are_another_call() -> None:
    sent: list[str] = []
    both = tool_call("send", {"subject": "a"}, ("send", {"subject": "b"}))
    light = ScriptedModel(lambda asked: report() if len(asked.messages) > 2 else both)
    agent = create_plan_execute_agent(heavy(SEND), light, [counting(sent, effect="effect")])
    assert agent.invoke(ASKED)["status"] == "completed"
    assert sorted(sent) == ["a", "b"]


def test_tools_that_change_nothing_cost_no_step_more() -> None:
    def steps(**metadata: Any) -> int:
        executor = create_executor(ScriptedModel(diligent), [counting([], **metadata)])
        given: Any = {"brief": {"goal": "Send it.", "tools": ["send"]}}
        return sum(1 for _ in executor.stream(given, stream_mode="updates", subgraphs=True))

    assert steps(effect="effect") == steps() + 2
