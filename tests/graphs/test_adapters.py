"""The agent as a part of something else: a graph's node, an agent's tool, a link of a chain, several at once."""

import asyncio
import threading
import uuid
import warnings
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from typing import Annotated, Any, Literal

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from plan_execute.agent import Context
from plan_execute.graphs import as_runnable, as_tool, create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import (
    Answer,
    Asked,
    ScriptedModel,
    diligent,
    goal_of,
    heavy,
    milestone,
    plan,
    report,
    synthesis,
    tool_call,
)

ASKED: Any = {"messages": [HumanMessage("Do it.")]}
ONE = plan(milestone("Find a."))
TWO = plan(milestone("Find a."), milestone("Find b."))
THIRTY = plan(*[milestone(f"Find {number}.") for number in range(30)])
APPROVED: Any = {"decisions": [{"type": "approve"}]}
EMPTIED: Any = {
    "decisions": [{"type": "edit", "edited_action": {"name": "review_plan", "args": {"milestones": []}}}],
}

Way = Literal["sync", "async"]
both_ways = pytest.mark.parametrize("way", ["sync", "async"])


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


def make(planner: ScriptedModel, executor: ScriptedModel | None = None, **options: Any) -> PlanExecuteAgent:
    return create_plan_execute_agent(planner, executor or ScriptedModel(diligent), [look_up], **options)


def echo(asked: Asked) -> Answer:
    """Plan to find what the request says; answer with what was found."""
    if asked.tools == ["Synthesis"]:
        return synthesis(asked.text.rpartition("result of: ")[2].splitlines()[0])
    return plan(milestone(f"Find {request_of(asked)}"))


def failing_at_b(asked: Asked) -> Answer:
    return report("in vain", "failed") if goal_of(asked) == "Find b." else diligent(asked)


def request_of(asked: Asked) -> str:
    return asked.text.rpartition("\n<request ")[2].splitlines()[1]


def together(number: int, answer: Callable[[Asked], Answer]) -> ScriptedModel:
    """A model whose first so many calls wait for each other, so that as many runs are under way at the same time."""
    barrier, calls = threading.Barrier(number, timeout=60), count(1)

    def wait(asked: Asked) -> Answer:
        if next(calls) <= number:
            barrier.wait()
        return answer(asked)

    return ScriptedModel(wait)


def host(agent: Any, **options: Any) -> Any:
    """A graph that shares messages with the agent and nothing else."""
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("agent", agent)
    builder.add_edge(START, "agent")
    return builder.compile(**options)


def outer(inner: PlanExecuteAgent, *requests: str, **options: Any) -> Any:
    """An agent that calls the inner one with every request at once, and then repeats what it was told."""
    calls = [("plan_execute", {"request": request}) for request in requests]

    def say(asked: Asked) -> Answer:
        told = [message.text for message in asked.messages if message.type == "tool"]
        return " | ".join(told) or tool_call(*calls[0], *calls[1:])

    return create_agent(ScriptedModel(say), [as_tool(inner)], **options)


def thread() -> RunnableConfig:
    return {"configurable": {"thread_id": str(uuid.uuid4())}}


async def call(graph: Any, way: Way, *given: Any, **options: Any) -> Any:
    return await graph.ainvoke(*given, **options) if way == "async" else graph.invoke(*given, **options)


@asynccontextmanager
async def opened(url: str, way: Way) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    if way == "async":
        async with open_checkpointer(url) as saver:
            yield saver
    else:
        with open_checkpointer(url) as saver:
            yield saver


def shown(output: Any) -> list[str]:
    """What a person is shown of each plan that waits for them."""
    return [waiting.value["action_requests"][0]["description"] for waiting in output["__interrupt__"]]


def kinds(output: Any) -> list[str]:
    return [message.type for message in output["messages"]]


# A node of another graph


def test_as_a_node_one_ai_message_comes_out_and_the_rest_stays_inside() -> None:
    class Host(TypedDict):
        messages: Annotated[list[AnyMessage], add_messages]
        objective: str
        log: list[str]

    builder = StateGraph(Host)
    builder.add_node("agent", make(heavy(ONE)))
    builder.add_edge(START, "agent")
    own: Any = {"objective": "the host's", "log": ["the host's"]}
    given: Any = {**ASKED, **own}
    output = builder.compile().invoke(given)
    assert kinds(output) == ["human", "ai"]
    assert {key: value for key, value in output.items() if key != "messages"} == own


def test_host_that_wants_the_status_has_a_key_for_it() -> None:
    class Host(MessagesState):
        status: str

    builder = StateGraph(Host)
    builder.add_node("agent", make(heavy(ONE)))
    builder.add_edge(START, "agent")
    output: Any = builder.compile().invoke(ASKED)
    assert output["status"] == "completed"


@both_ways
async def test_review_comes_through_the_host_and_is_answered_there(threads_url: str, way: Way) -> None:
    planner, executor, config = heavy(ONE), ScriptedModel(diligent), thread()
    async with opened(threads_url, way) as saver:
        graph = host(make(planner, executor), checkpointer=saver)
        output = await call(graph, way, ASKED, config, context={"review": "first"}, durability="sync")
        assert shown(output) == ["Plan, revision 1: Step by step.\nm1. Find a."]
        assert executor.asked == []
        output = await call(graph, way, Command(resume=EMPTIED), config, durability="sync")
        assert "at least one milestone" in shown(output)[0]
        output = await call(graph, way, Command(resume=APPROVED), config, durability="sync")
    assert kinds(output) == ["human", "ai"]
    assert len(planner.asked) == 2


def test_host_sends_several_requests_to_it_at_once(threads_url: str) -> None:
    def spread(state: MessagesState) -> list[Send]:
        return [Send("agent", {"messages": [HumanMessage(name)]}) for name in ("the capital", "the river")]

    builder = StateGraph(MessagesState)
    builder.add_node("agent", make(ScriptedModel(echo), context={"review": "first"}))
    builder.add_conditional_edges(START, spread, ["agent"])
    config = thread()
    with open_checkpointer(threads_url) as saver:
        graph = builder.compile(checkpointer=saver)
        output: Any = graph.invoke(ASKED, config)
        assert sorted(text.rpartition(" ")[2] for text in shown(output)) == ["capital", "river"]
        output = graph.invoke(Command(resume={waiting.id: APPROVED for waiting in output["__interrupt__"]}), config)
    assert [message.text for message in output["messages"] if message.type == "ai"] == [
        "Find the capital",
        "Find the river",
    ]


async def test_second_question_on_the_hosts_thread_may_refer_to_the_first(threads_url: str) -> None:
    planner, config = ScriptedModel(echo), thread()
    with open_checkpointer(threads_url) as saver:
        graph = host(make(planner), checkpointer=saver)
        graph.invoke({"messages": [("user", "the first")]}, config)
        output = graph.invoke({"messages": [("user", "more of that")]}, config)
    assert [message.text for message in output["messages"]] == [
        "the first",
        "Find the first",
        "more of that",
        "Find more of that",
    ]
    asked = [asked for asked in planner.asked if asked.tools == ["PlanDraft"]][1]
    assert "human: the first\nai: Find the first" in asked.text


def test_conversation_of_its_own_in_the_hosts_threads() -> None:
    """The host hands over one question at a time; the agent remembers those before."""

    class Host(TypedDict):
        messages: list[AnyMessage]

    planner, config = ScriptedModel(echo), thread()
    builder = StateGraph(Host)
    builder.add_node("agent", make(planner, checkpointer=True))
    builder.add_edge(START, "agent")
    graph = builder.compile(checkpointer=InMemorySaver())
    graph.invoke({"messages": [HumanMessage("the first")]}, config)
    graph.invoke({"messages": [HumanMessage("more of that")]}, config)
    asked = [asked for asked in planner.asked if asked.tools == ["PlanDraft"]][1]
    assert "human: the first\nai: Find the first" in asked.text


def test_thread_of_its_own_beside_the_hosts() -> None:
    agent, own = make(ScriptedModel(echo), checkpointer=InMemorySaver()), thread()

    def ask(state: MessagesState) -> Any:
        question: Any = {"messages": state["messages"][-1:]}
        return {"messages": agent.invoke(question, own)["messages"][-1:]}

    graph = host(ask)  # without a checkpointer
    graph.invoke({"messages": [("user", "the first")]})
    output = graph.invoke({"messages": [("user", "the second")]})
    assert kinds(output) == ["human", "ai"]
    assert len(agent.get_state(own).values["messages"]) == 4


# A tool of another agent


def test_tool_asks_the_model_for_a_request_in_words() -> None:
    function = convert_to_openai_tool(as_tool(make(heavy(ONE)), name="research", description="Find out."))["function"]
    assert function == {
        "name": "research",
        "description": "Find out.",
        "parameters": {
            "type": "object",
            "properties": {"request": {"type": "string"}},
            "required": ["request"],
        },
    }


def test_tool_has_the_agents_name_and_says_that_it_sees_nothing_of_the_conversation() -> None:
    made = as_tool(make(heavy(ONE), name="research"))
    assert made.name == "research"
    assert "sees nothing of this conversation" in made.description


@both_ways
async def test_outer_agent_gets_the_answer_and_nothing_else(way: Way) -> None:
    output = await call(outer(make(ScriptedModel(echo)), "the capital"), way, ASKED)
    assert [(message.type, message.text) for message in output["messages"][2:]] == [
        ("tool", "Find the capital"),
        ("ai", "Find the capital"),
    ]
    artifact = output["messages"][2].artifact
    assert artifact.keys() == {"status", "error", "usage", "structured_response"}
    assert (artifact["status"], artifact["usage"]["executor"]["calls"]) == ("completed", 2)


@both_ways
async def test_requests_at_once_are_runs_of_their_own(way: Way) -> None:
    output = await call(outer(make(together(2, echo)), "the capital", "the river"), way, ASKED)
    assert output["messages"][-1].text == "Find the capital | Find the river"


@pytest.mark.parametrize(
    ("planner", "executor", "settings", "said", "result"),
    [
        (heavy(TWO), ScriptedModel(failing_at_b), {"max_replans": 0}, "aborted, max_replans", "result of: Find a."),
        (heavy("no plan"), ScriptedModel(diligent), {}, "aborted, plan_unparsable", None),
        (heavy(TWO), ScriptedModel(diligent), {"budget": {"tokens": 40}}, "partial, budget", "The answer."),
        (
            heavy(ONE, end=synthesis("Half of it.", met=[False])),
            ScriptedModel(diligent),
            {},
            "partial, unmet_requirements",
            "Half of it.",
        ),
    ],
)
def test_run_that_did_not_complete_is_not_passed_off_as_complete(
    planner: ScriptedModel, executor: ScriptedModel, settings: Any, said: str, result: str | None
) -> None:
    agent = make(planner, executor, context=settings)
    why = agent.invoke(ASKED)["error"]
    told = outer(agent, "it").invoke(ASKED)["messages"][2]
    assert told.text.startswith(f"Not complete ({said}): {why['message']}")
    assert result is None or result in told.text
    if said.startswith("partial"):
        assert (told.status, told.artifact["error"]) == ("success", why)
    else:
        assert (told.status, told.artifact) == ("error", None)
    message = as_runnable(agent).invoke("it")
    assert message.text == told.text
    assert message.response_metadata == {"status": said.partition(",")[0], "error": why}
    assert why["code"] == said.partition(", ")[2]


@both_ways
async def test_limit_that_no_run_can_keep_is_an_error_of_the_tool(way: Way) -> None:
    agent = make(heavy(ONE)).with_config(recursion_limit=3)
    told = (await call(outer(agent, "it"), way, ASKED))["messages"][2]
    assert (told.status, told.text.partition(".")[0]) == (
        "error",
        "Not done: the recursion limit is too low for a single milestone",
    )


@both_ways
async def test_review_comes_through_the_outer_agent_and_is_answered_there(threads_url: str, way: Way) -> None:
    planner, executor, config = ScriptedModel(echo), ScriptedModel(diligent), thread()
    async with opened(threads_url, way) as saver:
        graph = outer(make(planner, executor), "the capital", checkpointer=saver, context_schema=Context)
        output = await call(graph, way, ASKED, config, context={"review": "first"}, durability="sync")
        assert shown(output) == ["Plan, revision 1: Step by step.\nm1. Find the capital"]
        assert executor.asked == []
        output = await call(graph, way, Command(resume=EMPTIED), config, durability="sync")
        assert "at least one milestone" in shown(output)[0]
        output = await call(graph, way, Command(resume=APPROVED), config, durability="sync")
    assert output["messages"][-1].text == "Find the capital"
    assert len(planner.asked) == 2


@both_ways
async def test_reviews_at_once_are_answered_one_by_one(threads_url: str, way: Way) -> None:
    planner, executor, config = ScriptedModel(echo), ScriptedModel(diligent), thread()
    agent = make(planner, executor, context={"review": "first"})
    async with opened(threads_url, way) as saver:
        graph = outer(agent, "the capital", "the river", checkpointer=saver)
        output = await call(graph, way, ASKED, config, durability="sync")
        first, second = sorted(output["__interrupt__"], key=lambda w: w.value["action_requests"][0]["description"])
        reject = {"decisions": [{"type": "reject"}]}
        output = await call(graph, way, Command(resume={second.id: reject}), config, durability="sync")
        assert [waiting.id for waiting in output["__interrupt__"]] == [first.id]
        output = await call(graph, way, Command(resume={first.id: APPROVED}), config, durability="sync")
    assert output["messages"][-1].text == (
        "Find the capital | Not complete (aborted, rejected): The plan was rejected. Unmet: 1. Answer it. (not reached)"
    )
    assert len([asked for asked in planner.asked if asked.tools == ["PlanDraft"]]) == 2


async def test_outer_agent_that_was_stopped_goes_on_where_the_inner_one_was(threads_url: str) -> None:
    called, release = threading.Event(), threading.Event()

    def hang_at_b(asked: Asked) -> Answer:
        if goal_of(asked) == "Find b." and not called.is_set():
            called.set()
            release.wait(60)
        return diligent(asked)

    planner = heavy(TWO)
    executor, config = ScriptedModel(hang_at_b), thread()
    async with opened(threads_url, "async") as saver:
        graph = outer(make(planner, executor), "it", checkpointer=saver)
        task = asyncio.create_task(graph.ainvoke(ASKED, config, durability="sync"))
        await asyncio.to_thread(called.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        output = await graph.ainvoke(None, config, durability="sync")
    assert output["messages"][-1].text == "The answer."
    assert len(planner.asked) == 2
    assert len([asked for asked in executor.asked if goal_of(asked) == "Find a."]) == 2


def manager(inner: PlanExecuteAgent, **options: Any) -> PlanExecuteAgent:
    """A plan-execute agent whose only tool is another one."""

    def delegate(asked: Asked) -> Answer:
        told = [message.text for message in asked.messages if message.type == "tool"]
        return report(told[-1]) if told else tool_call("research", {"request": "the capital"})

    planner = heavy(plan(milestone("Delegate.", tools=["research"])))
    return create_plan_execute_agent(planner, ScriptedModel(delegate), [as_tool(inner, name="research")], **options)


@both_ways
async def test_agent_of_the_same_kind_delegates_to_it(threads_url: str, way: Way) -> None:
    inner, config = make(ScriptedModel(echo), context={"review": "first"}), thread()
    async with opened(threads_url, way) as saver:
        graph = manager(inner, checkpointer=saver)
        output = await call(graph, way, ASKED, config, durability="sync")
        assert shown(output) == ["Plan, revision 1: Step by step.\nm1. Find the capital"]
        output = await call(graph, way, Command(resume=APPROVED), config, durability="sync")
    assert (output["status"], output["milestones"]["m1"]["result"]) == ("completed", "Find the capital")


def test_agent_of_the_same_kind_does_not_take_an_aborted_run_for_a_success() -> None:
    inner = make(heavy(ONE), ScriptedModel([report("in vain", "failed")]), context={"max_replans": 0})
    output = manager(inner, context={"max_replans": 0}).invoke(ASKED)
    assert (output["status"], output["milestones"]["m1"]["status"]) == ("aborted", "failed")


def test_tool_without_anybody_to_ask_says_that_it_waits() -> None:
    @tool("look_up")
    def ask(subject: str) -> str:
        """Look a subject up."""
        return str(interrupt("Which one?"))

    agent = create_plan_execute_agent(heavy(ONE), ScriptedModel(diligent), [ask])
    told = as_tool(agent).invoke({"request": "Do it."})
    assert told.startswith("Not done: the run was interrupted and waits.\n\n")
    assert told.endswith("Which one?")


def test_outer_agents_stream_has_the_progress_of_the_inner_one_and_not_its_words() -> None:
    graph = outer(make(ScriptedModel(echo)), "the capital")
    stream = graph.stream(ASKED, stream_mode=["custom", "messages"], subgraphs=True)
    seen = [(namespace, mode, news) for namespace, mode, news in stream]
    assert "plan_created" in [news["type"] for _, mode, news in seen if mode == "custom"]
    own = [news[0].text for namespace, mode, news in seen if mode == "messages" and not namespace]
    assert own == ["", "Find the capital", "Find the capital"]


def test_langgraphs_own_tool_works_if_it_is_told_what_messages_are() -> None:
    with warnings.catch_warnings(action="ignore"):  # it is in beta
        native = make(heavy(ONE)).as_tool(name="research", description="Find out.", arg_types={"messages": list})
    output = native.invoke({"messages": [{"role": "user", "content": "Do it."}]})
    assert (output["status"], output["answer"]) == ("completed", "The answer.")


# A link of a chain


def chain(agent: Any) -> Any:
    return ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "Find {what}.")]) | as_runnable(agent)


@both_ways
async def test_chain_of_prompt_agent_and_parser(way: Way) -> None:
    planner = ScriptedModel(echo)
    assert await call(chain(make(planner)) | StrOutputParser(), way, {"what": "Rome"}) == "Find Find Rome."
    assert "system: Be brief." in planner.asked[0].text


@pytest.mark.parametrize(
    "given",
    ["Do it.", HumanMessage("Do it."), [("user", "Do it.")], [HumanMessage("Do it.")], ASKED],
    ids=["text", "message", "tuples", "messages", "state"],
)
def test_whatever_a_chat_model_or_the_graph_takes_goes_in(given: Any) -> None:
    message = as_runnable(make(ScriptedModel(echo))).invoke(given)
    assert isinstance(message, AIMessage)
    assert (message.text, message.response_metadata) == ("Find Do it.", {"status": "completed", "error": None})


@both_ways
async def test_thirty_milestones_in_a_chain(way: Way) -> None:
    agent = make(heavy(THIRTY), context={"granularity": "fine"})
    message = await call(chain(agent), way, {"what": "all"})
    assert message.response_metadata == {"status": "completed", "error": None}
    bare = await call(RunnableLambda(lambda given: given) | agent, way, ASKED)
    assert bare["error"]["code"] == "recursion_limit"  # why `as_runnable` is there


def test_thirty_milestones_in_a_tool_on_its_own() -> None:
    assert as_tool(make(heavy(THIRTY), context={"granularity": "fine"})).invoke({"request": "all"}) == "The answer."


@pytest.mark.parametrize("where", ["chain", "agent", "both"])
def test_limit_that_was_given_stays(where: str) -> None:
    agent: Any = make(heavy(THIRTY), context={"granularity": "fine"})
    if where != "chain":
        agent = agent.with_config(recursion_limit=20)
    message = chain(agent).invoke({"what": "all"}, {"recursion_limit": 40 if where == "chain" else 25})
    assert message.response_metadata["error"]["code"] == "recursion_limit"


def test_review_in_a_chain_is_answered_through_the_chain() -> None:
    agent = make(heavy(ONE), context={"review": "first"}, checkpointer=InMemorySaver())
    link, config = as_runnable(agent), thread()
    waiting = link.invoke("Do it.", config)
    assert waiting.response_metadata["status"] == "running"
    assert "m1. Find a." in waiting.text
    assert (link | StrOutputParser()).invoke(Command(resume=APPROVED), config) == "The answer."


def test_second_question_through_a_chain_may_refer_to_the_first() -> None:
    planner, config = ScriptedModel(echo), thread()
    link = as_runnable(make(planner, checkpointer=InMemorySaver()))
    link.invoke("the first", config)
    link.invoke("more of that", config)
    asked = [asked for asked in planner.asked if asked.tools == ["PlanDraft"]][1]
    assert "human: the first\nai: Find the first" in asked.text


# Several at once

NAMES = ["alpha", "beta", "gamma"]


def check_nothing_leaked(outputs: list[Any], planner: ScriptedModel, executor: ScriptedModel) -> None:
    assert [output["answer"] for output in outputs] == [f"Find {name}" for name in NAMES]
    assert [len(output["messages"]) for output in outputs] == [2, 2, 2]
    for asked in [*planner.asked, *executor.asked]:
        (about,) = [name for name in NAMES if name in asked.text]
        instructed = [name for name in NAMES if f"Instructions of {name.upper()}" in asked.text]
        assert instructed in ([], [about])
    assert any("Instructions of" in asked.text for asked in executor.asked)


def context(name: str) -> Context:
    text = f"Instructions of {name.upper()}"
    return Context(planner_instructions=text, executor_instructions=text)


def test_threads_with_contexts_of_their_own() -> None:
    planner, executor = together(3, echo), ScriptedModel(diligent)
    agent = make(planner, executor, checkpointer=InMemorySaver())

    def run(name: str) -> Any:
        return agent.invoke({"messages": [HumanMessage(name)]}, thread(), context=context(name))

    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(run, NAMES))
    check_nothing_leaked(outputs, planner, executor)


async def test_tasks_with_contexts_of_their_own() -> None:
    planner, executor = together(3, echo), ScriptedModel(diligent)
    agent = make(planner, executor, checkpointer=InMemorySaver())
    runs = [agent.ainvoke({"messages": [HumanMessage(name)]}, thread(), context=context(name)) for name in NAMES]
    check_nothing_leaked(await asyncio.gather(*runs), planner, executor)


@both_ways
async def test_batch_on_threads_of_their_own(way: Way) -> None:
    planner = together(3, echo)
    agent = make(planner, checkpointer=InMemorySaver())
    requests: Any = [{"messages": [HumanMessage(name)]} for name in NAMES]
    configs = [thread() for _ in NAMES]
    outputs = await agent.abatch(requests, configs) if way == "async" else agent.batch(requests, configs)
    assert [output["answer"] for output in outputs] == [f"Find {name}" for name in NAMES]
    for name, config in zip(NAMES, configs, strict=True):
        assert [message.text for message in agent.get_state(config).values["messages"]] == [name, f"Find {name}"]
