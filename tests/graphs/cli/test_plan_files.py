"""Plans in files: carried out by the command, exported from a run, checked by editors."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its types are a package of their own
from jsonschema import ValidationError, validate  # type: ignore[import-untyped]  # it has no types

from plan_execute.graphs.cli.main import main

PLAN = Path(__file__).with_name("plan.yaml")
REPOSITORY = Path(__file__).parents[3]


def run(*args: object) -> int:
    return main([str(arg) for arg in args])


def test_direct_plan_runs_from_the_command_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", PLAN) == 0
    out = capsys.readouterr().out
    assert "No model is needed: the plan pins every call." in out
    assert "Germany has 80 of 710 customers, 11.3 %." in out
    assert "executor: 0 calls, $0.00\n" in out


def test_data_files_are_read_by_a_run_and_again_by_one_that_follows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("duckdb")
    place, file = tmp_path / "threads.sqlite", tmp_path / "customer.csv"
    file.write_text("name;country\nAnn;Germany\nBob;Peru\nCid;Germany\nDan;Chile\n")
    assert run("run", PLAN, "--data", file, "--thread", "monday", "--checkpointer", place) == 0
    assert "Germany has 2 of 4 customers, 50 %." in capsys.readouterr().out
    file.write_text("name;country\nAnn;Germany\n")
    assert run("run", PLAN, "--thread", "monday", "--checkpointer", place) == 0
    out = capsys.readouterr().out
    assert f"Using {file}, as before in this thread." in out
    assert "Germany has 1 of 1 customers, 100 %." in out
    assert run("run", PLAN, "--data", tmp_path / "none.csv") == 2
    assert "There is no file" in capsys.readouterr().err


def test_inputs_on_the_command_line_win_over_those_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", PLAN, "--input", "country=Norway", "--json") == 0
    ended = json.loads(capsys.readouterr().out)
    assert ended["answer"] == "Norway has 20 of 710 customers, 2.8 %."
    assert sum(usage["calls"] for usage in ended["usage"].values()) == 0


def test_plan_of_a_run_is_exported_and_runs_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, file = tmp_path / "threads.sqlite", tmp_path / "again.yaml"
    assert run("run", PLAN, "--thread", "monday", "--checkpointer", place) == 0
    capsys.readouterr()
    assert run("show", "monday", "--plan", "--checkpointer", place) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "# yaml-language-server: $schema=plan.schema.json\n# plan-execute schema > plan.schema.json\n"
    )
    file.write_text(text)
    assert run("run", file) == 0
    assert "Germany has 80 of 710 customers, 11.3 %." in capsys.readouterr().out
    assert run("show", "monday", "--plan", "--json", "--checkpointer", place) == 0
    assert json.loads(capsys.readouterr().out) == yaml.safe_load(text)


def test_schema_takes_these_plans_and_refuses_misspelled_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    plan: dict[str, Any] = yaml.safe_load(PLAN.read_text())
    validate(plan, schema)
    for wrong in ({**plan, "milestone": []}, {"strategy": "x"}, {"milestones": [{"goal": "x", "call": []}]}):
        with pytest.raises(ValidationError):
            validate(wrong, schema)


BAD = [
    ("", "is empty: plan-execute show THREAD --plan prints one"),
    ("milestones: [", "this is not YAML"),
    ("- a", "expected milestones:"),
    ("milestones: []\ninputs: 5", "no mapping"),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[said for _, said in BAD])
def test_file_that_holds_no_plan_is_refused(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    assert run("run", file) == 2
    assert said in capsys.readouterr().err
    assert run("run", tmp_path / "none.yaml") == 2
    assert "cannot be read (No such file or directory): name a YAML file" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["country", "=Norway", "a b=c"])
def test_input_that_is_no_pair_is_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("run", PLAN, "--input", wrong)
    assert "expected NAME=VALUE, for example country=Norway" in capsys.readouterr().err


def test_input_that_the_plan_does_not_have_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", PLAN, "--input", "contry=Norway") == 1
    assert "it has no input 'contry': did you mean 'country'?" in capsys.readouterr().out


def test_run_without_a_plan_has_none_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "threads.sqlite"
    run("run", PLAN, "--thread", "a", "--checkpointer", place, "--input", "contry=Norway")
    capsys.readouterr()
    assert run("show", "a", "--plan", "--checkpointer", place) == 2
    assert "has no plan" in capsys.readouterr().err


DYING = """\
import os, signal, sys
from plan_execute.graphs.cli.main import main
from plan_execute.tools import arithmetic

made = arithmetic.calculate.func
def die(expression):
    open(sys.argv[1], "a").write("x")
    os.kill(os.getpid(), signal.SIGKILL)
arithmetic.calculate.func = die
sys.exit(main(sys.argv[2:]))
"""


def test_run_that_was_killed_in_the_middle_is_resumed_without_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, marks = tmp_path / "threads.sqlite", tmp_path / "marks"
    command = [sys.executable, "-c", DYING, str(marks), "run", str(PLAN), "--thread", "t", "--checkpointer", str(place)]
    died = subprocess.run(command, cwd=REPOSITORY, env={**os.environ}, capture_output=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert marks.read_text() == "x"
    assert run("resume", "t", "--checkpointer", place) == 0
    out = capsys.readouterr().out
    assert "Germany has 80 of 710 customers, 11.3 %." in out
    assert out.count("query_database(SELECT") == 2  # as they were shown; the resumed run does not make them again
    assert "executor: 0 calls" in out


def test_run_on_a_model_in_a_file_is_resumed_on_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("xllamacpp")
    place, model = tmp_path / "threads.sqlite", tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    stored = ("--thread", "t", "--checkpointer", place, "--json")
    assert run("run", PLAN, "--review", "first", "--planner-model", f"local:{model}", *stored) == 1
    assert json.loads(capsys.readouterr().out)["waiting"]
    assert run("resume", "t", "--checkpointer", place, "--json") == 1
    assert json.loads(capsys.readouterr().out)["waiting"]
