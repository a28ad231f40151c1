"""Threads of an older version, for tests that go on with them: who plays in them, and how they were written.

`tests/graphs/persistence/older_threads.sqlite.gz` was written by the code of commit 88aa5d6, the last one whose modules
all lay flat in `agent/` and `graphs/`. This file was laid beside its `tests/fakes.py` and run there:

    python -m tests.older_threads older_threads.sqlite.gz

It uses nothing that did not exist then. Each thread is begun by a process of its own, because most of them end by being
killed. All have the same plan: find a, find b and send a letter about it, compare.
"""

import gzip
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.tools import BaseTool, tool

from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from tests.fakes import Answer, Asked, ScriptedModel, goal_of, milestone, plan, report, synthesis, tool_call

ASKED: Any = {"messages": [("user", "What do a and b have in common?")]}
GOALS = ("Find a.", "Find b.", "Compare.")
DRAFT = plan(
    milestone(GOALS[0]),
    milestone(GOALS[1], tools=["look_up", "send"]),
    milestone(GOALS[2], depends_on=["m1", "m2"]),
)
SETTINGS: dict[str, dict[str, Any]] = {
    "finished": {},
    "killed": {},
    "killed beside a finished milestone": {"max_parallel": 2},
    "waits for a review": {"review": "first"},
    "waits for an approval": {"approve_tools": ["send"]},
    "waits for an answer": {"ask_user": True},
    "killed while it sent": {},
    "asks whether it sent": {},
}
"""The settings of each thread."""
DEATHS = {
    "killed": "has looked b up",
    "killed beside a finished milestone": "a is finished",
    "killed while it sent": "sends",
    "asks whether it sent": "sends",
}
"""Where a process that begins it is killed."""


class Cast:
    """The models and tools of one thread; it remembers which tools were called."""

    def __init__(self, name: str, death: str = "") -> None:
        self.name = name
        self.death = death
        self.called: list[tuple[str, str]] = []
        self.heavy = ScriptedModel(self._think)
        self.light = ScriptedModel(self._carry_out)

    def agent(self, checkpointer: Any) -> Any:
        """The agent they play in."""
        context = {"trust": "open", **SETTINGS[self.name]}
        return create_plan_execute_agent(
            self.heavy, self.light, self._tools(), context=context, checkpointer=checkpointer
        )

    def _think(self, asked: Asked) -> Answer:
        if asked.tools != ["Synthesis"]:
            return DRAFT
        found = [goal for goal in GOALS if f"result of: {goal}" in asked.text]
        return synthesis(f"From {len(found)} results.")

    def _carry_out(self, asked: Asked) -> Answer:
        goal, answers = goal_of(asked), sum(message.type == "tool" for message in asked.messages)
        if goal == GOALS[1] and self.death == "a is finished":
            threading.Event().wait()  # until the process is killed
        if goal == GOALS[1] and self.name == "waits for an answer" and "In 1999." not in asked.text:
            return report("", "blocked", missing="When was that?")
        if answers == 0:
            return tool_call("look_up", {"subject": goal})
        if goal != GOALS[1] or answers == 2:
            return report(f"result of: {goal}")
        self._die("has looked b up")
        return tool_call("send", {"subject": goal})

    def _tools(self) -> list[BaseTool]:
        @tool
        def look_up(subject: str) -> str:
            """Look a subject up."""
            self.called.append(("look_up", subject))
            return f"about {subject}"

        @tool
        def send(subject: str) -> str:
            """Send a letter about a subject."""
            self.called.append(("send", subject))
            self._die("sends")
            return "sent"

        send.metadata = {"effect": "effect"}
        return [look_up, send]

    def _die(self, where: str) -> None:
        if where == self.death:
            os.kill(os.getpid(), signal.SIGKILL)


def thread_config(name: str) -> Any:
    """The config of a thread."""
    return {"configurable": {"thread_id": name}}


def _begin(place: str, name: str, given: Any, death: str) -> None:
    """Begin a thread, or go on with it, in a process of its own."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    with open_checkpointer(place) as checkpointer:
        agent = Cast(name, death).agent(checkpointer)
        # With `custom` among the modes it is told at once that a milestone is finished, not when its round is.
        modes = ["updates", "custom"]
        for mode, news in agent.stream(given, thread_config(name), stream_mode=modes, durability="sync"):
            if death == "a is finished" and mode == "updates" and "executor" in news:
                os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)


def write(target: Path) -> None:
    """Write all threads into one SQLite file, compressed."""
    with TemporaryDirectory() as folder:
        place, whole = Path(folder) / "threads.sqlite", Path(folder) / "whole.sqlite"
        for name in SETTINGS:
            _begin(str(place), name, ASKED, DEATHS.get(name, ""))
        _begin(str(place), "asks whether it sent", None, "")
        connection = sqlite3.connect(place)
        connection.execute("VACUUM INTO ?", [str(whole)])
        connection.close()
        target.write_bytes(gzip.compress(whole.read_bytes(), mtime=0))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
