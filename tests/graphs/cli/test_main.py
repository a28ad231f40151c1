"""The command line: what it prints, how it ends, and what it says to somebody who called it wrong."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from syrupy.assertion import SnapshotAssertion

from plan_execute.agent import Context
from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.cli.display import Screen
from plan_execute.graphs.cli.main import main
from plan_execute.graphs.cli.options import Options, parse
from plan_execute.graphs.cli.run import run_until_done
from plan_execute.graphs.cli.run_commands import run
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import Answer, ScriptedModel, diligent, milestone, plan, report, synthesis

ROOT = Path(__file__).parents[3]
STOPPING = b"Stopping after the call under way; Ctrl-C again stops at once.\n"
UNREACHABLE = ("--planner-model", "openai:none", "--base-url", "http://127.0.0.1:1/v1")


class Done(NamedTuple):
    """How a process ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


Process = subprocess.Popen[bytes]
Start = Callable[..., Process]
Run = Callable[..., Done]


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Python in processes of its own, with a home of its own and no key; none outlives the test."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "COLUMNS", "NO_COLOR"))}
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    begun: list[Process] = []

    def run(*args: str) -> Process:
        process = subprocess.Popen(
            [sys.executable, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**kept, "XDG_DATA_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": path},
        )
        begun.append(process)
        return process

    yield run
    for process in begun:
        with process:
            process.kill()


@pytest.fixture
def command(start: Start) -> Run:
    """`plan-execute` from its arguments to its end."""

    def run(*args: str, before: str = "", given: bytes = b"") -> Done:
        process = start(
            "-c", f"{before}import sys; from plan_execute.graphs.cli.main import main; sys.exit(main())", *args
        )
        out, err = process.communicate(given)
        return Done(process.returncode, out.decode(), err.decode())

    return run


def agent_of(heavy: Sequence[Answer], light: ScriptedModel | None = None, **context: object) -> PlanExecuteAgent:
    return create_plan_execute_agent(
        ScriptedModel(heavy),
        light or ScriptedModel(diligent),
        [look_up],
        context=Context(**context),  # type: ignore[arg-type]  # whatever the test sets
        checkpointer=InMemorySaver(),
    )


def ended(agent: PlanExecuteAgent, **options: object) -> int:
    return run_until_done(agent, asked("Find it out."), Options(**options), Screen(sys.stdout))


def asked(request: str) -> dict[str, Any]:
    return {"messages": [("user", request)]}


def test_completed_run_is_told_in_plain_lines(capsys: pytest.CaptureFixture[str], snapshot: SnapshotAssertion) -> None:
    drafted = plan(milestone("Find a"), milestone("Compare a with what is known", depends_on=["m1"]))
    assert ended(agent_of([drafted, synthesis("It is **a**.")])) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert re.sub(r"\d+(\.\d)? s\b", "N s", printed) == snapshot


def test_replan_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    light = ScriptedModel([report("no table", "blocked", missing="a table of refunds"), report("done")])
    replanned = plan(milestone("Look elsewhere", tools=[]), requirements=[])
    assert ended(agent_of([plan(milestone("Find a", tools=[])), replanned, synthesis()], light)) == 0
    printed = capsys.readouterr().out
    assert "✗ m1 blocked (missing)" in printed
    told = next(line for line in printed.splitlines() if line.startswith("↻ Replanning: m1 (Find a): "))
    assert "a table of refunds" in told
    assert "Plan, revision 2" in printed


def test_aborted_run_ends_in_status_1_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    light = ScriptedModel([report("no table", "blocked", missing="a table of refunds")])
    assert ended(agent_of([plan(milestone("Find a", tools=[]))], light, max_replans=0)) == 1
    printed = capsys.readouterr().out
    assert "No answer:\nAborted after 0 replans, the most allowed." in printed
    assert "✗ 1. Answer it.: not reached" in printed
    assert printed.count("Answer it.") == 1
    assert "Aborted (max_replans) in" in printed


def test_partial_run_ends_in_status_1_with_what_is_unmet(capsys: pytest.CaptureFixture[str]) -> None:
    heavy = [plan(milestone("Find a")), synthesis("Half of it.", met=[False])]
    assert ended(agent_of(heavy, max_replans=0)) == 1
    printed = capsys.readouterr().out
    assert "Half of it." in printed
    assert "Partial (unmet_requirements) in" in printed
    assert printed.count("Answer it.") == 1


def test_why_a_run_stopped_early_is_told_and_what_is_unmet_only_once(capsys: pytest.CaptureFixture[str]) -> None:
    heavy = [plan(milestone("Find a"), milestone("Find b")), synthesis("Half of it.", met=[False])]
    assert ended(agent_of(heavy, budget={"tokens": 40})) == 1
    printed = capsys.readouterr().out
    assert "Stopped early: Crossed" in printed
    assert printed.count("Answer it.") == 1


def test_json_is_one_document_with_the_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    agent = agent_of([plan(milestone("Find ä")), synthesis("It is ä.")])
    assert run_until_done(agent, asked("Find ä {0} {x}"), Options(json=True), Screen(sys.stderr)) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "completed"
    assert document["answer"] == "It is ä."
    assert document["objective"] == "Find ä {0} {x}"
    assert document["milestones"]["m1"]["status"] == "completed"
    assert document["usage"]["planner"]["calls"] == 1
    assert document["log"][0]["type"] == "plan_created"


@pytest.mark.parametrize("kind", ["sqlite3", "psycopg"])
def test_run_that_cannot_be_stored_says_so(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    raised = pytest.importorskip(kind).OperationalError("disk I/O error")

    class Failing(InMemorySaver):
        def put(self, *args: Any, **kwargs: Any) -> Any:
            raise raised

    agent = create_plan_execute_agent(ScriptedModel([plan(milestone("Find a"))]), checkpointer=Failing())
    assert run_until_done(agent, asked("Find a."), Options(json=True), Screen(sys.stderr)) == 1
    told = capsys.readouterr()
    assert told.err == (
        "plan-execute: The run could not be stored: disk I/O error: check whether the disk is full or failing.\n"
    )
    assert json.loads(told.out)["error"]["code"] == "storage"


def test_help_shows_examples_and_the_defaults_that_hold(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    shown = capsys.readouterr().out
    settings = Context()
    assert "examples:" in shown
    assert f"how often a failing plan is revised ({settings.max_replans})" in shown
    assert f"milestones that run at the same time ({settings.max_parallel})" in shown
    assert f"size of milestones ({settings.granularity})" in shown


@pytest.mark.parametrize("argument", ["--help", "--version", "--nonsense", ""])
def test_heavy_packages_wait_until_the_arguments_are_good(command: Run, argument: str) -> None:
    heavy = "{'langgraph', 'langchain_core', 'rich', 'pydantic'}"
    watch = f"import atexit, sys; atexit.register(lambda: print({heavy} & set(sys.modules)))\n"
    assert command(argument, before=watch).stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "required: request"),
        ([""], "the request is empty"),
        (["two", "words"], "put the whole request in quotes"),
        (["hi", "--nonsense"], "unknown option '--nonsense': plan-execute --help lists them"),
        (["hi", "--reveiw", "first"], "unknown option '--reveiw': did you mean --review?"),
        (["hi", "--max-replans", "-1"], "expected a whole number of at least 0"),
        (["hi", "--review", "always"], "invalid choice: 'always'"),
        (["hi", "--max-parallel", "0"], "expected a whole number of at least 1"),
        (["hi", "--granularity", "tiny"], "invalid choice: 'tiny'"),
        (["hi", "--thread", " "], "--thread needs a name"),
        (["hi", "--db", ""], "--db needs a SQLAlchemy URL or a SQLite file"),
        (["hi", "--docs", ""], "--docs needs a folder or a document"),
        (["hi", "--files", " "], "--files needs a folder"),
        (["hi", "--write-files"], "--write-files needs --files DIR, the folder whose files may be changed"),
        (["hi", "--checkpointer", "", "--thread", "a"], "--checkpointer needs a URL or a file"),
        (["hi", "--checkpointer", "x.sqlite"], "--checkpointer needs --thread NAME"),
        (["hi", "--base-url", "http://127.0.0.1:1"], "--base-url needs the name of an openai: model"),
    ],
)
def test_misuse_is_refused_with_a_sentence(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(args)
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    with pytest.raises(SystemExit, match="2"):
        parse([*args, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["error"]["code"]) == (None, "misuse")
    assert said in document["error"]["message"]


@pytest.mark.parametrize("option", [["--review", "first"], ["--approve", "calculate"], ["--ask-user"]])
def test_questions_that_nobody_can_answer_are_refused_before_anything_runs(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parse(["hi", *option, "--planner-model", "openai:gpt-5"])) == 2
    told = capsys.readouterr().err
    assert f"{option[0]} needs a terminal to ask you on, or --thread NAME" in told


def test_environment_names_the_data_that_the_command_line_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAN_EXECUTE_DB", "shop.db")
    monkeypatch.setenv("PLAN_EXECUTE_DOCS", "handbook")
    options = parse(["hi", "--docs", "rules"])
    assert (options.db, options.docs) == ("shop.db", "rules")
    monkeypatch.setenv("PLAN_EXECUTE_DB", "")
    monkeypatch.setenv("PLAN_EXECUTE_FILES", "notes")
    assert parse(["hi"]).db is None
    assert (parse(["hi"]).files, parse(["hi"]).write_files) == ("notes", False)


@pytest.mark.parametrize("request_", ["threads of a screw", "show me the way", "prune it"])
def test_request_that_begins_like_a_command_is_a_request(request_: str) -> None:
    assert parse([request_]).request == request_
    assert parse(["--", "threads"]).request == "threads"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "No model: set OPENAI_API_KEY"),
        (["--planner-model", "gpt5"], "Unknown model 'gpt5': write it as provider:model"),
        (["--planner-model", "nobody:gpt"], "Unknown provider 'nobody'"),
        (["--planner-model", "openai:gpt-5"], "No key for 'openai:gpt-5'"),
        ([*UNREACHABLE, "--db", "sqlite:////nowhere/shop.db"], "There is no database file '/nowhere/shop.db'"),
        ([*UNREACHABLE, "--db", "nonsense://me:secret@host/shop"], "Unknown kind of database 'nonsense'"),
        (
            [*UNREACHABLE, "--db", "oracle://me:secret@host/shop"],
            "Unknown kind of database 'oracle': these tools were tested with",
        ),
        ([*UNREACHABLE, "--docs", "/nowhere"], "There is no folder or file '/nowhere'"),
        ([*UNREACHABLE, "--files", "/nowhere", "--write-files"], "There is no folder '/nowhere'"),
        (["--planner-model", "opnai:gpt-5"], "did you mean 'openai:gpt-5'?"),
        (["--planner-model", "local:/nowhere/model.gguf"], "No model file at '/nowhere/model.gguf'"),
    ],
)
def test_what_cannot_work_is_refused_before_the_run(
    args: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # the extra `local` is not installed
    assert main(["Find it out.", *args]) == 2
    printed, refusal = capsys.readouterr()
    assert printed == ""
    assert refusal.startswith("plan-execute: ")
    assert said in refusal
    assert refusal.count("\n") == 1
    assert "secret" not in refusal
    assert main(["Find it out.", *args, "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["status"] is None
    assert said in document["error"]["message"]


def test_model_that_does_not_answer_ends_the_run_without_a_traceback(command: Run) -> None:
    done = command("Find it out.", *UNREACHABLE)
    assert done.returncode == 1
    assert done.stderr == ""
    assert "Using the database and documents of a sample shop" in done.stdout
    assert "Aborted (planner_unavailable)" in done.stdout


def test_documents_that_are_left_out_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules.md").write_text("Gifts are not refunded.")
    (tmp_path / "old.doc").write_bytes(b"x")
    assert main(["Find it out.", *UNREACHABLE, "--docs", str(tmp_path)]) == 1
    assert "Left out: 1 .doc (not supported).\n" in capsys.readouterr().out


def test_long_request_from_standard_input_goes_through_as_it_is(command: Run) -> None:
    text = "{0} {braces} {{}} %s " * 5_000
    done = command("-", "--json", "--thread", "long", *UNREACHABLE, given=text.encode())
    assert json.loads(done.stdout)["objective"] == text
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_bytes_that_are_no_text_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"f\xffnd it out")))
    assert parse(["-"]).request == "f\ufffdnd it out"
    assert parse(["f\udcffnd it out"]).request == "f\ufffdnd it out"


SLOW = """
import sys, time
from langgraph.checkpoint.memory import InMemorySaver
from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.cli.run import run_until_done
from plan_execute.graphs.cli.display import Screen
from plan_execute.graphs.cli.options import Options
from tests.fakes import ScriptedModel, milestone, plan, report

def light(asked):
    if "second" in asked.text:
        print("waiting", flush=True)
        time.sleep(600)
    return report("seen")

drafted = plan(milestone("first", tools=[]), milestone("second", tools=[]))
agent = create_plan_execute_agent(ScriptedModel([drafted]), ScriptedModel(light), checkpointer=InMemorySaver())
options = Options(thread="sales", json="--json" in sys.argv)
given = {"messages": [("user", "Find it out.")]}
run_until_done(agent, given, options, Screen(sys.stderr if options.json else sys.stdout))
"""


def test_second_ctrl_c_ends_the_run_at_once_and_says_what_was_done(start: Start) -> None:
    process = start("-c", SLOW)
    assert process.stdout is not None
    next(line for line in process.stdout if line == b"waiting\n")
    process.send_signal(signal.SIGINT)
    next(line for line in process.stdout if line == STOPPING)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == b"Interrupted: m1 finished, m2 not. plan-execute resume sales resumes it.\n"


def test_ctrl_c_leaves_a_json_document_behind(start: Start) -> None:
    process = start("-c", SLOW, "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    next(line for line in process.stdout if line == b"waiting\n")
    process.send_signal(signal.SIGINT)
    next(line for line in process.stderr if line == STOPPING)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    document = json.loads(printed)
    assert (document["status"], document["error"]["code"]) == ("interrupted", "interrupted")
    assert document["error"]["message"] == "Interrupted: m1 finished, m2 not. plan-execute resume sales resumes it."
    assert document["thread"] == "sales"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_a_command_at_once_that_could_not_go_on_later(start: Start, number: int, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = start("-m", "plan_execute.graphs.cli.main", "Find it out.", *model_at(silent))
        waiting, _ = silent.accept()
        with waiting:
            process.send_signal(number)
            printed, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert said == b"Interrupted: no milestone finished.\n"
    assert b"Stopping" not in printed


def test_sigterm_waits_for_a_model_only_so_long(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = start("-m", "plan_execute.graphs.cli.main", "Find it out.", "--thread", "sales", *model_at(silent))
        waiting, _ = silent.accept()
        with waiting:
            process.send_signal(signal.SIGTERM)
            printed, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert printed.endswith(b"Stopping after the call under way, or in 8 s.\n")
    assert said == b"Interrupted: no milestone finished. plan-execute resume sales resumes it.\n"


def model_at(server: socket.socket) -> tuple[str, ...]:
    return "--planner-model", "openai:none", "--base-url", f"http://127.0.0.1:{server.getsockname()[1]}/v1"


def test_closed_pipe_ends_the_run_quietly(command: Run) -> None:
    close = "import os, sys; read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
    done = command("Find it out.", *UNREACHABLE, before=close)
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_full_disk_is_told_in_a_sentence(command: Run, form: list[str]) -> None:
    done = command(
        "Find it out.", *UNREACHABLE, *form, before="import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)\n"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "plan-execute: reading or writing failed: No space left on device"
    assert "Traceback" not in done.stderr


def test_terminal_hears_at_once_that_something_happens(command: Run) -> None:
    terminal = "import sys; sys.stdout.isatty = lambda: True; sys.modules['langgraph'] = None\n"
    done = command("Find it out.", before=terminal)
    assert done.stdout == "Starting ...\r"


def test_thread_goes_where_the_checkpointer_option_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(tmp_path / "threads.sqlite")
    assert main(["Find it out.", *UNREACHABLE, "--thread", "sales", "--checkpointer", place]) == 1
    capsys.readouterr()
    assert main(["threads", "--checkpointer", place, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(thread["thread"], thread["status"]) for thread in listed] == [("sales", "aborted")]
