"""Side effects once: after a process that was stopped in the middle of a call, and after a replan."""

import asyncio
import sqlite3
import uuid
from typing import Annotated, Any

import httpx
import pytest
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command, interrupt

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


def agent_with(
    tool: BaseTool,
    checkpointer: BaseCheckpointSaver[Any],
    light: ScriptedModel,
    planner: ScriptedModel | None = None,
    **settings: Any,
) -> PlanExecuteAgent:
    settings = {"max_replans": 0, **settings}
    planner = planner or heavy(SEND)
    return create_plan_execute_agent(planner, light, [tool], checkpointer=checkpointer, context=settings)


class Stopped:
    """A run that was stopped while its call was under way, as an agent finds it that knows only the checkpoints."""

    def __init__(
        self, tool: BaseTool, light: ScriptedModel, checkpointer: BaseCheckpointSaver[Any], **settings: Any
    ) -> None:
        self.tool, self.light, self.checkpointer, self.settings = tool, light, checkpointer, settings
        self.config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}

    async def go(self, given: Any) -> Any:
        """Begin or go on, with a new agent each time."""
        agent = agent_with(self.tool, self.checkpointer, self.light, **self.settings)
        return await agent.ainvoke(given, self.config, durability="sync")

    async def stop_under_way(self, post: Post, given: Any = ASKED) -> None:
        """Begin or go on, and stop when the tool is at work."""
        task = asyncio.create_task(self.go(given))
        await asyncio.wait_for(post.called.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        post.answers.set()


async def stopped_and_resumed(tool: BaseTool, post: Post, url: str, light: ScriptedModel, *answers: Any) -> list[Any]:
    """Stop a run while its call is under way, then go on, with a person's answers; gives what came back each time."""
    async with open_checkpointer(url) as checkpointer:
        run = Stopped(tool, light, checkpointer)
        await run.stop_under_way(post)
        return [
            await run.go(None),
            *[await run.go(Command(resume={"decisions": [answer]})) for answer in answers],
        ]


def honest(asked: Asked) -> Answer:
    """Reports a call as failed that was not made because its outcome is unknown."""
    return report("unknown", "failed") if "Not run: " in asked.messages[-1].text else diligent(asked)


async def test_call_that_was_under_way_is_not_repeated_and_the_run_asks(threads_url: str) -> None:
    post, light = Post(), ScriptedModel(honest)
    (waiting,) = await stopped_and_resumed(plain(post, effect="effect"), post, threads_url, light)
    assert post.sent == ["x"]
    (action,) = waiting["__interrupt__"][0].value["action_requests"]
    assert (action["name"], action["args"]) == ("repeat_call", {"tool": "send", "args": {"subject": "x"}, "result": ""})
    assert "it is unknown whether it was done" in action["description"]
    (call,) = waiting["milestones"]["m1"]["tool_calls"]
    assert (call["ok"], call["code"], call["effect"]) == (False, "outcome_unknown", True)


@pytest.mark.parametrize(
    ("answer", "sent", "status"),
    [
        ({"type": "approve"}, ["x", "x"], "completed"),
        ({"type": "respond", "message": "It was sent as no. 7."}, ["x"], "completed"),
        ({"type": "edit", "edited_action": {"args": {"result": "It was sent as no. 7."}}}, ["x"], "completed"),
        ({"type": "reject", "message": "Leave it."}, ["x"], "aborted"),
    ],
)
async def test_person_settles_whether_a_call_is_made_again(
    threads_url: str, answer: dict[str, Any], sent: list[str], status: str
) -> None:
    post, light = Post(), ScriptedModel(lambda a: honest(a) if a.messages[-1].type == "tool" else diligent(a))
    _, output = await stopped_and_resumed(plain(post, effect="effect"), post, threads_url, light, answer)
    assert (output["status"], post.sent) == (status, sent)
    if answer["type"] == "respond":
        assert "Already done" in light.asked[-1].messages[-1].text
        assert "It was sent as no. 7." in light.asked[-1].messages[-1].text
    if status == "aborted":
        assert "whether it had an effect is unknown" in output["error"]["message"]


@pytest.mark.parametrize("args", [{"subject": "x"}, {"subject": "y"}])
async def test_approved_call_that_was_under_way_is_not_put_up_for_approval_as_if_it_were_new(
    threads_url: str, args: dict[str, str]
) -> None:
    post, light = Post(), ScriptedModel(honest)
    async with open_checkpointer(threads_url) as checkpointer:
        run = Stopped(plain(post, effect="effect"), light, checkpointer, approve_tools=["send"])
        await run.go(ASKED)
        edit = {"type": "edit", "edited_action": {"name": "send", "args": args}}
        await run.stop_under_way(post, Command(resume={"decisions": [edit]}))
        (action,) = (await run.go(None))["__interrupt__"][0].value["action_requests"]
    assert (action["name"], action["args"]) == ("repeat_call", {"tool": "send", "args": args, "result": ""})
    assert post.sent == [args["subject"]]


async def test_call_that_was_left_at_that_is_not_asked_about_again(threads_url: str) -> None:
    post, light = Post(), ScriptedModel(lambda a: honest(a) if a.messages[-1].type == "tool" else diligent(a))
    another = plan(milestone("Send it anew.", tools=["send"]))
    async with open_checkpointer(threads_url) as checkpointer:
        planner = heavy(SEND, another)
        run = Stopped(plain(post, effect="effect"), light, checkpointer, planner=planner, max_replans=1)
        await run.stop_under_way(post)
        assert "__interrupt__" in await run.go(None)
        output = await run.go(Command(resume={"decisions": [{"type": "reject"}]}))
    assert (output["status"], post.sent) == ("aborted", ["x"])
    assert len(planner.asked) == 2


async def stopped_at(moment: str, run: Stopped, *, stored: bool) -> None:
    """Begin, and stop when the receipt that says `moment` is to be written: after it was `stored`, or before."""
    put, there = run.checkpointer.aput, asyncio.Event()

    async def hang(config: Any, checkpoint: Any, metadata: Any, versions: Any) -> Any:
        hangs = moment in metadata and not there.is_set()
        written = None if hangs and not stored else await put(config, checkpoint, metadata, versions)
        if hangs:
            there.set()
            await asyncio.sleep(60)
        return written

    run.checkpointer.aput = hang  # type: ignore[assignment, method-assign]  # a checkpointer is not ours
    task = asyncio.create_task(run.go(ASKED))
    await asyncio.wait_for(there.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("moment", "stored", "asks"),
    [("begun", False, False), ("begun", True, True), ("ended", False, True), ("ended", True, False)],
)
async def test_receipt_tells_what_became_of_a_call(threads_url: str, moment: str, stored: bool, asks: bool) -> None:
    """Only between the two receipts is it unknown; after the second one the answer is there before its checkpoint."""
    sent: list[str] = []
    async with open_checkpointer(threads_url) as checkpointer:
        run = Stopped(counting(sent, effect="effect"), ScriptedModel(honest), checkpointer)
        await stopped_at(moment, run, stored=stored)
        output = await run.go(None)
    assert ("__interrupt__" in output) == asks
    if asks:
        assert len(sent) == (moment == "ended")
        return
    assert (output["status"], sent) == ("completed", ["x"])
    (call,) = output["milestones"]["m1"]["tool_calls"]
    assert (call["ok"], call["answer"]) == (True, "sent")


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (TimeoutError("no answer"), False),
        (httpx.ReadTimeout("no answer"), False),
        (httpx.ConnectError("nobody there"), True),
        (ConnectionRefusedError("nobody there"), True),
    ],
)
def test_call_that_ends_without_an_answer_is_not_made_again_unless_nobody_was_reached(
    error: Exception, again: bool
) -> None:
    sent: list[str] = []

    def send(subject: str) -> str:
        """Send a letter."""
        sent.append(subject)
        raise error

    tool = StructuredTool.from_function(send, metadata={"effect": "effect"})

    def stubborn(asked: Asked) -> Answer:
        calls = sum(message.type == "tool" for message in asked.messages)
        return tool_call("send", {"subject": "x"}) if calls < 2 else report("no answer", "failed")

    agent = create_plan_execute_agent(heavy(SEND), ScriptedModel(stubborn), [tool], context={"max_replans": 1})
    output = agent.invoke(ASKED)
    assert output["status"] == "aborted"
    assert (len(sent) > 1) == again
    assert ("whether it had an effect is unknown" in output["error"]["message"]) != again


def test_service_that_does_work_once_for_a_key_is_given_the_same_key_at_the_next_attempt() -> None:
    keys: list[str] = []

    def send(subject: str, key: Annotated[str, InjectedToolCallId]) -> str:
        """Send a letter, once for each key."""
        keys.append(key)
        if len(keys) < 3:
            raise TimeoutError("no answer")
        return "sent"

    def stubborn(asked: Asked) -> Answer:
        """Calls again at once, then gives up for this attempt."""
        answers = [message for message in asked.messages if message.type == "tool"]
        if answers and (len(answers) == 2 or answers[-1].text == "sent"):
            return report() if answers[-1].text == "sent" else report("no answer", "failed")
        return tool_call("send", {"subject": "x"})

    tool = StructuredTool.from_function(send, metadata={"effect": "effect", "idempotent": True})
    output = create_plan_execute_agent(heavy(SEND), ScriptedModel(stubborn), [tool]).invoke(ASKED)
    assert (output["status"], len(keys), len(set(keys))) == ("completed", 3, 1)


def test_calls_of_a_tool_that_changes_nothing_keep_ids_of_their_own() -> None:
    keys: list[str] = []

    def look_up(subject: str, key: Annotated[str, InjectedToolCallId]) -> str:
        """Look a subject up."""
        keys.append(key)
        if len(keys) == 1:
            raise ConnectionError("down")
        return "found"

    light = ScriptedModel([tool_call("look_up", {"subject": "x"}), tool_call("look_up", {"subject": "x"}), report()])
    planner = heavy(plan(milestone("Find x.")))
    output = create_plan_execute_agent(planner, light, [StructuredTool.from_function(look_up)]).invoke(ASKED)
    assert output["status"] == "completed"
    assert len({key for key in keys if key}) == 2


@pytest.mark.parametrize(("error", "sent"), [(TimeoutError("no answer"), 1), (ValueError("no such address"), 3)])
def test_middleware_that_calls_again_does_so_only_where_it_failed_for_certain(error: Exception, sent: int) -> None:
    calls: list[str] = []

    def send(subject: str) -> str:
        """Send a letter."""
        calls.append(subject)
        raise error

    agent = create_plan_execute_agent(
        heavy(SEND),
        ScriptedModel(lambda a: report("in vain", "failed") if a.messages[-1].type == "tool" else diligent(a)),
        [StructuredTool.from_function(send, metadata={"effect": "effect"})],
        middleware=[ToolRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)],
        checkpointer=InMemorySaver(),
        context={"max_replans": 0},
    )
    agent.invoke(ASKED, {"configurable": {"thread_id": "1"}})
    assert len(calls) == sent


def test_tool_that_asks_a_person_itself_goes_on_with_his_answer() -> None:
    sent: list[str] = []

    def send(subject: str) -> str:
        """Send a letter, if it is wanted."""
        if interrupt("Really?") == "yes":
            sent.append(subject)
        return "sent"

    tool = StructuredTool.from_function(send, metadata={"effect": "effect"})
    checkpointer = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "1"}}

    def go(given: Any) -> Any:
        return agent_with(tool, checkpointer, ScriptedModel(diligent)).invoke(given, config)

    assert go(ASKED)["__interrupt__"][0].value == "Really?"
    assert go(Command(resume="yes"))["status"] == "completed"
    assert sent == ["x"]


def test_what_was_done_is_told_with_its_answer_however_often() -> None:
    light = ScriptedModel(lambda a: report("not filed", "failed") if a.messages[-1].type == "tool" else diligent(a))
    sent: list[str] = []
    another = plan(milestone("Send and file it.", tools=["send"]))
    third = plan(milestone("File it.", tools=["send"]))
    agent = create_plan_execute_agent(heavy(SEND, another, third), light, [counting(sent, effect="effect")])
    agent.invoke(ASKED)
    assert sent == ["x"]
    told = light.asked[-1].messages[-1].text
    assert told == ("Already done: this very call succeeded earlier in this run. Its result was:\nsent")


def test_two_milestones_of_a_plan_may_mean_to_do_the_same() -> None:
    sent: list[str] = []
    twice = plan(milestone("Send it.", tools=["send"]), milestone("Send it once more.", tools=["send"]))
    agent = create_plan_execute_agent(heavy(twice), ScriptedModel(diligent), [counting(sent, effect="effect")])
    assert agent.invoke(ASKED)["status"] == "completed"
    assert sent == ["x", "x"]


@pytest.mark.parametrize("metadata", [{"effect": "effect", "idempotent": True}, {"effect": "read"}, {}])
async def test_call_that_may_be_repeated_is(threads_url: str, metadata: dict[str, Any]) -> None:
    post = Post()
    (output,) = await stopped_and_resumed(plain(post, **metadata), post, threads_url, ScriptedModel(diligent))
    assert post.sent == ["x", "x"]
    assert output["status"] == "completed"


async def test_id_of_a_call_stays_the_same_when_it_is_made_again(threads_url: str) -> None:
    post, light = Post(), ScriptedModel(diligent)
    tool = keyed(post, effect="effect", idempotent=True)
    (output,) = await stopped_and_resumed(tool, post, threads_url, light)
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


def test_effects_cost_no_step_more() -> None:
    def steps(**metadata: Any) -> int:
        executor = create_executor(ScriptedModel(diligent), [counting([], **metadata)])
        given: Any = {"brief": {"goal": "Send it.", "tools": ["send"]}}
        return sum(1 for _ in executor.stream(given, stream_mode="updates", subgraphs=True))

    assert steps(effect="effect") == steps()


def stored_after_replan(effects: int, milestones: int) -> int:
    """Return the bytes stored of a run with so many effects before a replan, and so many milestones after it."""

    def send(subject: str) -> str:
        """Send a letter."""
        return f"sent {subject}: {'y' * 2_000}"

    def executor(asked: Asked) -> Answer:
        if not any(message.type == "tool" for message in asked.messages):
            return tool_call("send", {"subject": goal_of(asked)})
        return report("no", "failed") if goal_of(asked) == "last" else report("yes")

    first = [milestone(f"a{number}", tools=["send"]) for number in range(effects)]
    second = [milestone(f"b{number}", tools=["send"]) for number in range(milestones)]
    planner = heavy(plan(*first, milestone("last", tools=["send"])), plan(*second, requirements=[]))
    tool = StructuredTool.from_function(send, metadata={"effect": "effect"})
    with sqlite3.connect(":memory:", check_same_thread=False) as connection:
        settings = {"max_replans": 1, "granularity": "fine"}
        agent = agent_with(tool, SqliteSaver(connection), ScriptedModel(executor), planner, **settings)
        ended = agent.invoke(ASKED, {"configurable": {"thread_id": "1"}, "recursion_limit": 1_000})
        assert ended["status"] == "completed"
        sizes = ("SELECT sum(length(checkpoint)) FROM checkpoints", "SELECT sum(length(value)) FROM writes")
        return sum(connection.execute(size).fetchone()[0] for size in sizes)


def test_milestones_after_a_replan_are_not_each_stored_with_all_that_was_done() -> None:
    few, many = (stored_after_replan(effects, 8) - stored_after_replan(effects, 1) for effects in (10, 50))
    assert many < 2 * few
