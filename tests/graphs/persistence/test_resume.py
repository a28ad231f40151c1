"""A run of the command is resumed where it stopped: killed in its middle, or with a plan that waits for a person."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plan_execute.graphs.cli.main import main
from plan_execute.graphs.cli.options import Options, fill_in_from_thread, parse, resume_command, stored_options
from tests.fakes import call, direct, milestone, plan
from tests.openai_server import Answer, Asked, Call, OpenAIServer, serve_openai

ROOT = Path(__file__).parents[3]
DRAFT = {
    **plan(
        milestone("Find the first.", tools=["calculate"]),
        milestone("Find the other.", tools=["calculate"], depends_on=["m1"]),
    ),
    "givens": [],
    "unknowns": [],
    "pitfalls": [],
    "answer": None,
}
REPORT: dict[str, Any] = {"status": "succeeded", "result": "It is 2.", "missing": None, "surprise": None, "values": []}


class Model:
    """Plans two milestones, calculates in each, and answers; may be told to hang at the second."""

    def __init__(self) -> None:
        self.hangs = False
        self.hanging, self.released = threading.Event(), threading.Event()

    def __call__(self, asked: Asked) -> Answer:
        match role_of(asked):
            case "planner":
                return DRAFT
            case "synthesizer":
                last = max(re.findall(r"\bm\d\b", asked.text))
                verdict = {"number": 1, "met": True, "milestones": [last], "note": None}
                return {"answer": "It is 2.", "requirements": [verdict]}
        if self.hangs and "Goal: Find the other." in asked.text:
            self.hanging.set()
            self.released.wait(60)
        if asked.messages[-1]["role"] == "tool":
            return Call("MilestoneReport", REPORT)
        return Call("calculate", {"expression": "1 + 1"})


def role_of(asked: Asked) -> str:
    schemas = {asked.schema, *asked.tools}
    return "planner" if "PlanDraft" in schemas else "synthesizer" if "Synthesis" in schemas else "executor"


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def server(model: Model) -> Iterator[OpenAIServer]:
    with serve_openai(model) as running:
        yield running
        model.released.set()


@pytest.fixture
def place(tmp_path: Path) -> tuple[str, str]:
    return "--checkpointer", str(tmp_path / "threads.sqlite")


def begin(server: OpenAIServer, *options: str) -> tuple[str, ...]:
    return ("Find it out.", "--planner-model", "openai:heavy", "--base-url", server.url, "--thread", "sales", *options)


def spawn(*args: str, out: int, err: int, given: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    kept_from_it = ("OPENAI_", "NO_COLOR", "COLUMNS")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(kept_from_it)}
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    return subprocess.Popen(
        [sys.executable, "-m", "plan_execute.graphs.cli.main", *args],
        env={**environment, "PYTHONPATH": path, "TERM": "xterm", "EDITOR": "sed -i s/other/second/"},
        start_new_session=True,
        stdin=given,
        stdout=out,
        stderr=err,
    )


def interrupted(server: OpenAIServer, model: Model, place: tuple[str, str]) -> str:
    """A run that SIGTERM ended in its second milestone, at once; gives what it said of that."""
    model.hangs = True
    process = spawn(*begin(server), *place, out=subprocess.PIPE, err=subprocess.PIPE)
    assert model.hanging.wait(60)
    assert process.stdout
    process.send_signal(signal.SIGTERM)
    next(line for line in process.stdout if line.startswith(b"Stopping"))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    model.hangs = False
    return said.decode()


def test_interrupted_run_goes_on_where_it_was(
    server: OpenAIServer, model: Model, place: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = interrupted(server, model, place)
    assert (
        said == f"Interrupted: m1 finished, m2 not. plan-execute resume sales --checkpointer {place[1]} resumes it.\n"
    )
    before = len(server.asked)
    assert main(["resume", "sales", *place]) == 0
    printed = capsys.readouterr().out
    assert "✓ m1 completed" in printed.partition("Going on")[0]
    assert "✓ m2 completed, " in printed
    assert "It is 2." in printed
    asked = server.asked[before:]
    assert [role_of(one) for one in asked] == ["executor", "executor", "synthesizer"]
    assert not [one for one in asked if "Goal: Find the first." in one.text]
    assert {one.model for one in asked} == {"heavy"}


def test_what_is_said_on_a_resume_wins_and_the_rest_stays(
    server: OpenAIServer, model: Model, place: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(server, model, place)
    before = len(server.asked)
    assert main(["resume", "sales", "--executor-model", "openai:light", "--json", *place]) == 0
    models = {role_of(one): one.model for one in server.asked[before:]}
    assert models == {"executor": "light", "synthesizer": "heavy"}
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["thread"], document["answer"]) == ("completed", "sales", "It is 2.")


def test_finished_thread_has_nothing_to_resume(
    server: OpenAIServer, place: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*begin(server), *place]) == 0
    before = len(server.asked)
    capsys.readouterr()
    assert main(["resume", "sales", *place]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Thread 'sales' has nothing to resume: its run has ended, completed.\n")
    assert "Answer:\nIt is 2.\n" in printed
    assert main(["resume", "sales", "--json", *place]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "It is 2."
    assert len(server.asked) == before


def test_unknown_thread_is_refused(
    server: OpenAIServer, place: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*begin(server), *place])
    capsys.readouterr()
    assert main(["resume", "sale", *place]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == (
        "",
        "plan-execute: Unknown thread 'sale': plan-execute threads lists those that are stored. "
        "Did you mean 'sales'?\n",
    )


def test_plan_waits_where_there_is_no_terminal(
    server: OpenAIServer, place: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (begin(server, "--review", "first"), ("resume", "sales")):
        assert main([*words, *place, "--json"]) == 1
        told = capsys.readouterr()
        document = json.loads(told.out)
        assert document["status"] == "running"
        assert document["waiting"][0]["action_requests"][0]["name"] == "review_plan"
        assert "waits for review: plan-execute resume sales --checkpointer" in told.err
    assert len(server.asked) == 1


def test_review_that_is_switched_off_does_not_take_back_the_question(
    server: OpenAIServer, place: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*begin(server, "--review", "first"), *place])
    assert main(["resume", "sales", "--review", "never", *place]) == 1
    assert "waits for review" in capsys.readouterr().err


def test_terminal_asks_goes_on_later_and_edits(server: OpenAIServer, place: tuple[str, str]) -> None:
    left, said = converse([*begin(server, "--review", "first"), *place], "\x04")  # Ctrl-D
    assert left == 1
    assert "The plan waits for review: plan-execute resume sales" in said
    status, said = converse(["resume", "sales", *place], "e\n")
    assert status == 0
    assert "m2 Find the second. (after m1)" in said
    assert "✓ m2 completed" in said


def test_what_is_typed_before_the_question_is_no_answer_to_it(server: OpenAIServer, place: tuple[str, str]) -> None:
    status, said = converse([*begin(server, "--review", "first"), *place], "\x04", ahead="a\na\n")
    assert status == 1
    assert "The plan waits for review" in said
    assert not [asked for asked in server.asked if role_of(asked) == "executor"]


def test_waiting_and_unfinished_runs_are_told_apart_and_a_new_request_says_what_it_leaves_behind(
    server: OpenAIServer, place: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*begin(server, "--review", "first"), *place]) == 1
    capsys.readouterr()
    main(["threads", *place])
    assert re.search(r"^sales .* waits for you ", capsys.readouterr().out, re.MULTILINE)
    main(["show", "sales", *place])
    assert "It has not finished: it waits for your answer; plan-execute resume sales" in capsys.readouterr().out
    assert main(["And now?", "--thread", "sales", *place]) == 0
    said = capsys.readouterr().out
    assert "Thread 'sales' had an unfinished run, which this request leaves behind; plan-execute fork sales" in said
    main(["threads", *place])
    assert re.search(r"^sales .* completed ", capsys.readouterr().out, re.MULTILINE)


def test_new_request_goes_on_with_the_threads_models_and_data(
    server: OpenAIServer, place: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "rules"
    docs.mkdir()
    (docs / "gifts.md").write_text("Gifts are not refunded.")
    assert main([*begin(server, "--docs", str(docs)), *place]) == 0
    assert "before in this thread" not in capsys.readouterr().out
    assert main(["And gifts?", "--thread", "sales", *place]) == 0
    said = capsys.readouterr().out
    assert f"Using {docs}, as before in this thread." in said
    assert "heavy plans, heavy carries out." in said
    assert "unfinished" not in said
    other = tmp_path / "other"
    shutil.copytree(docs, other)
    assert main(["And gifts?", "--thread", "sales", "--docs", str(other), *place]) == 0
    assert "before in this thread" not in capsys.readouterr().out


def converse(args: list[str], *answers: str, ahead: str = "") -> tuple[int, str]:
    """Run the command on a terminal of its own and answer its questions in turn; gives its status and all it wrote.

    What is typed `ahead` is there before the first question.
    """
    ours, theirs = pty.openpty()
    process = spawn(*args, given=theirs, out=theirs, err=theirs)
    os.close(theirs)
    os.write(ours, ahead.encode())
    written, left = b"", list(answers)
    try:
        while chunk := os.read(ours, 65_536):
            written += chunk
            if left and written.count(b"[s]how in full: ") > len(answers) - len(left):
                os.write(ours, left.pop(0).encode())
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    return process.wait(60), re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", written.decode())


def test_fork_is_resumed_with_what_the_thread_was_begun_with_or_what_is_said_now(
    server: OpenAIServer, place: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*begin(server), *place]) == 0
    before = len(server.asked)
    assert main(["fork", "sales", "--at", "4", *place]) == 0
    assert main(["resume", "sales-2", "--synthesizer-model", "openai:other", *place]) == 0
    assert "✓ m2 completed" in capsys.readouterr().out
    asked = server.asked[before:]
    assert [(role_of(one), one.model) for one in asked] == [
        ("executor", "heavy"),
        ("executor", "heavy"),
        ("synthesizer", "other"),
    ]
    assert main(["fork", "sales", "--at", "1", *place]) == 0
    assert main(["resume", "sales-3", "--review", "first", *place]) == 1
    assert "The plan waits for review: plan-execute resume sales-3 --checkpointer" in capsys.readouterr().err


def options_of(*words: str) -> Options:
    return parse(["Find it out.", "--thread", "sales", *words])


def test_data_and_server_of_a_run_are_those_of_its_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--db", "shop.db", "--docs", "rules", "--planner-model", "openai:a", "--base-url", "http://host/v1")
    metadata = stored_options(options_of(*words, "--web"))
    resumed = Options(thread="sales")
    fill_in_from_thread(resumed, metadata)
    assert (resumed.db, resumed.docs, resumed.web) == (str(tmp_path / "shop.db"), str(tmp_path / "rules"), True)
    assert (resumed.planner_model, resumed.base_url) == ("openai:a", "http://host/v1")
    other = Options(thread="sales", docs="handbook")
    fill_in_from_thread(other, metadata)
    assert (other.db, other.docs, other.web) == (None, "handbook", False)


def test_files_of_a_run_may_be_written_by_its_resume_and_no_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    metadata = stored_options(options_of("--files", "notes", "--write-files"))
    fill_in_from_thread(resumed := Options(thread="sales"), metadata)
    assert (resumed.files, resumed.write_files) == (str(tmp_path / "notes"), True)
    fill_in_from_thread(other := Options(thread="sales", files="other"), metadata)
    assert (other.files, other.write_files) == ("other", False)


def test_files_are_written_by_a_plan_and_by_the_next_one_of_its_thread(
    tmp_path: Path, place: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").mkdir()
    draft = {**DRAFT, **plan(direct("Write it.", call("write_file", path="a/b.md", text="It is 2.")))}

    def answer(asked: Asked) -> Answer:
        verdict = {"number": 1, "met": True, "milestones": ["m1"], "note": None}
        return draft if role_of(asked) == "planner" else {"answer": "Written.", "requirements": [verdict]}

    said = f"Using {tmp_path / 'notes'} (to be read and written)"
    with serve_openai(answer) as running:
        assert main([*begin(running, "--files", str(tmp_path / "notes"), "--write-files", *place)]) == 0
        assert f"{said}.\n" in capsys.readouterr().out
        assert (tmp_path / "notes/a/b.md").read_text() == "It is 2."
        (tmp_path / "notes/a/b.md").unlink()
        assert main([*begin(running, *place)]) == 0
        assert f"{said}, as before in this thread.\n" in capsys.readouterr().out
        assert (tmp_path / "notes/a/b.md").read_text() == "It is 2."


@pytest.mark.parametrize("url", ["postgresql://me:secret@host/shop", "postgresql://host/shop?password=secret"])
def test_password_is_not_stored_and_asked_for_again(url: str) -> None:
    metadata = stored_options(options_of("--db", url))
    assert "secret" not in str(metadata)
    with pytest.raises(ValueError, match=r"an address that is not stored: add --db URL\."):
        fill_in_from_thread(Options(thread="sales"), metadata)
    fill_in_from_thread(named := Options(thread="sales", db=url), metadata)
    assert named.db == url


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("a b.sqlite", "'a b.sqlite'"),
        ("sqlite:///a.sqlite?synchronous=normal", "'sqlite:///a.sqlite?synchronous=normal'"),
        ("postgresql://me@host/shop", "postgresql://me@host/shop"),
        ("postgresql://me:secret@host/shop", "..."),
        ("postgresql://host/shop?password=secret", "..."),
    ],
)
def test_command_that_resumes_a_thread_names_its_place_without_a_password(place: str, shown: str) -> None:
    assert resume_command("sales", place) == f"plan-execute resume sales --checkpointer {shown}"


def test_environment_stands_in_for_data_only_where_none_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = stored_options(options_of("--db", "sqlite:///shop.db"))
    monkeypatch.setenv("PLAN_EXECUTE_DB", "other.db")
    fill_in_from_thread(resumed := Options(thread="sales"), metadata)
    assert resumed.db == "sqlite:///shop.db"
    fill_in_from_thread(foreign := Options(thread="sales"), {"source": "loop"})
    assert foreign.db == "other.db"
