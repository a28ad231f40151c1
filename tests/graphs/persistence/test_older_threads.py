"""Threads that an older version wrote go on under this one; see `tests/older_threads.py` for how they were written."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from langgraph.types import Command

from plan_execute.graphs import open_checkpointer
from plan_execute.graphs.cli.main import main
from tests.fakes import goal_of
from tests.older_threads import ASKED, GOALS, SETTINGS, Cast, thread_config

STORED = Path(__file__).with_name("older_threads.sqlite.gz")
LOOK_A, LOOK_B, LOOK_C = (("look_up", goal) for goal in GOALS)
SEND = ("send", GOALS[1])
Way = Literal["sync", "async"]

both_ways = pytest.mark.parametrize("way", ["sync", "async"])


class Resumed(NamedTuple):
    """A thread under this version: who plays in it, its agent, and how to go on with it."""

    cast: Cast
    agent: Any
    way: Way

    async def go(self, given: Any = None) -> dict[str, Any]:
        """Go on, or with an input begin anew."""
        config = thread_config(self.cast.name)
        output: dict[str, Any]
        if self.way == "async":
            output = await self.agent.ainvoke(given, config, durability="sync")
        else:
            output = self.agent.invoke(given, config, durability="sync")
        return output

    async def decide(self, kind: str, **more: Any) -> dict[str, Any]:
        """Answer what it waits for."""
        return await self.go(Command(resume={"decisions": [{"type": kind, **more}]}))

    @property
    def carried_out(self) -> list[str]:
        """The goals its executor was asked to carry out by now, each turn."""
        return [goal_of(asked) for asked in self.cast.light.asked]

    @property
    def thought(self) -> list[list[str]]:
        """The forms its heavy model was asked to fill in."""
        return [asked.tools for asked in self.cast.heavy.asked]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The file of older threads."""
    path = tmp_path / "threads.sqlite"
    path.write_bytes(gzip.decompress(STORED.read_bytes()))
    return path


@asynccontextmanager
async def resumed(older: Path, name: str, way: Way) -> AsyncIterator[Resumed]:
    """Open a thread with an agent of this version."""
    cast = Cast(name)
    if way == "async":
        async with open_checkpointer(str(older)) as saver:
            yield Resumed(cast, cast.agent(saver), way)
    else:
        with open_checkpointer(str(older)) as saver:
            yield Resumed(cast, cast.agent(saver), way)


def assert_done(output: dict[str, Any]) -> None:
    """It came to the right end, with each milestone done once."""
    assert (output["status"], output["answer"]) == ("completed", "From 3 results.")
    assert {m["goal"]: (m["status"], m["result"]) for m in output["milestones"].values()} == {
        goal: ("completed", f"result of: {goal}") for goal in GOALS
    }


def shown(output: dict[str, Any]) -> dict[str, Any]:
    """The action that is put before a person."""
    (waiting,) = output["__interrupt__"]
    (action,) = waiting.value["action_requests"]
    return dict(action)


@both_ways
async def test_killed_run_goes_on_after_the_tool_call_it_had_made(older: Path, way: Way) -> None:
    async with resumed(older, "killed", way) as run:
        assert_done(await run.go())
        assert run.cast.called == [SEND, LOOK_C]
        assert run.carried_out == [GOALS[1], GOALS[1], GOALS[2], GOALS[2]]
        assert run.thought == [["Synthesis"]]


@both_ways
async def test_milestone_that_was_finished_beside_a_killed_one_is_not_run_again(older: Path, way: Way) -> None:
    async with resumed(older, "killed beside a finished milestone", way) as run:
        assert_done(await run.go())
        assert run.cast.called == [LOOK_B, SEND, LOOK_C]
        assert GOALS[0] not in run.carried_out
        assert run.thought == [["Synthesis"]]


@both_ways
async def test_plan_that_waits_for_a_review_is_approved(older: Path, way: Way) -> None:
    async with resumed(older, "waits for a review", way) as run:
        waiting = shown(await run.go())
        assert [m["goal"] for m in waiting["args"]["milestones"]] == list(GOALS)
        assert run.carried_out == []
        assert_done(await run.decide("approve"))
        assert run.cast.called == [LOOK_A, LOOK_B, SEND, LOOK_C]
        assert run.thought == [["Synthesis"]]


@both_ways
async def test_call_that_waits_for_approval_is_made_once_it_is_approved(older: Path, way: Way) -> None:
    async with resumed(older, "waits for an approval", way) as run:
        waiting = shown(await run.go())
        assert (waiting["name"], waiting["args"]) == ("send", {"subject": GOALS[1]})
        assert run.cast.called == []
        assert_done(await run.decide("approve"))
        assert run.cast.called == [SEND, LOOK_C]


@both_ways
async def test_answer_that_was_missing_is_taken(older: Path, way: Way) -> None:
    async with resumed(older, "waits for an answer", way) as run:
        assert "When was that?" in shown(await run.go())["description"]
        assert run.carried_out == []
        output = await run.decide("respond", message="In 1999.")
        assert_done(output)
        assert output["milestones"]["m2"]["answers"] == {"When was that?": "In 1999."}
        assert run.cast.called == [LOOK_B, SEND, LOOK_C]


@both_ways
@pytest.mark.parametrize("name", ["killed while it sent", "asks whether it sent"])
@pytest.mark.parametrize(
    ("kind", "more", "sent"), [("approve", {}, [SEND]), ("respond", {"message": "It was sent."}, [])]
)
async def test_call_of_unknown_outcome_is_settled_by_a_person(
    older: Path, way: Way, name: str, kind: str, more: dict[str, str], sent: list[tuple[str, str]]
) -> None:
    async with resumed(older, name, way) as run:
        waiting = shown(await run.go())
        assert waiting["args"] == {"tool": "send", "args": {"subject": GOALS[1]}, "result": ""}
        assert run.cast.called == []
        assert_done(await run.decide(kind, **more))
        assert [call for call in run.cast.called if call[0] == "send"] == sent
        assert LOOK_A not in run.cast.called
        assert run.thought == [["Synthesis"]]


@both_ways
async def test_finished_run_is_as_it_was_and_the_thread_goes_on(older: Path, way: Way) -> None:
    async with resumed(older, "finished", way) as run:
        assert_done(await run.go())
        assert (run.cast.called, run.carried_out, run.thought) == ([], [], [])
        output = await run.go(ASKED)
        assert_done(output)
        assert [message.type for message in output["messages"]] == ["human", "ai"] * 2
        assert run.cast.called == [LOOK_A, LOOK_B, SEND, LOOK_C]
        assert "From 3 results." in run.cast.heavy.asked[0].text


def test_older_threads_are_listed_shown_reported_forked_and_pruned(
    older: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    place = ("--checkpointer", str(older))
    assert main(["threads", "--json", *place]) == 0
    assert {thread["thread"] for thread in json.loads(capsys.readouterr().out)} == set(SETTINGS)
    for name in SETTINGS:
        for command in ("show", "report", "fork"):
            assert main([command, name, *place]) == 0
        assert "Find a." in capsys.readouterr().out
    assert main(["prune", "finished", *place]) == 0
    assert main(["show", "finished", *place]) == 0
    assert "From 3 results." in capsys.readouterr().out
