"""Calls that hang, end their process or stop an iteration: on the real graph, in sync and in async code."""

import os
import subprocess
import sys

import pytest

MANY = (os.cpu_count() or 1) + 6
"""More than the threads of asyncio's default executor."""

HUNG = f"""
import asyncio, threading, time
from langchain_core.tools import BaseTool, Tool, tool
from plan_execute import create_plan_execute_agent
from tests.fakes import ScriptedModel, diligent, heavy, milestone, plan

for_ever = threading.Event()

def hang(subject: str) -> str:
    "Never return."
    for_ever.wait()
    return ""

class Plain(BaseTool):
    name: str = "look_up"
    description: str = "Never return."

    def _run(self, subject: str) -> str:
        return hang(subject)

def hung_model(asked):
    for_ever.wait()
    return "never"

async def hang_awaited(subject: str) -> str:
    await asyncio.Event().wait()
    return ""

TOOLS = {{
    "coroutine": Tool("look_up", None, "Never return.", coroutine=hang_awaited),
    "function": tool("look_up")(hang),
    "tool": Tool("look_up", hang, "Never return."),
    "subclass": Plain(),
}}

async def main(kind: str) -> None:
    executor = ScriptedModel(hung_model if kind == "executor" else diligent)
    planner = ScriptedModel(hung_model) if kind == "planner" else heavy(plan(milestone("Find a.")))
    stuck = create_plan_execute_agent(
        planner, executor, [TOOLS.get(kind, TOOLS["function"])],
        context={{"milestone_timeout": 1, "max_replans": 0, "max_attempts": 1}},
    )

    def look_up(subject: str) -> str:
        "Look a subject up."
        return "found"

    quick = create_plan_execute_agent(heavy(plan(milestone("Find b."))), ScriptedModel(diligent), [look_up])
    asked = {{"messages": [("user", "Find it.")]}}
    runs = [stuck.ainvoke(asked) for _ in range({MANY})]
    waiting = asyncio.ensure_future(asyncio.gather(*runs))
    await asyncio.sleep(0.5)
    beside = await asyncio.to_thread(lambda: "the loop's own threads are free")
    ended = await quick.ainvoke(asked)
    print(beside, ended["status"])
    print({{run["status"] for run in await waiting}})
"""


SYNC = f"""{HUNG}
def at_once(kind: str) -> None:
    executor = ScriptedModel(hung_model if kind == "executor" else diligent)
    planner = ScriptedModel(hung_model) if kind == "planner" else heavy(plan(milestone("Find a.")))
    stuck = create_plan_execute_agent(
        planner, executor, [TOOLS[kind]] if kind in TOOLS else [TOOLS["function"]],
        context={{"milestone_timeout": 1, "max_replans": 0, "max_attempts": 1}},
    )
    print(stuck.invoke({{"messages": [("user", "Find it.")]}})["status"])
"""


@pytest.mark.parametrize("kind", ["function", "tool", "subclass", "executor", "planner"])
def test_calls_that_hang_under_ainvoke_end_their_milestones_and_hold_up_neither_the_loop_nor_the_exit(
    kind: str,
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"{HUNG}\nasyncio.run(main({kind!r}))"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    beside, statuses = ended.stdout.splitlines()
    assert beside == "the loop's own threads are free completed"
    assert statuses == "{'aborted'}"


@pytest.mark.parametrize("kind", ["function", "coroutine", "executor", "planner"])
def test_calls_that_hang_under_invoke_do_not_hold_up_the_exit(kind: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"{SYNC}\nat_once({kind!r})"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "aborted\n"), ended.stderr
