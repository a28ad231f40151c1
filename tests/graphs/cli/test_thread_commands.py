"""The commands on stored threads: list them, show and report one, prune one."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from syrupy.assertion import SnapshotAssertion

from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.cli.main import main
from plan_execute.graphs.cli.thread_commands import file_name
from plan_execute.graphs.persistence.threads import read_snapshot
from tests.fakes import Answer, Asked, ScriptedModel, diligent, heavy, milestone, plan, report


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


def pursue(
    checkpointer: BaseCheckpointSaver[str],
    request: str,
    thread: str,
    *drafts: Answer,
    light: ScriptedModel | None = None,
) -> None:
    agent = create_plan_execute_agent(
        heavy(*drafts), light or ScriptedModel(diligent), [look_up], checkpointer=checkpointer
    )
    agent.invoke({"messages": [HumanMessage(request)]}, {"configurable": {"thread_id": thread}}, durability="sync")


def stuck(asked: Asked) -> Answer:
    """An executor that lacks something where it is to find b."""
    return report("no table", "blocked", missing="a table") if "Find b" in asked.text else diligent(asked)


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A file with two threads: one that replanned, and a later one that all went well in."""
    path = str(tmp_path / "threads.sqlite")
    with open_checkpointer(path) as checkpointer:
        replanned = plan(milestone("Find c"), requirements=[])
        drafts = (plan(milestone("Find a"), milestone("Find b", tools=[])), replanned)
        pursue(checkpointer, "Compare a\nwith b.", "sales", *drafts, light=ScriptedModel(stuck))
        pursue(checkpointer, "Find it out.", "stock", plan(milestone("Find a")))
    return path


def test_threads_are_listed_newest_first(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["threads", "--checkpointer", place]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [re.split(r"  +", line) for line in lines]
    assert rows[0] == ["THREAD", "WHEN", "STATUS", "COST", "OBJECTIVE"]
    assert [row[:1] + row[2:] for row in rows[1:]] == [
        ["stock", "completed", "60 tokens", "Find it out."],
        ["sales", "completed", "120 tokens", "Compare a with b."],
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", rows[1][1])


def test_threads_as_json(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["threads", "--checkpointer", place, "--json"]) == 0
    newest, oldest = json.loads(capsys.readouterr().out)
    assert newest["thread"] == "stock"
    assert newest["at"] > oldest["at"]
    assert (oldest["objective"], oldest["status"], oldest["usd"]) == ("Compare a\nwith b.", "completed", None)


def test_show_tells_plans_decisions_milestones_and_answer(
    place: str, capsys: pytest.CaptureFixture[str], snapshot: SnapshotAssertion
) -> None:
    assert main(["show", "sales", "--checkpointer", place]) == 0
    assert re.sub(r"\d+(\.\d)? s\b", "N s", capsys.readouterr().out) == snapshot


def test_show_as_json_is_what_the_run_printed(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "sales", "--checkpointer", place, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["thread"], shown["status"], shown["answer"]) == ("sales", "completed", "The answer.")
    assert [m["status"] for m in shown["milestones"].values()] == ["completed", "blocked", "completed"]
    assert shown["log"][0]["type"] == "plan_created"


def test_pruned_thread_is_smaller_and_shown_as_before(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", "sales", "--checkpointer", place, "--json"])
    before = capsys.readouterr().out
    assert main(["prune", "sales", "--checkpointer", place]) == 0
    assert re.fullmatch(r"Thread 'sales': \d+ rows, [\d,]+ bytes deleted\.\n", capsys.readouterr().out)
    main(["show", "sales", "--checkpointer", place, "--json"])
    assert capsys.readouterr().out == before
    assert main(["prune", "sales", "--checkpointer", place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"thread": "sales", "rows": 0, "bytes": 0}


def test_report_is_written_where_it_is_asked_for(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "run.html"
    assert main(["report", "sales", "-o", str(page), "--checkpointer", place]) == 0
    assert capsys.readouterr().out == f"The report of thread 'sales' is in {page}\n"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "Compare a" in text
    assert main(["report", "sales", "-o", "-", "--checkpointer", place]) == 0
    assert capsys.readouterr().out == f"{text}\n"


def test_report_takes_the_place_of_an_earlier_one_and_of_nothing_else(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "run.html"
    page.write_text("<p>Mine.", encoding="utf-8")
    assert main(["report", "sales", "-o", str(page), "--checkpointer", place]) == 2
    assert f"{str(page)!r} is no report: name another file with --output" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == "<p>Mine."
    page.unlink()
    main(["report", "sales", "-o", str(page), "--checkpointer", place])
    capsys.readouterr()
    assert main(["report", "sales", "-o", str(page), "--checkpointer", place]) == 0
    assert "in place of an earlier report" in capsys.readouterr().out


def test_deleted_thread_is_gone(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["delete", "sales", "--checkpointer", place]) == 0
    assert capsys.readouterr().out == "Thread 'sales' is deleted.\n"
    assert main(["delete", "sales", "--checkpointer", place]) == 2
    assert "Unknown thread 'sales'" in capsys.readouterr().err
    main(["threads", "--checkpointer", place, "--json"])
    assert "sales" not in {found["thread"] for found in json.loads(capsys.readouterr().out)}


def test_report_is_named_after_its_thread_if_nothing_else_is_said(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_checkpointer(place) as checkpointer:
        pursue(checkpointer, "Climb.", "../q3: sales/é", plan(milestone("Find a")))
    assert main(["report", "../q3: sales/é", "--checkpointer", place]) == 0
    assert "is in q3-sales-é.html" in capsys.readouterr().out
    assert {path.name for path in tmp_path.glob("*.html")} == {"q3-sales-é.html"}


@pytest.mark.parametrize("thread", ["..", "///", "", "\x1b[2J"])
def test_file_can_be_named_after_any_thread(thread: str) -> None:
    assert file_name(thread) in {"thread", "2J"}
    assert len(file_name("x" * 999)) == 80


def test_report_into_a_folder_that_is_not_there_is_refused(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none"
    assert main(["report", "sales", "-o", str(missing / "a.html"), "--checkpointer", place]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == (
        "",
        f"plan-execute: There is no folder {str(missing)!r}: name a file in one that exists.\n",
    )
    assert not missing.exists()
    assert main(["report", "sales", "-o", str(tmp_path), "--checkpointer", place]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_unfinished_thread_is_shown_as_such_and_not_pruned(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_checkpointer(place) as checkpointer:
        agent = create_plan_execute_agent(heavy(plan(milestone("Find a"))), tools=[look_up], checkpointer=checkpointer)
        wait: RunnableConfig = {"configurable": {"thread_id": "torn"}}
        agent.invoke({"messages": [HumanMessage("Wait.")]}, wait, interrupt_before=["executor"])
    main(["threads", "--checkpointer", place])
    assert re.search(r"^torn .* unfinished .* Wait\.$", capsys.readouterr().out, re.MULTILINE)
    assert main(["show", "torn", "--checkpointer", place]) == 0
    assert "It has not finished: it was interrupted" in capsys.readouterr().out
    assert main(["prune", "torn", "--checkpointer", place]) == 2
    assert "Thread 'torn' has not finished" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "report", "prune"])
def test_unknown_thread_is_refused_with_a_sentence(
    command: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "sale", "--checkpointer", place]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "plan-execute: Unknown thread 'sale': plan-execute threads lists those that are stored. Did you mean 'sales'?\n"
    )


def test_unknown_thread_is_refused_in_json_too(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "sale", "--checkpointer", place, "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["status"] is None
    assert "Unknown thread 'sale'" in document["error"]["message"]


def test_file_that_does_not_exist_is_refused_and_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["threads", "--checkpointer", str(tmp_path / "typo.sqlite")]) == 2
    assert "There is no file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_where_no_thread_was_kept_yet_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path / "new")
    assert main(["threads"]) == 0
    assert capsys.readouterr().out == "No threads are stored yet: --thread NAME begins one.\n"


def test_command_without_its_thread_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["show"])
    assert "required: THREAD" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["intake", "planner", "executor", "replan_gate"])
def test_run_that_died_before_the_checkpoint_of_a_step_that_was_done_has_not_finished(
    tmp_path: Path, step: str
) -> None:
    config: Any = {"configurable": {"thread_id": "sales"}}
    done: list[str] = []
    with open_checkpointer(str(tmp_path / "threads.sqlite")) as checkpointer:
        put = checkpointer.put

        def die(given: Any, *what: Any) -> Any:
            if step in done and not given["configurable"].get("checkpoint_ns"):
                done.clear()
                raise KeyboardInterrupt
            return put(given, *what)

        checkpointer.put = die  # type: ignore[assignment, method-assign]  # a checkpointer is not ours
        planner = heavy(plan(milestone("Find a"), milestone("Find b")))
        agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up], checkpointer=checkpointer)
        stream = agent.stream(
            {"messages": [HumanMessage("Compare.")]}, config, stream_mode="updates", durability="sync"
        )
        with pytest.raises(KeyboardInterrupt):
            done += (name for update in stream for name in update)
        assert agent.get_state(config).next == ()
        assert not read_snapshot(checkpointer, "sales").finished
        agent.invoke(None, config, durability="sync")
        assert read_snapshot(checkpointer, "sales").finished


@pytest.mark.parametrize("words", [["show"], ["report", "-o", "-"], ["fork", "--at", "1"]])
def test_calls_that_an_older_release_recorded_with_less_can_be_read(
    place: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    calls: Any = [{"tool": "look_up", "args": {"subject": "x"}, "ok": ok} for ok in (True, False)]
    with open_checkpointer(place) as checkpointer:
        agent = create_plan_execute_agent(checkpointer=checkpointer)
        config: RunnableConfig = {"configurable": {"thread_id": "stock"}}
        log = [{**entry, "tool_calls": calls} for entry in agent.get_state(config).values["log"]]
        agent.update_state(config, {"milestones": {"m1": {"tool_calls": calls}}, "log": log})
    assert main([words[0], "stock", *words[1:], "--checkpointer", place]) == 0
    assert capsys.readouterr().err == ""
