"""One run at a time writes to a thread: a second is refused, a killed process unlocks it, other threads are free."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from plan_execute.agent.errors import ConfigurationError, RequestError
from plan_execute.graphs import open_checkpointer
from plan_execute.graphs.cli.main import main
from plan_execute.graphs.persistence.thread_lock import alock_thread, lock_thread
from tests.fakes import milestone, plan
from tests.openai_server import Answer, Asked, Call, OpenAIServer, serve_openai

ROOT = Path(__file__).parents[3]
DRAFT = {
    **plan(milestone("Find it.", tools=["calculate"])),
    "givens": [],
    "unknowns": [],
    "pitfalls": [],
    "answer": None,
}
REPORT: dict[str, Any] = {"status": "succeeded", "result": "It is 2.", "missing": None, "surprise": None, "values": []}
REFUSED = "is in use elsewhere: wait until its run has ended, or stop it there."


class Model:
    """Plans one milestone that calculates; while it hangs, it plans nothing."""

    def __init__(self) -> None:
        self.hangs = False
        self.hanging, self.released = threading.Semaphore(0), threading.Event()

    def __call__(self, asked: Asked) -> Answer:
        if "Synthesis" in {asked.schema, *asked.tools}:
            return {"answer": "It is 2.", "requirements": [{"number": 1, "met": True, "milestones": [], "note": None}]}
        if "PlanDraft" in {asked.schema, *asked.tools}:
            if self.hangs:
                self.hanging.release()
                self.released.wait(60)
            return DRAFT
        if asked.messages[-1]["role"] == "tool":
            return Call("MilestoneReport", REPORT)
        return Call("calculate", {"expression": "1 + 1"})


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def server(model: Model) -> Iterator[OpenAIServer]:
    with serve_openai(model) as running:
        yield running
        model.released.set()


def words(server: OpenAIServer, kept_url: str, thread: str, *more: str) -> list[str]:
    model = ("--planner-model", "openai:heavy", "--base-url", server.url)
    return ["Find it out.", *model, "--thread", thread, "--checkpointer", kept_url, *more]


@pytest.fixture
def spawn() -> Iterator[Any]:
    """The command in processes of its own; none outlives the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(*args: str) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
        process = subprocess.Popen(
            [sys.executable, "-m", "plan_execute.graphs.cli.main", *args],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        with process:
            process.kill()


def test_thread_that_runs_is_refused_to_others_until_its_process_dies(
    server: OpenAIServer, model: Model, kept_url: str, thread: str, spawn: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model.hangs = True
    first = spawn(*words(server, kept_url, thread))
    assert model.hanging.acquire(timeout=60)
    there = ("--checkpointer", kept_url)
    for command in (words(server, kept_url, thread), ["resume", thread, *there], ["prune", thread, *there]):
        assert main(command) == 2
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", f"plan-execute: Thread {thread!r} {REFUSED}\n")
        assert main([*command, "--json"]) == 2
        document = json.loads(capsys.readouterr().out)
        assert (document["status"], document["error"]["message"]) == (None, f"Thread {thread!r} {REFUSED}")
    for command in (["threads", *there], ["show", thread, *there], ["fork", thread, "--at", "1", *there]):
        assert main(command) == 0
    model.hangs = False
    first.send_signal(signal.SIGKILL)
    first.wait(60)
    assert ended_within(60, ["resume", thread, *there]) == 0
    assert "It is 2." in capsys.readouterr().out


def ended_within(seconds: float, command: list[str]) -> int:
    """Try until it is let in: a server takes a moment to see that a session is gone."""
    until = time.monotonic() + seconds
    while (status := main(command)) == 2 and time.monotonic() < until:
        time.sleep(0.1)
    return status


def test_processes_run_different_threads_of_one_place_at_once(
    server: OpenAIServer, model: Model, kept_url: str, thread: str, spawn: Any
) -> None:
    model.hangs = True
    threads = [f"{name} {thread}" for name in ("one", "two")]
    processes = [spawn(*words(server, kept_url, thread, "--json")) for thread in threads]
    for _ in processes:
        assert model.hanging.acquire(timeout=60)
    model.released.set()
    for process, thread in zip(processes, threads, strict=True):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert (json.loads(out)["thread"], json.loads(out)["status"]) == (thread, "completed")


def test_thread_is_locked_once_in_a_process(threads_url: str, thread: str) -> None:
    with open_checkpointer(threads_url) as checkpointer, open_checkpointer(threads_url) as other:
        rivals = [checkpointer] if threads_url == "memory" else [checkpointer, other]
        with lock_thread(checkpointer, thread), lock_thread(checkpointer, f"another {thread}"):
            for rival in rivals:
                with pytest.raises(RequestError, match=REFUSED), lock_thread(rival, thread):
                    pass
        for rival in rivals:
            with lock_thread(rival, thread):
                pass


async def test_thread_is_locked_once_when_awaited(threads_url: str, thread: str) -> None:
    async with open_checkpointer(threads_url) as checkpointer, open_checkpointer(threads_url) as other:
        rivals = [checkpointer] if threads_url == "memory" else [checkpointer, other]
        async with alock_thread(checkpointer, thread), alock_thread(checkpointer, f"another {thread}"):
            for rival in rivals:
                with pytest.raises(RequestError, match=REFUSED):
                    await alock_thread(rival, thread).__aenter__()
        for rival in rivals:
            async with alock_thread(rival, thread):
                pass


def test_error_in_the_block_unlocks_the_thread(threads_url: str, thread: str) -> None:
    with open_checkpointer(threads_url) as checkpointer:
        with pytest.raises(sqlite3.OperationalError), lock_thread(checkpointer, thread):
            raise sqlite3.OperationalError
        with lock_thread(checkpointer, thread):
            pass


async def test_error_in_the_block_unlocks_the_thread_when_awaited(threads_url: str, thread: str) -> None:
    async with open_checkpointer(threads_url) as checkpointer:
        with pytest.raises(sqlite3.OperationalError):
            async with alock_thread(checkpointer, thread):
                raise sqlite3.OperationalError
        async with alock_thread(checkpointer, thread):
            pass


def test_session_that_is_gone_has_no_locks(postgres: str, thread: str) -> None:
    with open_checkpointer(postgres) as checkpointer, open_checkpointer(postgres) as other:
        with lock_thread(checkpointer, thread):
            checkpointer.conn.close()  # type: ignore[attr-defined]  # PostgreSQL's
        with lock_thread(other, thread):
            pass


def test_pool_of_connections_lends_one_to_lock_a_thread(postgres: str, thread: str) -> None:
    pools = pytest.importorskip("psycopg_pool")
    saver = pytest.importorskip("langgraph.checkpoint.postgres").PostgresSaver
    with (
        pools.ConnectionPool(postgres, kwargs={"autocommit": True}, min_size=1) as pool,
        open_checkpointer(postgres) as other,
        lock_thread(saver(pool), thread),
        pytest.raises(RequestError, match=REFUSED),
        lock_thread(other, thread),
    ):
        pass


async def test_pool_of_connections_lends_one_when_awaited(postgres: str, thread: str) -> None:
    pools = pytest.importorskip("psycopg_pool")
    saver = pytest.importorskip("langgraph.checkpoint.postgres.aio").AsyncPostgresSaver
    async with (
        pools.AsyncConnectionPool(postgres, kwargs={"autocommit": True}, min_size=1, open=False) as pool,
        open_checkpointer(postgres) as other,
        alock_thread(saver(pool), thread),
    ):
        with pytest.raises(RequestError, match=REFUSED):
            await alock_thread(other, thread).__aenter__()


def test_lock_files_are_empty_and_gone_when_the_threads_are_unlocked(tmp_path: Path) -> None:
    with open_checkpointer(str(tmp_path / "threads.sqlite")) as checkpointer:
        with lock_thread(checkpointer, "sales"), lock_thread(checkpointer, "../stock"):
            assert [path.stat().st_size for path in lock_files(tmp_path)] == [0, 0]
        assert lock_files(tmp_path) == []


def test_lock_file_of_a_process_that_died_is_used_again(tmp_path: Path) -> None:
    place = str(tmp_path / "threads.sqlite")
    code = "import os, sys; from plan_execute.graphs.persistence import lock_thread, open_checkpointer\n"
    code += "with open_checkpointer(sys.argv[1]) as saver, lock_thread(saver, 'sales'): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, place], check=False).returncode == 9
    assert len(lock_files(tmp_path)) == 1
    with open_checkpointer(place) as checkpointer, lock_thread(checkpointer, "sales"):
        assert len(lock_files(tmp_path)) == 1
    assert lock_files(tmp_path) == []


def lock_files(folder: Path) -> list[Path]:
    return list(folder.glob("*.lock"))


def test_where_no_lock_file_can_be_made_that_is_told(tmp_path: Path) -> None:
    with open_checkpointer(str(tmp_path / "threads.sqlite")) as checkpointer:
        with lock_thread(checkpointer, "sales"):
            (path,) = lock_files(tmp_path)
        path.mkdir()
        with pytest.raises(ConfigurationError, match=os.strerror(errno.EISDIR)), lock_thread(checkpointer, "sales"):
            pass


def test_thread_of_a_database_in_memory_is_locked_once() -> None:
    with (
        SqliteSaver.from_conn_string(":memory:") as checkpointer,
        lock_thread(checkpointer, "sales"),
        pytest.raises(RequestError, match=REFUSED),
        lock_thread(checkpointer, "sales"),
    ):
        pass


OPENS_FILES = """
import sys
from plan_execute.graphs import open_checkpointer

print(flush=True)
for path in sys.stdin:
    with open_checkpointer(path.strip()):
        pass
    print(flush=True)
"""


def test_new_file_is_made_by_several_processes_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENS_FILES]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            for _ in range(3)
        ]
        for number in range(40):
            for process in processes:  # all are ready
                assert process.stdout
                assert process.stdout.readline() == "\n"
            for process in processes:  # and go
                assert process.stdin
                process.stdin.write(f"{tmp_path}/{number}.sqlite\n")
        for process in processes:
            process.communicate(timeout=60)
            assert process.returncode == 0
