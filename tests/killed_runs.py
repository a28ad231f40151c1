"""Kills a run with SIGKILL at each of its events and lets a new process go on: `python -m tests.killed_runs URL`.

An event is a model call, the moment before and after a tool's work, and every step LangGraph reports. Of the two tools
that change the world, `note` does its work once for a key and `send` does not; where nobody knows whether a letter was
sent, the run asks, and who is asked looks into the diary. What came of the kills is printed as JSON, a line a kind.
Each run is a forked process, so that imports are paid once.
"""

import argparse
import json
import os
import random
import signal
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

from langchain_core.tools import InjectedToolCallId, tool
from langgraph.types import Command, Interrupt

from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from tests.fakes import Answer, Asked, ScriptedModel, goal_of, milestone, plan, report, synthesis, tool_call

GOALS = ("Find a.", "Find b.", "Compare.", "Conclude.")
ASKED: Any = {"messages": [("user", "What do a and b have in common?")]}
TOOLS = ("look_up", "note", "send")
PLAN = plan(
    *(milestone(goal, tools=list(TOOLS)) for goal in GOALS[:2]),
    milestone(GOALS[2], tools=list(TOOLS), depends_on=["m1", "m2"]),
    milestone(GOALS[3], tools=list(TOOLS), depends_on=["m3"]),
)


class Diary:
    """A file beside the run: what its processes did, one line each, and the event at which this one dies."""

    def __init__(self, path: Path, dies_at: int | None) -> None:
        self.path = path
        self.dies_at = dies_at
        self.events = 0

    def event(self) -> None:
        """Count an event; at the one meant, die."""
        self.events += 1
        if self.events == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, *words: str) -> None:
        """Write a line that survives."""
        with self.path.open("a") as file:
            file.write(json.dumps([os.getpid(), *words]) + "\n")

    def lines(self) -> list[list[Any]]:
        """Everything written so far."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


def run(url: str, thread: str, diary: Diary, parallel: int) -> dict[str, Any]:
    """Ask, or go on with what is there, and give the output."""

    @tool
    def look_up(subject: str) -> str:
        """Look a subject up."""
        diary.event()
        diary.write("look_up", subject)
        diary.event()
        return f"about {subject}"

    @tool
    def note(subject: str, key: Annotated[str, InjectedToolCallId]) -> str:
        """Note that a subject was looked up, once for each key."""
        diary.event()
        if not any(words[1:] == ["note", subject, key] for words in diary.lines()):
            diary.write("note", subject, key)
        diary.event()
        return "noted"

    @tool
    def send(subject: str) -> str:
        """Send a letter about a subject."""
        diary.event()
        diary.write("send", subject)
        diary.event()
        return "sent"

    note.metadata = {"effect": "effect", "idempotent": True}
    send.metadata = {"effect": "effect"}

    def light(asked: Asked) -> Answer:
        diary.event()
        answers = sum(message.type == "tool" for message in asked.messages)
        goal = goal_of(asked)
        if answers == len(TOOLS):
            return report(f"result of: {goal}")
        return tool_call(TOOLS[answers], {"subject": goal})

    def settle(waiting: Interrupt) -> dict[str, Any]:
        """Answer as a person who can see whether the letter was sent."""
        (action,) = waiting.value["action_requests"]
        subject = action["args"]["args"]["subject"]
        sent = any(words[1:] == ["send", subject] for words in diary.lines())
        return {"decisions": [{"type": "respond", "message": "It was sent."} if sent else {"type": "approve"}]}

    def heavy(asked: Asked) -> Answer:
        diary.event()
        if asked.tools == ["Synthesis"]:
            results = [goal for goal in GOALS if f"result of: {goal}" in asked.text]
            return synthesis(f"From {len(results)} results.")
        return PLAN

    with open_checkpointer(url) as checkpointer:
        agent = create_plan_execute_agent(
            ScriptedModel(heavy),
            ScriptedModel(light),
            [look_up, note, send],
            context={"max_parallel": parallel, "trust": "open"},
            checkpointer=checkpointer,
        )
        config: Any = {"configurable": {"thread_id": thread}}
        state = agent.get_state(config)
        done = [m["goal"] for m in state.values.get("milestones", {}).values() if m["status"] == "completed"]
        diary.write("finished before", *done)
        given: Any = None if state.values else ASKED
        while True:
            for _ in agent.stream(given, config, stream_mode="updates", subgraphs=True, durability="sync"):
                diary.event()
            state = agent.get_state(config)
            if not state.interrupts:
                return state.values
            given = Command(resume={waiting.id: settle(waiting) for waiting in state.interrupts})


def outcome_of(url: str, thread: str, diary: Diary, parallel: int) -> dict[str, Any]:
    """Run and say how it ended."""
    state = run(url, thread, diary, parallel)
    return {"status": state["status"], "answer": state["answer"]}


def forked(work: Callable[[], Any]) -> tuple[int | None, Any]:
    """Do work in a process of its own: the signal that killed it, if one did, and what it gave."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _work_and_leave(work, reader, writer)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    return killed, json.loads(said) if said else None


def _work_and_leave(work: Callable[[], Any], reader: int, writer: int) -> NoReturn:
    os.close(reader)
    try:
        with os.fdopen(writer, "w") as file:
            json.dump(work(), file)
    finally:
        os._exit(0)


def kill_and_resume(url: str, folder: Path, parallel: int, deaths: Sequence[int]) -> dict[str, Any]:
    """Kill a run at these events, one process after the other, then let the next one finish: what came of it."""
    thread, path = str(uuid.uuid4()), folder / f"{uuid.uuid4()}.jsonl"
    for dies_at in deaths:
        forked(partial(outcome_of, url, thread, Diary(path, dies_at), parallel))
    _, ended = forked(partial(outcome_of, url, thread, Diary(path, None), parallel))
    lines = Diary(path, None).lines()
    effects = Counter((words[1], words[2]) for words in lines if words[1] in {"note", "send"})
    again = 0
    for pid, kind, *goals in lines:
        if kind == "finished before":
            again += sum(other[0] == pid and other[1] != kind and other[2] in goals for other in lines)
    return {
        "deaths": list(deaths),
        "right": ended == {"status": "completed", "answer": f"From {len(GOALS)} results."},
        "run again": again,
        "duplicated": sum(max(count - 1, 0) for count in effects.values()),
        "lost": sum((kind, goal) not in effects for goal in GOALS for kind in ("note", "send")),
    }


def count_events(url: str, folder: Path, parallel: int) -> int:
    """How many events an undisturbed run has."""

    def whole() -> int:
        diary = Diary(folder / "whole.jsonl", None)
        run(url, str(uuid.uuid4()), diary, parallel)
        return diary.events

    return int(forked(whole)[1])


def table(outcomes: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Add up what came of many kills."""
    return {
        "kill points": len(outcomes),
        "wrong answers": sum(not outcome["right"] for outcome in outcomes),
        "finished milestones run again": sum(outcome["run again"] for outcome in outcomes),
        "effects duplicated": sum(outcome["duplicated"] for outcome in outcomes),
        "effects lost": sum(outcome["lost"] for outcome in outcomes),
    }


def main() -> None:
    """Kill at every event, sequential and parallel, then at random pairs of events."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("url", nargs="?", help="what open_checkpointer takes (a new SQLite file)")
    parser.add_argument("--parallel", type=int, choices=[1, 2], help="milestones at once (first 1, then 2)")
    parser.add_argument("--sample", type=int, default=1, help="kill at every n-th event only (1)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = options.url or f"sqlite:///{folder / 'threads.sqlite'}"
        for parallel in [options.parallel] if options.parallel else [1, 2]:
            events = count_events(place, folder, parallel)
            chance = random.Random(parallel)
            kills = {
                "single": [[n] for n in range(1, events + 1, options.sample)],
                "double": [[chance.randint(1, events) for _ in range(2)] for _ in range(50 // options.sample)],
            }
            for kind, deaths in kills.items():
                outcomes = [kill_and_resume(place, folder, parallel, points) for points in deaths]
                print(json.dumps({"parallel": parallel, "kills": kind, **table(outcomes)}), flush=True)


if __name__ == "__main__":
    main()
