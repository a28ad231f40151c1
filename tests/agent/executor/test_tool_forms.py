"""Tools in every form that LangChain takes, in sync and in async code, on the real graph."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.tools import BaseTool, StructuredTool, Tool, tool
from pydantic import BaseModel

from plan_execute import create_plan_execute_agent
from plan_execute.graphs import create_executor
from tests.fakes import Answer, Asked, ScriptedModel, diligent, heavy, milestone, plan, report, tool_call


def find(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


async def afind(subject: str) -> str:
    """Look a subject up."""
    await asyncio.sleep(0)
    return f"about {subject}"


class Blocking(BaseTool):
    name: str = "look_up"
    description: str = "Look a subject up."

    def _run(self, subject: str) -> str:
        return find(subject)


class Awaited(BaseTool):
    name: str = "look_up"
    description: str = "Look a subject up."

    def _run(self, subject: str) -> str:
        raise NotImplementedError("use the async form")

    async def _arun(self, subject: str) -> str:
        return await afind(subject)


class NotAwaited(Blocking):
    async def _arun(self, subject: str) -> str:
        raise NotImplementedError("use the sync form")


class Both(Blocking):
    async def _arun(self, subject: str) -> str:
        return await afind(subject)


class Unfinished(Blocking):
    """One whose own code has a gap: no reason to call it again in another form."""

    def _run(self, subject: str) -> str:
        return self._gap()

    async def _arun(self, subject: str) -> str:
        return self._gap()

    def _gap(self) -> str:
        CALLS.append("called")
        raise NotImplementedError("a gap")


class Subject(BaseModel):
    """What to look up."""

    subject: str


CALLS: list[str] = []
FORMS: dict[str, Callable[..., Any] | BaseTool] = {
    "function": find,
    "coroutine": afind,
    "structured": StructuredTool.from_function(find),
    "structured, async": StructuredTool.from_function(coroutine=afind),
    "structured, both": StructuredTool.from_function(find, afind, args_schema=Subject),
    "structured, JSON schema": StructuredTool.from_function(
        find, args_schema={"type": "object", "properties": {"subject": {"type": "string"}}}
    ),
    "Tool": Tool("look_up", find, "Look a subject up."),
    "Tool, async": Tool("look_up", None, "Look a subject up.", coroutine=afind),
    "Tool, both": Tool("look_up", find, "Look a subject up.", coroutine=afind),
    "BaseTool, sync": Blocking(),
    "BaseTool, async": Awaited(),
    "BaseTool, async refuses": NotAwaited(),
    "BaseTool, both": Both(),
}


def use_tool(asked: Asked) -> Answer:
    """Call the first tool with the argument it has, and report what it said."""
    said = [message.text for message in asked.messages if message.type == "tool"]
    if said:
        return report(said[-1])
    name = next(name for name in asked.tools if name != "MilestoneReport")
    return tool_call(name, {"__arg1": "x"} if asked.tools[0] == "look_up" and SIMPLE else {"subject": "x"})


SIMPLE: list[str] = []


@pytest.mark.parametrize("form", FORMS)
async def test_tool_of_any_form_is_called_in_sync_and_in_async(form: str) -> None:
    given = FORMS[form]
    named = given if isinstance(given, BaseTool) else tool("look_up")(given)
    agent = create_plan_execute_agent(
        heavy(plan(milestone("Find x.", tools=[named.name]))), ScriptedModel(use_tool), [named]
    )
    SIMPLE[:] = ["yes"] if form.startswith("Tool") else []
    asked: Any = {"messages": [("user", "What is x?")]}
    for output in (await asyncio.to_thread(agent.invoke, asked), await agent.ainvoke(asked)):
        assert output["milestones"]["m1"]["result"] == "about x"
        assert output["status"] == "completed"


async def test_tool_whose_own_code_has_a_gap_is_called_once() -> None:
    executor = create_executor(ScriptedModel(use_tool), [Unfinished()])
    SIMPLE.clear()
    CALLS.clear()
    brief: Any = {"brief": {"goal": "Find x.", "tools": ["look_up"]}}
    await asyncio.to_thread(executor.invoke, brief)
    await executor.ainvoke(brief)
    assert len(CALLS) == 2


@pytest.mark.parametrize("schema", [{"type": "object"}, {}, {"type": "object", "properties": {}}])
async def test_tool_that_takes_nothing_is_called(schema: dict[str, Any]) -> None:
    def ping() -> str:
        """Say whether the service is there."""
        return "pong"

    async def aping() -> str:
        return "pong"

    tools = [StructuredTool(name="ping", description="Say whether it is there.", args_schema=schema, func=ping)]
    tools.append(StructuredTool(name="aping", description="The same.", args_schema=schema, coroutine=aping))
    for given in tools:
        agent = create_plan_execute_agent(
            heavy(plan(milestone("Ping it.", tools=[given.name]))),
            ScriptedModel(lambda a: report("there") if a.messages[-1].type == "tool" else tool_call(a.tools[0], {})),
            tools,
        )
        asked: Any = {"messages": [("user", "Is it there?")]}
        for output in (await asyncio.to_thread(agent.invoke, asked), await agent.ainvoke(asked)):
            assert output["status"] == "completed"
            assert [call["ok"] for call in output["milestones"]["m1"]["tool_calls"]] == [True]


async def test_three_hundred_tools_are_offered_and_the_granted_one_is_called() -> None:
    tools = [
        StructuredTool.from_function(find, afind if number % 2 else None, name=f"look_up_{number}")
        for number in range(300)
    ]
    planner = heavy(plan(milestone("Find x.", tools=["look_up_299"])))
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), tools)
    asked: Any = {"messages": [("user", "What is x?")]}
    for output in (await asyncio.to_thread(agent.invoke, asked), await agent.ainvoke(asked)):
        assert output["status"] == "completed"
    assert all(f"look_up_{number}(" in planner.asked[0].text for number in range(300))


@pytest.mark.parametrize("kind", ["structured", "subclass"])
async def test_coroutine_that_ends_the_process_ends_its_call(kind: str) -> None:
    async def leave(subject: str) -> str:
        """End the process."""
        sys.exit(3)

    class Leaving(Both):
        async def _arun(self, subject: str) -> str:
            return await leave(subject)

    given = Leaving() if kind == "subclass" else StructuredTool.from_function(coroutine=leave, name="look_up")
    executor = create_executor(ScriptedModel(use_tool), [given])
    output = await executor.ainvoke({"brief": {"goal": "Find x.", "tools": ["look_up"]}})
    assert "SystemExit" in output["milestones"]["m1"]["tool_calls"][0]["error"]


@pytest.mark.parametrize("where", ["tool", "executor", "planner"])
async def test_iteration_that_is_over_is_an_error_like_any_other(where: str) -> None:
    def over(*_: object) -> str:
        return next(iter(()))

    @tool
    def look_up(subject: str) -> str:
        """Look a subject up."""
        return over() if where == "tool" else "found"

    planner = ScriptedModel(over) if where == "planner" else heavy(plan(milestone("Find x.")))
    executor = ScriptedModel(over) if where == "executor" else ScriptedModel(diligent)
    agent = create_plan_execute_agent(planner, executor, [look_up], context={"max_replans": 0})
    asked: Any = {"messages": [("user", "What is x?")]}
    for output in (await asyncio.to_thread(agent.invoke, asked), await agent.ainvoke(asked)):
        assert output["status"] == "aborted"
        said = output["milestones"]["m1"]["failure"] if where != "planner" else output["error"]
        assert "StopIteration" in str(said)


@pytest.mark.parametrize("where", ["tool", "executor", "planner"])
def test_ctrl_c_inside_a_call_ends_the_run(where: str) -> None:
    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    @tool
    def look_up(subject: str) -> str:
        """Look a subject up."""
        return stop() if where == "tool" else "found"

    planner = ScriptedModel(stop) if where == "planner" else heavy(plan(milestone("Find x.")))
    executor = ScriptedModel(stop) if where == "executor" else ScriptedModel(diligent)
    agent = create_plan_execute_agent(planner, executor, [look_up], context={"max_replans": 0})
    asked: Any = {"messages": [("user", "What is x?")]}
    with pytest.raises(KeyboardInterrupt):
        agent.invoke(asked)
