"""An answer that no model checked says so wherever it is shown, and so does a refusal."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.cli.display import Screen
from plan_execute.graphs.cli.main import main
from plan_execute.graphs.cli.options import Options
from plan_execute.graphs.cli.run import run_until_done
from plan_execute.tools.arithmetic import calculate
from tests.benchmarks.bench_small_model import NearestExample

RUNS = {"answered": "What is 15% of 240?", "refused": "What is 2 to the power of 10?"}


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "threads.sqlite")


def run(place: str, thread: str, *, as_json: bool = False) -> int:
    with open_checkpointer(place) as checkpointer:
        agent = create_plan_execute_agent(NearestExample(), tools=[calculate], checkpointer=checkpointer)
        given = {"messages": [("user", RUNS[thread])]}
        return run_until_done(agent, given, Options(thread=thread, json=as_json), Screen(sys.stdout))


def test_terminal_shows_no_tick_and_the_exit_status_is_not_success(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(place, "answered") == 1
    shown = capsys.readouterr().out
    assert "Answer, not checked:\n36\n" in shown
    assert "? 1. What is 15% of 240? (m1): not checked" in shown
    assert "Partial (not_checked)" in shown
    assert "NearestExample" in shown.splitlines()[-1]


def test_terminal_shows_a_refusal_as_no_answer(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "refused") == 1
    shown = capsys.readouterr().out
    assert "No answer:\nNearestExample, a model in compact form, cannot answer" in shown
    assert "Aborted (unsupported)" in shown


def test_json_has_the_code_and_no_requirement_that_is_met(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "answered", as_json=True) == 1
    text = capsys.readouterr().out
    shown: dict[str, Any] = json.loads(text[text.index("{\n") :])
    assert (shown["status"], shown["error"]["code"], shown["answer"]) == ("partial", "not_checked", "36")
    assert [(each["met"], each["note"]) for each in shown["plan"]["requirements"]] == [(None, "not checked")]


def test_thread_list_and_stored_thread_say_so(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    for thread in RUNS:
        run(place, thread)
    capsys.readouterr()
    assert main(["threads", "--checkpointer", place]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "partial (not_checked)" in rows["answered"]
    assert "aborted (unsupported)" in rows["refused"]
    assert main(["threads", "--checkpointer", place, "--json"]) == 0
    listed = {thread["thread"]: thread["code"] for thread in json.loads(capsys.readouterr().out)}
    assert listed == {"answered": "not_checked", "refused": "unsupported"}
    assert main(["show", "answered", "--checkpointer", place]) == 0
    assert "Answer, not checked:" in capsys.readouterr().out


def test_report_says_so(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(place, "answered")
    capsys.readouterr()
    assert main(["report", "answered", "--checkpointer", place, "--output", "-"]) == 0
    page = capsys.readouterr().out
    assert "<h2>Answer, not checked</h2>" in page
    assert "a model in compact form, looked up" in page
    assert "</span>met</span>" not in page
