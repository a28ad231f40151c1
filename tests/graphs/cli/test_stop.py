"""A run that is to stop ends at its next checkpoint: what was under way is finished, stored, and not done again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.cli.display import Screen
from plan_execute.graphs.cli.options import Options
from plan_execute.graphs.cli.run import run_until_done
from plan_execute.graphs.persistence.threads import config_of
from tests.fakes import Answer, Asked, ScriptedModel, goal_of, heavy, milestone, plan, report, synthesis, tool_call

ROOT = Path(__file__).parents[3]
GIVEN: Any = {"messages": [("user", "Tell them.")]}
SENDING = plan(*(milestone(goal, tools=["send"]) for goal in ("Tell a.", "Tell b.")))


def run(url: str, thread: str, folder: Path, given: Any, parallel: int, waits: str) -> int:
    """Send letters, each of them noted in a file; `waits` names where it waits for the file `go`."""

    def wait(place: str) -> None:
        if place == waits:
            print("waiting\n", end="", flush=True)
            while not (folder / "go").exists():
                time.sleep(0.05)

    @tool
    def send(subject: str) -> str:
        """Send a letter."""
        wait("tool")
        with (folder / "sent").open("a") as file:
            file.write(f"{subject}\n")
        return "sent"

    send.metadata = {"effect": "effect"}

    def light(asked: Asked) -> Answer:
        wait("model")
        said = [message.text for message in asked.messages if message.type == "tool"]
        return report(said[0]) if said else tool_call("send", {"subject": goal_of(asked)})

    def planner(asked: Asked) -> Answer:
        if asked.tools != ["Synthesis"]:
            return SENDING
        wait("synthesis")
        return synthesis("They know.")

    with open_checkpointer(url) as checkpointer:
        agent = create_plan_execute_agent(
            ScriptedModel(planner),
            ScriptedModel(light),
            [send],
            context={"max_parallel": parallel},
            checkpointer=checkpointer,
        )
        return run_until_done(agent, given, Options(thread=thread), Screen(sys.stdout))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """`run` in a process of its own, up to where it waits; none outlives the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def starting(url: str, thread: str, parallel: int, waits: str) -> subprocess.Popen[bytes]:
        given = json.dumps([url, thread, str(tmp_path), parallel, waits])
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.graphs.cli.test_stop", given],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        begun.append(process)
        assert process.stdout is not None
        for _ in range(parallel):
            next(line for line in process.stdout if line == b"waiting\n")
        return process

    yield starting
    for process in begun:
        with process:
            process.kill()


def stopped(process: subprocess.Popen[bytes], number: int, folder: Path) -> tuple[int, str, str]:
    """Ask a process to stop, then let what it waits for happen: its status, and what it said."""
    assert process.stdout is not None
    process.send_signal(number)
    next(line for line in process.stdout if line.startswith(b"Stopping after the call under way"))
    (folder / "go").touch()
    out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


def sent(folder: Path) -> Counter[str]:
    return Counter((folder / "sent").read_text().splitlines())


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_effect_under_way_is_finished_and_not_repeated(
    kept_url: str, thread: str, tmp_path: Path, start: Any, number: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, printed, said = stopped(start(kept_url, thread, 1, "tool"), number, tmp_path)
    assert ended == status
    assert "→ sent" in printed
    assert said == f"Interrupted: no milestone finished, m1 not. plan-execute resume {thread} resumes it.\n"
    assert sent(tmp_path) == {"Tell a.": 1}
    assert run(kept_url, thread, tmp_path, None, 1, "") == 0
    assert sent(tmp_path) == {"Tell a.": 1, "Tell b.": 1}
    printed = capsys.readouterr().out
    assert "They know." in printed
    assert "Not run" not in printed


def test_effects_under_way_in_parallel_are_finished_and_not_repeated(
    kept_url: str, thread: str, tmp_path: Path, start: Any
) -> None:
    ended, _, said = stopped(start(kept_url, thread, 2, "tool"), signal.SIGINT, tmp_path)
    assert ended == 130
    assert "no milestone finished, m1, m2 not." in said
    assert sent(tmp_path) == {"Tell a.": 1, "Tell b.": 1}
    assert run(kept_url, thread, tmp_path, None, 2, "") == 0
    assert sent(tmp_path) == {"Tell a.": 1, "Tell b.": 1}


def test_answer_of_a_model_is_kept_and_what_it_called_not_yet_made(
    kept_url: str, thread: str, tmp_path: Path, start: Any
) -> None:
    ended, _, _ = stopped(start(kept_url, thread, 1, "model"), signal.SIGINT, tmp_path)
    assert ended == 130
    assert not (tmp_path / "sent").exists()
    assert run(kept_url, thread, tmp_path, None, 1, "") == 0
    assert sent(tmp_path) == {"Tell a.": 1, "Tell b.": 1}


def test_run_that_was_at_its_end_comes_to_it(kept_url: str, thread: str, tmp_path: Path, start: Any) -> None:
    ended, printed, said = stopped(start(kept_url, thread, 1, "synthesis"), signal.SIGINT, tmp_path)
    assert (ended, said) == (0, "")
    assert "They know." in printed


async def test_embedded_run_drains_after_the_effect_under_way(threads_url: str, thread: str) -> None:
    control, calls = RunControl(), Counter[str]()

    @tool
    async def send(subject: str) -> str:
        """Send a letter."""
        calls[subject] += 1
        control.request_drain()
        return "sent"

    send.metadata = {"effect": "effect"}

    def light(asked: Asked) -> Answer:
        said = [message.text for message in asked.messages if message.type == "tool"]
        return report(said[0]) if said else tool_call("send", {"subject": goal_of(asked)})

    def agent_with(checkpointer: Any) -> Any:
        planner = heavy(SENDING, end=synthesis("They know."))
        return create_plan_execute_agent(planner, ScriptedModel(light), [send], checkpointer=checkpointer)

    async with open_checkpointer(threads_url) as checkpointer:
        with pytest.raises(GraphDrained):
            await agent_with(checkpointer).ainvoke(GIVEN, config_of(thread), durability="sync", control=control)
        assert calls == {"Tell a.": 1}
        result = await agent_with(checkpointer).ainvoke(None, config_of(thread), durability="sync")
    assert (result["status"], result["answer"]) == ("completed", "They know.")
    assert [m["result"] for m in result["milestones"].values()] == ["sent", "sent"]
    assert calls == {"Tell a.": 1, "Tell b.": 1}


async def test_cancelled_run_leaves_a_checkpoint_that_resumes(threads_url: str, thread: str) -> None:
    calls: Counter[str] = Counter()
    waiting = asyncio.Event()

    @tool
    async def look_up(subject: str) -> str:
        """Look a subject up."""
        calls[subject] += 1
        if subject == "Find b." and calls[subject] == 1:
            waiting.set()
            await asyncio.sleep(600)
        return f"about {subject}"

    def light(asked: Asked) -> Answer:
        said = [message.text for message in asked.messages if message.type == "tool"]
        return report(said[0]) if said else tool_call("look_up", {"subject": goal_of(asked)})

    async with open_checkpointer(threads_url) as checkpointer:
        planner = heavy(plan(milestone("Find a."), milestone("Find b.")), end=synthesis("Both."))
        agent = create_plan_execute_agent(planner, ScriptedModel(light), [look_up], checkpointer=checkpointer)
        task = asyncio.create_task(agent.ainvoke(GIVEN, config_of(thread), durability="sync"))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left = (await agent.aget_state(config_of(thread))).values["milestones"]
        assert [m["status"] for m in left.values()] == ["completed", "running"]
        result = await agent.ainvoke(None, config_of(thread), durability="sync")
    assert (result["status"], result["answer"]) == ("completed", "Both.")
    assert calls == {"Find a.": 1, "Find b.": 2}
    assert len(planner.asked) == 2


if __name__ == "__main__":
    url, name, folder, parallel, waits = json.loads(sys.argv[1])
    sys.exit(run(url, name, Path(folder), GIVEN, parallel, waits))
