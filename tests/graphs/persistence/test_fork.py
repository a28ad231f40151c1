"""Forks of a stored thread: the new one has the state of the old one, runs by itself, and the old one stays."""

import asyncio
import itertools
import json
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import StructuredTool, tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained
from langgraph.types import Command, StateSnapshot

from plan_execute.agent.errors import RequestError
from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.cli.main import main
from plan_execute.graphs.persistence.fork import Step, find_steps, fork
from plan_execute.graphs.persistence.prune import prune_scratchpads
from plan_execute.graphs.persistence.thread_lock import lock_thread
from plan_execute.graphs.persistence.threads import config_of, find_threads, read_thread
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import ScriptedModel, diligent, goal_of, heavy, milestone, plan, report, synthesis, tool_call

Saver = BaseCheckpointSaver[Any]


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


@tool
def send(subject: str) -> str:
    """Send a letter."""
    return f"sent {subject}"


send.metadata = {"effect": "effect"}

TWO = plan(milestone("Find a"), milestone("Find b", depends_on=["m1"]))
ROUNDS = plan(milestone("Find a"), milestone("Find b"), milestone("Compare", depends_on=["m1", "m2"]))


@pytest.fixture
def thread() -> str:
    """The name of a thread of its own, because all tests share one PostgreSQL."""
    return f"sales {uuid.uuid4()}"


@pytest.fixture
def checkpointer(threads_url: str) -> Iterator[Saver]:
    with open_checkpointer(threads_url) as opened:
        yield opened


def agent_of(checkpointer: Saver, planner: ScriptedModel, light: ScriptedModel | None = None, **context: Any) -> Any:
    light = light or ScriptedModel(diligent)
    settings = {"trust": "open", **context}
    return create_plan_execute_agent(planner, light, [look_up, send], context=settings, checkpointer=checkpointer)


def ask(agent: PlanExecuteAgent, thread: str, request: str = "Compare a with b.") -> None:
    agent.invoke({"messages": [HumanMessage(request)]}, config_of(thread), durability="sync")


def at(steps: list[Step], words: str) -> int:
    """The first step before which these words stand."""
    return next(step["step"] for step in steps if step["next"] == words)


def values_at(agent: PlanExecuteAgent, thread: str, checkpoint: str) -> StateSnapshot:
    return agent.get_state({"configurable": {"thread_id": thread, "checkpoint_id": checkpoint}})


def history(agent: PlanExecuteAgent, thread: str) -> list[StateSnapshot]:
    return list(agent.get_state_history(config_of(thread)))


def test_fork_goes_on_with_other_models_and_the_thread_stays_as_it_was(checkpointer: Saver, thread: str) -> None:
    agent = agent_of(checkpointer, heavy(TWO))
    ask(agent, thread)
    before = history(agent, thread)
    steps = find_steps(checkpointer, thread)
    made = fork(checkpointer, thread, at(steps, "executor m2"))
    assert (made["thread"], made["next"]) == (f"{thread}-2", "executor m2")
    light = ScriptedModel(diligent)
    other = agent_of(checkpointer, heavy(TWO, end=synthesis("Another answer.")), light)
    other.invoke(None, config_of(made["thread"]), durability="sync")
    assert {goal_of(asked) for asked in light.asked} == {"Find b"}
    state = read_thread(checkpointer, made["thread"])
    assert (state["status"], state["answer"]) == ("completed", "Another answer.")
    assert [m["status"] for m in state["milestones"].values()] == ["completed", "completed"]
    assert [entry["type"] for entry in state["log"]] == [
        entry["type"] for entry in read_thread(checkpointer, thread)["log"]
    ]
    assert history(agent, thread) == before
    assert {made["thread"], thread} <= {found["thread"] for found in find_threads(checkpointer)}
    assert len(find_steps(checkpointer, made["thread"])) == len(steps)


def test_fork_at_any_step_is_what_the_thread_was_and_comes_to_an_answer(checkpointer: Saver, thread: str) -> None:
    agent = agent_of(checkpointer, heavy(ROUNDS), max_parallel=2)
    ask(agent, thread, "Compare a with b.")
    ask(agent, thread, "And now?")
    steps = find_steps(checkpointer, thread)
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
    for step in steps:
        new = fork(checkpointer, thread, step["step"])["thread"]
        copied, original = agent.get_state(config_of(new)), values_at(agent, thread, step["checkpoint"])
        assert (copied.values, copied.next) == (original.values, original.next)
        assert step["finished"] == [k for k, m in copied.values["milestones"].items() if m["status"] == "completed"]
        assert step["next"].startswith(("waits", "end", *copied.next))
        assert {found.config["configurable"]["checkpoint_ns"] for found in checkpointer.list(config_of(new))} == {""}
        agent.invoke(None, config_of(new), durability="sync")
        state = read_thread(checkpointer, new)
        assert (state["status"], state["objective"]) == ("completed", step["objective"])
        assert list(state["milestones"]) == ["m1", "m2", "m3"]
    assert [step["after"] is None for step in steps].count(True) == 2


def test_steps_are_told_in_words(checkpointer: Saver, thread: str) -> None:
    ask(agent_of(checkpointer, heavy(ROUNDS), max_parallel=2), thread)
    assert [(step["next"], step["finished"]) for step in find_steps(checkpointer, thread)] == [
        ("planner", []),
        ("executor m1, m2", []),
        ("replan_gate", ["m1", "m2"]),
        ("executor m3", ["m1", "m2"]),
        ("replan_gate", ["m1", "m2", "m3"]),
        ("synthesize", ["m1", "m2", "m3"]),
        ("end, completed", ["m1", "m2", "m3"]),
    ]


def test_fork_where_a_plan_waits_asks_again(checkpointer: Saver, thread: str) -> None:
    agent = agent_of(checkpointer, heavy(TWO), review="first")
    ask(agent, thread)
    config = config_of(thread)
    agent.invoke(Command(resume={"decisions": [{"type": "reject"}]}), config, durability="sync")
    assert read_thread(checkpointer, thread)["status"] == "aborted"
    new = fork(checkpointer, thread, at(find_steps(checkpointer, thread), "waits for review"))["thread"]
    agent.invoke(None, config_of(new), durability="sync")
    waiting = agent.get_state(config_of(new))
    assert [interrupt.value["action_requests"][0]["name"] for interrupt in waiting.interrupts] == ["review_plan"]
    agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config_of(new), durability="sync")
    assert read_thread(checkpointer, new)["status"] == "completed"
    assert read_thread(checkpointer, thread)["status"] == "aborted"


def test_of_a_thread_with_branches_only_the_ancestors_come_along(checkpointer: Saver, thread: str) -> None:
    agent = agent_of(checkpointer, heavy(TWO))
    ask(agent, thread)
    first = find_steps(checkpointer, thread)
    begun = next(step for step in first if step["next"] == "executor m2")
    light = ScriptedModel(lambda asked: report(f"again: {goal_of(asked)}") if seen(asked) else diligent(asked))
    again = agent_of(checkpointer, heavy(TWO), light)
    again.invoke(None, {"configurable": {"thread_id": thread, "checkpoint_id": begun["checkpoint"]}}, durability="sync")
    steps = find_steps(checkpointer, thread)
    assert steps[: len(first)] == first
    branch = steps[len(first)]
    assert branch["after"] == begun["step"]
    for step in (first[-1], steps[-1]):
        new = fork(checkpointer, thread, step["step"])["thread"]
        original = values_at(agent, thread, step["checkpoint"])
        assert agent.get_state(config_of(new)).values == original.values
        path = {found.config["configurable"]["checkpoint_id"] for found in checkpointer.list(config_of(new))}
        assert (branch["checkpoint"] in path) == (step == steps[-1])
    assert read_thread(checkpointer, f"{thread}-2")["milestones"]["m2"]["result"] == "result of: Find b"
    assert read_thread(checkpointer, f"{thread}-3")["milestones"]["m2"]["result"] == "again: Find b"


def seen(asked: Any) -> bool:
    return any(message.type == "tool" for message in asked.messages)


@pytest.mark.parametrize("pruned", [False, True])
def test_effects_that_a_fork_may_do_again_are_named(checkpointer: Saver, thread: str, pruned: bool) -> None:
    sending = plan(milestone("Find a"), milestone("Send it", tools=["send"], depends_on=["m1"]))
    ask(agent_of(checkpointer, heavy(sending)), thread)
    steps = find_steps(checkpointer, thread)
    if pruned:
        if isinstance(checkpointer, InMemorySaver):
            pytest.skip("threads in memory cannot be pruned")
        prune_scratchpads(checkpointer, thread)
    assert fork(checkpointer, thread, at(steps, "executor m2"))["effects"] == ["send"]
    assert fork(checkpointer, thread, at(steps, "synthesize"))["effects"] == []


def test_effects_of_a_milestone_that_did_not_end_are_named(checkpointer: Saver, thread: str) -> None:
    def light(asked: Any) -> Any:
        if seen(asked):
            raise GraphDrained("the process is to end")
        return tool_call("send", {"subject": "it"})

    with pytest.raises(GraphDrained):
        ask(agent_of(checkpointer, heavy(plan(milestone("Send it", tools=["send"]))), ScriptedModel(light)), thread)
    made = fork(checkpointer, thread, at(find_steps(checkpointer, thread), "executor m1"))
    assert made["effects"] == ["send"]


def test_effect_that_failed_for_certain_is_not_named(checkpointer: Saver, thread: str) -> None:
    def refuse(subject: str) -> str:
        """Send a letter."""
        raise ValueError(f"no address in {subject}")

    broken = StructuredTool.from_function(refuse, name="send", metadata={"effect": "effect"})
    planner = heavy(plan(milestone("Send it", tools=["send"])))
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [broken], checkpointer=checkpointer)
    ask(agent, thread)
    assert fork(checkpointer, thread, at(find_steps(checkpointer, thread), "executor m1"))["effects"] == []


async def test_effect_that_was_under_way_when_the_process_died_is_named(threads_url: str, thread: str) -> None:
    if threads_url == "memory":
        pytest.skip("threads in memory die with the process")
    called = asyncio.Event()

    async def hang(subject: str) -> str:
        """Send a letter, and never answer."""
        called.set()
        await asyncio.sleep(60)
        return subject

    slow = StructuredTool.from_function(coroutine=hang, name="send", metadata={"effect": "effect"})
    async with open_checkpointer(threads_url) as saver:
        agent = create_plan_execute_agent(
            heavy(plan(milestone("Send it", tools=["send"]))), ScriptedModel(diligent), [slow], checkpointer=saver
        )
        given: Any = {"messages": [HumanMessage("Write.")]}
        run = asyncio.create_task(agent.ainvoke(given, config_of(thread), durability="sync"))
        await asyncio.wait_for(called.wait(), 30)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    with open_checkpointer(threads_url) as checkpointer:
        steps = find_steps(checkpointer, thread)
        assert fork(checkpointer, thread, at(steps, "executor m1"))["effects"] == ["send"]


def test_first_free_name_is_taken(checkpointer: Saver, thread: str) -> None:
    ask(agent_of(checkpointer, heavy(TWO)), thread)
    assert [fork(checkpointer, thread, 2)["thread"] for _ in range(2)] == [f"{thread}-2", f"{thread}-3"]
    assert fork(checkpointer, f"{thread}-3", 1)["thread"] == f"{thread}-3-2"
    assert fork(checkpointer, thread, 1, f"other {thread}")["thread"] == f"other {thread}"


def test_what_cannot_be_forked_is_told(checkpointer: Saver, thread: str) -> None:
    ask(agent_of(checkpointer, heavy(TWO)), thread)
    before = list(checkpointer.list(config_of(thread)))
    with pytest.raises(RequestError, match="Unknown thread 'nobody': plan-execute threads lists"):
        fork(checkpointer, "nobody", 1)
    with pytest.raises(RequestError, match="has no step 99: name one of 1 to 7"):
        fork(checkpointer, thread, 99)
    with pytest.raises(RequestError, match="already: choose another name"):
        fork(checkpointer, thread, 1, thread)
    assert list(checkpointer.list(config_of(thread))) == before


def test_fork_that_cannot_be_stored_leaves_nothing_behind(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(place)) as file, file:
        file.execute(
            "CREATE TRIGGER full BEFORE INSERT ON writes WHEN NEW.thread_id = 'sales-2' "
            "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    assert main(["fork", "sales", "--at", "4", "--checkpointer", place]) == 1
    assert (
        capsys.readouterr().err
        == "plan-execute: The threads could not be read or written: disk full: check its file.\n"
    )
    assert main(["threads", "--checkpointer", place, "--json"]) == 0
    assert [thread["thread"] for thread in json.loads(capsys.readouterr().out)] == ["sales"]


def test_fork_to_a_name_that_another_process_has_locked_is_refused(threads_url: str, thread: str) -> None:
    with open_checkpointer(threads_url) as checkpointer, open_checkpointer(threads_url) as second:
        ask(agent_of(checkpointer, heavy(TWO)), thread)
        other = checkpointer if threads_url == "memory" else second
        with lock_thread(other, f"{thread}-2"), pytest.raises(RequestError, match=f"{thread}-2' is in use elsewhere"):
            fork(checkpointer, thread, 2)
        with pytest.raises(RequestError, match="Unknown thread"):
            read_thread(checkpointer, f"{thread}-2")
        assert fork(checkpointer, thread, 2)["thread"] == f"{thread}-2"


def test_fork_whose_process_was_killed_is_no_thread_and_its_name_is_free(
    checkpointer: Saver, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(agent_of(checkpointer, heavy(TWO)), thread)
    put_writes, stored = checkpointer.put_writes, itertools.count()

    def die(*what: Any) -> None:
        if next(stored) == 3:
            raise KeyboardInterrupt
        put_writes(*what)

    with monkeypatch.context() as dying:
        dying.setattr(checkpointer, "put_writes", die)
        dying.setattr(checkpointer, "delete_thread", lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            fork(checkpointer, thread, 4)
    assert list(checkpointer.list(config_of(f"{thread}-2")))
    assert f"{thread}-2" not in {found["thread"] for found in find_threads(checkpointer)}
    with pytest.raises(RequestError, match="Unknown thread"):
        read_thread(checkpointer, f"{thread}-2")
    assert fork(checkpointer, thread, 2)["thread"] == f"{thread}-2"
    assert [step["step"] for step in find_steps(checkpointer, f"{thread}-2")] == [1, 2]


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A file with a thread `sales` that sent something."""
    path = str(tmp_path / "threads.sqlite")
    with open_checkpointer(path) as checkpointer:
        sending = plan(milestone("Find a"), milestone("Send it", tools=["send"], depends_on=["m1"]))
        ask(agent_of(checkpointer, heavy(sending)), "sales")
    return path


def test_command_lists_the_steps(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fork", "sales", "--checkpointer", place]) == 0
    lines = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "WHEN-IT-WAS-REACHED", capsys.readouterr().out).splitlines()
    assert [re.sub(r" {2,}", "  ", line) for line in lines] == [
        "STEP  WHEN  NEXT  FINISHED",
        "Objective: Compare a with b.",
        "  1  WHEN-IT-WAS-REACHED  planner",
        "  2  WHEN-IT-WAS-REACHED  executor m1",
        "  3  WHEN-IT-WAS-REACHED  replan_gate  m1",
        "  4  WHEN-IT-WAS-REACHED  executor m2  m1",
        "  5  WHEN-IT-WAS-REACHED  replan_gate  m1, m2",
        "  6  WHEN-IT-WAS-REACHED  synthesize  m1, m2",
        "  7  WHEN-IT-WAS-REACHED  end, completed  m1, m2",
    ]
    assert main(["fork", "sales", "--checkpointer", place, "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert (steps[3]["next"], steps[3]["finished"], steps[3]["after"]) == ("executor m2", ["m1"], 3)


def test_command_says_how_to_go_on(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fork", "sales", "--at", "4", "--checkpointer", place]) == 0
    assert capsys.readouterr().out == (
        "Thread 'sales-2' has the state of thread 'sales' at step 4; next: executor m2.\n"
        "What send did in thread 'sales' after that step stays done and may be done again.\n"
        f"plan-execute resume sales-2 --checkpointer {place} resumes it; "
        "options such as --planner-model or --review override the settings it began with.\n"
    )
    assert main(["fork", "sales", "--at", "7", "--as", "the end", "--checkpointer", place]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1:] == ["Its run has ended: --thread 'the end' with a request begins the next."]
    assert main(["fork", "sales-2", "--at", "1", "--json", "--checkpointer", place]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made == {"thread": "sales-2-2", "forked_from": "sales-2", "step": 1, "next": "planner", "effects": []}
    for command in (["show", "sales-2"], ["report", "sales-2", "-o", "-"]):
        assert main([*command, "--checkpointer", place]) == 0
        assert "Send it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["other"], "Unknown thread 'other': plan-execute threads lists those that are stored."),
        (
            ["sale", "--at", "1"],
            "Unknown thread 'sale': plan-execute threads lists those that are stored. Did you mean 'sales'?",
        ),
        (["sales", "--at", "8"], "Thread 'sales' has no step 8: name one of 1 to 7."),
        (["sales", "--at", "1", "--as", "sales"], "There is a thread 'sales' already: choose another name."),
    ],
)
def test_command_refuses_with_a_sentence(
    args: list[str], said: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fork", *args, "--checkpointer", place]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"plan-execute: {said}\n")
    assert main(["fork", *args, "--checkpointer", place, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["message"] == said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--at", "0"], "expected a whole number of at least 1, not '0'"),
        (["--at", "first"], "expected a whole number of at least 1, not 'first'"),
        (["--as", "new"], "--as needs --at N, and a name"),
        (["--at", "1", "--as", " "], "--as needs --at N, and a name"),
    ],
)
def test_misuse_is_refused_with_a_sentence(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fork", "sales", *args])
    assert said in capsys.readouterr().err
