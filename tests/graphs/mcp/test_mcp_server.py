"""The agent as an MCP server: asked, answered and resumed by a client."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.memory import create_connected_server_and_client_session
from mcp.types import TextContent

from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.mcp.server import make_server
from plan_execute.graphs.persistence import open_checkpointer
from tests.fakes import Answer, Asked, ScriptedModel, diligent, heavy, milestone, plan, report
from tests.openai_server import OpenAIServer


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


def lacks_number(asked: Asked) -> Answer:
    return diligent(asked) if "4711" in asked.text else report("", "blocked", missing="the order's number")


class Client:
    """A client of a server with scripted models."""

    def __init__(self, light: Any = diligent, **settings: Any) -> None:
        self.settings, self.light = settings, light
        self.planner = heavy(plan(milestone("Find the order.")), plan(milestone("Ask the shop.")))
        self.told: list[tuple[float, float | None, str | None]] = []

    async def __aenter__(self) -> "Client":
        self._saver = open_checkpointer("memory")
        saver = self._saver.__enter__()
        agent = create_plan_execute_agent(
            self.planner, ScriptedModel(self.light), [look_up], checkpointer=saver, context=self.settings
        )
        self._session = create_connected_server_and_client_session(make_server(agent, saver, {}))
        self.session = await self._session.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._session.__aexit__(*error)
        self._saver.__exit__(None, None, None)

    async def call(self, name: str, **arguments: Any) -> tuple[bool, str]:
        """Whether it went well, and the text that came back."""

        async def note(progress: float, total: float | None, message: str | None) -> None:
            self.told.append((progress, total, message))

        result = await self.session.call_tool(name, arguments, progress_callback=note)
        [block] = result.content
        assert isinstance(block, TextContent)
        return not result.isError, block.text


async def test_request_is_answered_with_its_progress() -> None:
    async with Client() as client:
        went_well, text = await client.call("ask", request="Where is my order?", thread="orders")
    assert (went_well, text) == (True, "The answer.\n\n(Thread 'orders'.)")
    assert client.told == [(0, 1, "Plan: Step by step."), (1, 1, "m1 completed")]


async def test_run_that_waits_says_what_for_and_goes_on_with_the_answer() -> None:
    async with Client(lacks_number, ask_user=True) as client:
        _, text = await client.call("ask", request="Where is my order?", thread="orders")
        assert "waits for a person's decision" in text
        assert "needs to know: the order's number" in text
        went_well, asked = await client.call("resume", thread="orders")
        assert not went_well
        assert "needs to know: the order's number" in asked
        _, listed = await client.call("threads")
        assert [(found["thread"], found["waits"]) for found in json.loads(listed)] == [("orders", True)]
        assert await client.call("resume", thread="orders", answer="4711") == (
            True,
            "The answer.\n\n(Thread 'orders'.)",
        )
        assert "has nothing to resume. The answer." in (await client.call("resume", thread="orders"))[1]


@pytest.mark.parametrize(("answer", "plans"), [("approve", 1), ('{"type": "approve"}', 1), ("Ask the shop.", 2)])
async def test_plan_is_reviewed(answer: str, plans: int) -> None:
    async with Client(review="first") as client:
        _, text = await client.call("ask", request="Where is my order?", thread="orders")
        assert "1. Find the order." in text.replace("m1.", "1.")
        _, text = await client.call("resume", thread="orders", answer=answer)
        assert len([asked for asked in client.planner.asked if asked.tools == ["PlanDraft"]]) == plans
        assert ("waits for a person" in text) == (plans == 2)


async def test_second_request_continues_the_conversation_and_another_thread_does_not() -> None:
    async with Client() as client:
        await client.call("ask", request="Where is my order?", thread="orders")
        await client.call("ask", request="And the other?", thread="orders")
        await client.call("ask", request="Who are you?")
        _, again, new = [asked.text for asked in client.planner.asked if asked.tools == ["PlanDraft"]]
        assert "Where is my order?" in again
        assert "Where is my order?" not in new
        assert len(json.loads((await client.call("threads"))[1])) == 2


async def test_mistake_is_one_sentence() -> None:
    async with Client() as client:
        went_well, text = await client.call("resume", thread="nobody", answer="yes")
    assert not went_well
    assert "Unknown thread 'nobody': plan-execute threads lists those that are stored." in text


async def test_command_serves_a_client_over_its_pipes(models: OpenAIServer, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "plan_execute.graphs.cli.main",
        "mcp",
        "--checkpointer",
        str(tmp_path / "a.sqlite"),
    ]
    server = StdioServerParameters(
        command=command[0], args=command[1:], env={**models.environment, "HOME": str(tmp_path)}
    )
    async with stdio_client(server) as pipes, ClientSession(*pipes) as session:
        await session.initialize()
        assert {offered.name for offered in (await session.list_tools()).tools} == {"ask", "resume", "threads"}
        result = await session.call_tool("ask", {"request": "What is 6 * 7?", "thread": "sum"})
    [block] = result.content
    assert isinstance(block, TextContent)
    assert block.text == "It is 42.\n\n(Thread 'sum'.)"
