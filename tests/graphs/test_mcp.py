"""MCP servers on the real graph: kinds and trust, effects at most once, secrets, and how long sessions last."""

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from plan_execute import ConfigurationError, create_executor, create_plan_execute_agent
from plan_execute.graphs import open_checkpointer
from plan_execute.graphs.report import render_report
from plan_execute.tools import McpServers
from tests.fakes import ScriptedModel, call, diligent, direct, heavy, milestone, plan
from tests.mcp_servers import SECRET, environment, listing, pid_in, runs, stdio, tool_named, wait_until

ASKED: Any = {"messages": [("user", "Tell them.")]}
CONFIG: Any = {"configurable": {"thread_id": "t"}}


def agent_with(*drafts: dict[str, Any], mcp: Any = None, **settings: Any) -> Any:
    return create_plan_execute_agent(heavy(plan(*drafts)), ScriptedModel(diligent), mcp=mcp, **settings)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[McpServers]:
    """The test server, which notes in a file `notes` in its folder what it sent."""
    folder = tmp_path_factory.mktemp("graph")
    with McpServers({"t": {**stdio(NOTES="notes", TOKEN=SECRET), "cwd": str(folder)}}) as opened:
        yield opened


async def test_tools_of_servers_are_used_in_sync_and_async_code(servers: McpServers) -> None:
    agent = agent_with(milestone("Find x.", tools=["t_look_up"]), tools=servers.tools)
    for ended in (await asyncio.to_thread(agent.invoke, ASKED), await agent.ainvoke(ASKED), agent.invoke(ASKED)):
        assert ended["status"] == "completed"
        assert ended["milestones"]["m1"]["tool_calls"][0]["ok"]


def test_hints_of_a_server_decide_trust_and_what_the_planner_is_told(servers: McpServers) -> None:
    planner = heavy(plan(direct("Write.", call("t_send", subject="a"))))
    ended = create_plan_execute_agent(planner, ScriptedModel(diligent), servers.tools).invoke(ASKED)
    assert ended["status"] == "completed"
    assert "- t_send(subject) [changes something]: Send a letter." in planner.asked[0].text
    assert "- t_weather(place: object, config?, self?): Tell the weather of a place." in planner.asked[0].text
    assert "This run reads what others wrote" in planner.asked[0].text
    assert ended["milestones"]["m1"]["tool_calls"][0]["effect"]


def test_pinned_arguments_are_checked_against_the_schema_of_the_server(servers: McpServers) -> None:
    wrong, right = ({"place": place} for place in ({"town": "Oslo"}, {"city": "Oslo"}))
    planner = heavy(*(plan(direct("Look.", call("t_weather", **args))) for args in (wrong, right)))
    ended = create_plan_execute_agent(planner, ScriptedModel(diligent), servers.tools).invoke(ASKED)
    assert ended["status"] == "completed"
    assert "'t_weather' does not take: place: 'city' is a required property." in planner.asked[1].text


def test_secrets_of_the_file_reach_no_checkpoint_event_log_or_page(
    servers: McpServers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with open_checkpointer(f"sqlite:///{tmp_path / 'threads.sqlite'}") as saver:
        agent = agent_with(
            direct("Look.", call("t_environment"), call("t_fail", text="no")),
            tools=servers.tools,
            context={"max_replans": 0, "max_attempts": 1},
            checkpointer=saver,
        )
        modes: Any = ["values", "updates", "custom", "debug", "messages"]
        news = str(list(agent.stream(ASKED, CONFIG, stream_mode=modes, subgraphs=True)))
        page = render_report(agent.get_state(CONFIG).values, thread="t")
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"[redacted]" in stored
    assert SECRET.encode() not in stored
    assert not any(SECRET in text for text in (news, caplog.text, page))


@pytest.mark.parametrize("factory", [create_plan_execute_agent, create_executor])
def test_server_that_cannot_be_used_is_a_wrong_setting(factory: Any) -> None:
    with pytest.raises(ConfigurationError, match="The MCP server 'a' needs the command 'no-such-command'"):
        factory(mcp={"a": {"command": "no-such-command"}})


def test_sessions_last_as_long_as_the_agent_or_a_copy_of_it(tmp_path: Path) -> None:
    answer = {"content": [{"type": "text", "text": "found"}]}
    server = listing(tmp_path, [tool_named("look_up", inputSchema={})], answer)
    agent = agent_with(milestone("Find x.", tools=["t_look_up"]), mcp={"t": server})
    pid = pid_in(tmp_path / "answers.pid")
    copy = agent.with_config(tags=["copy"])
    del agent
    gc.collect()
    assert copy.invoke(ASKED)["status"] == "completed"
    del copy
    gc.collect()
    wait_until(lambda: not runs(pid), seconds=5)


def sender(folder: Path) -> Iterator[Any]:
    """An agent with a checkpointer, whose only call takes for ever."""
    server = listing(folder, [tool_named("send", inputSchema={"properties": {"subject": {}}})])
    with open_checkpointer(f"sqlite:///{folder / 'threads.sqlite'}") as saver:
        yield agent_with(direct("Write.", call("t_send", subject="a")), mcp={"t": server}, checkpointer=saver)


def test_effect_that_was_under_way_when_the_process_was_killed_is_not_repeated(tmp_path: Path) -> None:
    given = [sys.executable, "-m", "tests.graphs.test_mcp", str(tmp_path)]
    log = tmp_path / "answers.log"
    with subprocess.Popen(given, env=environment()) as process:
        wait_until(lambda: log.exists() and "tools/call" in log.read_text())
        os.kill(process.pid, signal.SIGKILL)
    pid = pid_in(tmp_path / "answers.pid")
    wait_until(lambda: not runs(pid), seconds=5)
    for agent in sender(tmp_path):
        ended = agent.invoke(None, CONFIG)
        (waiting,) = ended["__interrupt__"]
        assert waiting.value["action_requests"][0]["args"]["tool"] == "t_send"
        decision = {"type": "respond", "message": "It was sent."}
        ended = agent.invoke(Command(resume={"decisions": [decision]}), CONFIG)
    assert ended["status"] == "completed"
    assert log.read_text().count("tools/call") == 1


@pytest.mark.parametrize("answer", ["die", None])
def test_effect_whose_call_was_broken_off_is_not_repeated(answer: Any, tmp_path: Path) -> None:
    server = listing(tmp_path, [tool_named("send")], answer)
    with McpServers({"t": server}, call_seconds=0.2) as servers:
        saver = InMemorySaver()
        agent = agent_with(direct("Write.", call("t_send")), tools=servers.tools, checkpointer=saver)
        assert agent.invoke(ASKED, CONFIG)["__interrupt__"][0].value["action_requests"][0]["args"]["tool"] == "t_send"
    assert (tmp_path / "answers.log").read_text().count("tools/call") == 1


if __name__ == "__main__":
    for started in sender(Path(sys.argv[1])):
        started.invoke(ASKED, CONFIG, durability="sync")
