"""Threads in every checkpointer that `open_checkpointer` opens, and what it says when it cannot."""

import sqlite3
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from plan_execute.agent import ConfigurationError
from plan_execute.agent.errors import RequestError
from plan_execute.agent.state import SCHEMA_VERSION, PlanExecuteInput
from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.persistence.fork import find_steps
from plan_execute.graphs.persistence.prune import prune_scratchpads
from plan_execute.graphs.persistence.threads import find_snapshot, find_threads, read_snapshot, read_thread
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import ScriptedModel, heavy, milestone, plan, report, synthesis

CONFIG: RunnableConfig = {"configurable": {"thread_id": "sales"}}
OTHER: RunnableConfig = {"configurable": {"thread_id": "other"}}


@pytest.fixture(params=["memory", "sqlite", "path", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path / 'threads.sqlite'}"
        case "path":
            return str(tmp_path / "threads.sqlite")
        case "postgres":
            return str(request.getfixturevalue("postgres"))
    return "memory"


def asked(text: str) -> PlanExecuteInput:
    return {"messages": [HumanMessage(text)]}


def agent_with(checkpointer: BaseCheckpointSaver[str]) -> PlanExecuteAgent:
    first = plan(milestone("look", tools=[]))
    heavy = ScriptedModel([first, synthesis("The first."), first, synthesis("The second.")])
    return create_plan_execute_agent(heavy, ScriptedModel([report("seen")]), checkpointer=checkpointer)


def history(agent: PlanExecuteAgent, config: RunnableConfig) -> list[object]:
    return [(snapshot.config, snapshot.values, snapshot.next) for snapshot in agent.get_state_history(config)]


def check_thread(values: dict[str, object], *texts: str) -> None:
    messages = values["messages"]
    assert isinstance(messages, list)
    assert [message.text for message in messages] == list(texts)
    assert values["status"] == "completed"
    assert isinstance(values["log"], list)
    assert [entry["type"] for entry in values["log"]][-1] == "answer"
    assert isinstance(values["milestones"], dict)
    assert values["milestones"]["m1"]["result"] == "seen"


def test_thread_is_kept_and_continued(url: str) -> None:
    with open_checkpointer(url) as checkpointer:
        agent = agent_with(checkpointer)
        agent.invoke(asked("one"), CONFIG, durability="sync")
        agent.invoke(asked("two"), CONFIG, durability="sync")
        check_thread(agent.get_state(CONFIG).values, "one", "The first.", "two", "The second.")
        checkpointer.delete_thread("sales")


async def test_thread_is_kept_and_continued_when_awaited(url: str) -> None:
    async with open_checkpointer(url) as checkpointer:
        agent = agent_with(checkpointer)
        await agent.ainvoke(asked("one"), CONFIG, durability="sync")
        await agent.ainvoke(asked("two"), CONFIG, durability="sync")
        check_thread((await agent.aget_state(CONFIG)).values, "one", "The first.", "two", "The second.")
        await checkpointer.adelete_thread("sales")


async def test_thread_written_in_sync_is_read_in_async(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'threads.sqlite'}"
    with open_checkpointer(url) as checkpointer:
        agent_with(checkpointer).invoke(asked("one"), CONFIG, durability="sync")
    async with open_checkpointer(url) as checkpointer:
        check_thread((await agent_with(checkpointer).aget_state(CONFIG)).values, "one", "The first.")


def test_thread_is_found_and_read_without_the_graph_that_wrote_it(url: str) -> None:
    with open_checkpointer(url) as checkpointer:
        agent_with(checkpointer).invoke(asked("one"), CONFIG, durability="sync")
        try:
            (found,) = [thread for thread in find_threads(checkpointer) if thread["thread"] == "sales"]
            assert (found["objective"], found["status"], found["tokens"]) == ("one", "completed", 45)
            check_thread(dict(read_thread(checkpointer, "sales")), "one", "The first.")
            with pytest.raises(RequestError, match="Unknown thread 'sale': plan-execute threads lists"):
                read_thread(checkpointer, "sale")
        finally:
            checkpointer.delete_thread("sales")


def test_dropping_scratchpads_keeps_the_history_of_the_thread(url: str) -> None:
    if url == "memory":
        pytest.skip("threads in memory cannot be pruned")
    with open_checkpointer(url) as checkpointer:
        agent = agent_with(checkpointer)
        agent.invoke(asked("one"), CONFIG, durability="sync")
        agent_with(checkpointer).invoke(asked("other"), OTHER, durability="sync")
        before = history(agent, CONFIG)
        left, others = [len(list(checkpointer.list(config))) for config in (CONFIG, OTHER)]
        dropped = prune_scratchpads(checkpointer, "sales")
        left_over = list(checkpointer.list(CONFIG))
        assert {found.config["configurable"]["checkpoint_ns"] for found in left_over} == {""}
        assert dropped.rows > left - len(left_over) > 0
        assert dropped.bytes > 1_000
        assert history(agent, CONFIG) == before
        assert len(list(checkpointer.list(OTHER))) == others
        assert prune_scratchpads(checkpointer, "sales") == (0, 0)
        agent.invoke(asked("two"), CONFIG, durability="sync")
        check_thread(agent.get_state(CONFIG).values, "one", "The first.", "two", "The second.")
        for config in (CONFIG, OTHER):
            checkpointer.delete_thread(config["configurable"]["thread_id"])


def test_file_shrinks_by_what_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "threads.sqlite"
    with open_checkpointer(str(path)) as checkpointer:
        agent_with(checkpointer).invoke(asked("one"), CONFIG, durability="sync")
    before = path.stat().st_size
    with open_checkpointer(str(path)) as checkpointer:
        dropped = prune_scratchpads(checkpointer, "sales")
    assert path.stat().st_size <= before - dropped.bytes / 2


@pytest.mark.parametrize(("query", "level"), [("", 2), ("?synchronous=full", 2), ("?synchronous=normal", 1)])
def test_url_says_whether_a_commit_waits_for_the_disk(query: str, level: int, tmp_path: Path) -> None:
    with open_checkpointer(f"sqlite:///{tmp_path / 'threads.sqlite'}{query}") as checkpointer:
        connection: sqlite3.Connection = checkpointer.conn  # type: ignore[attr-defined]  # SQLite's has one
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert [path.name for path in tmp_path.iterdir()] == ["threads.sqlite"]


@pytest.mark.parametrize(("query", "level"), [("", 2), ("?synchronous=full", 2), ("?synchronous=normal", 1)])
async def test_url_says_whether_a_commit_waits_for_the_disk_when_awaited(
    query: str, level: int, tmp_path: Path
) -> None:
    async with open_checkpointer(f"sqlite:///{tmp_path / 'threads.sqlite'}{query}") as checkpointer:
        connection: aiosqlite.Connection = checkpointer.conn  # type: ignore[attr-defined]  # SQLite's has one
        async with connection.execute("PRAGMA synchronous") as found:
            assert await found.fetchone() == (level,)


@pytest.mark.parametrize("option", ["synchronous=off", "synchronous=", "cache=shared", "synchronous"])
def test_unknown_option_of_a_sqlite_url_is_told(option: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown option '.*' of a SQLite URL: expected synchronous=full or"):
        open_checkpointer(f"sqlite:///{tmp_path / 'threads.sqlite'}?{option}").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_thread_of_a_newer_version_is_listed_and_refused(threads_url: str, thread: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    with open_checkpointer(threads_url) as checkpointer:
        agent = agent_with(checkpointer)
        agent.invoke(asked("one"), config, durability="sync")
        agent.update_state(config, {"schema_version": SCHEMA_VERSION + 1})
        assert thread in {found["thread"] for found in find_threads(checkpointer)}
        refused = f"{thread}' was written by a newer version .* schema 2, .* up to 1.: update plan-execute"
        for read in (read_thread, read_snapshot, find_snapshot, find_steps):
            with pytest.raises(RequestError, match=refused):
                read(checkpointer, thread)
        agent.update_state(config, {"schema_version": SCHEMA_VERSION})
        assert read_thread(checkpointer, thread)["status"] == "completed"


def test_file_that_is_to_be_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "typo.sqlite"
    with pytest.raises(ConfigurationError, match=r"There is no file .*typo\.sqlite"):
        open_checkpointer(str(path), create=False).__enter__()
    assert not path.exists()


def test_default_is_a_file_in_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path / "new" / "plan-execute")
    with open_checkpointer() as checkpointer:
        agent_with(checkpointer).invoke(asked("one"), CONFIG, durability="sync")
    assert (tmp_path / "new" / "plan-execute" / "threads.sqlite").is_file()


def test_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("This is no database. " * 100)
    with pytest.raises(ConfigurationError, match=r"notes\.txt.*not a database.*name a SQLite file"):
        open_checkpointer(str(path)).__enter__()


async def test_file_that_is_no_database_is_told_when_awaited(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("This is no database. " * 100)
    with pytest.raises(ConfigurationError, match=r"notes\.txt.*not a database.*name a SQLite file"):
        await open_checkpointer(str(path)).__aenter__()


def test_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere.*unable to open"):
        open_checkpointer(str(tmp_path / "nowhere" / "threads.sqlite")).__enter__()


@pytest.mark.parametrize("url", ["redis://localhost", "sqlite://", "sqlite:///", "mysql://me:secret@host/db"])
def test_unknown_kind_of_checkpointer_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="Unknown checkpointer") as raised:
        open_checkpointer(url).__enter__()
    assert "secret" not in str(raised.value)


def test_server_that_does_not_answer_is_told_without_its_password() -> None:
    pytest.importorskip("langgraph.checkpoint.postgres")
    with pytest.raises(ConfigurationError, match=r"postgresql://127\.0\.0\.1:1/shop") as raised:
        open_checkpointer("postgresql://me:secret@127.0.0.1:1/shop?password=secret").__enter__()
    assert "secret" not in str(raised.value)


async def test_server_that_does_not_answer_is_told_when_awaited() -> None:
    pytest.importorskip("langgraph.checkpoint.postgres")
    with pytest.raises(ConfigurationError, match=r"postgres://127\.0\.0\.1:1/shop"):
        await open_checkpointer("postgres://me:secret@127.0.0.1:1/shop").__aenter__()


AES_KEY = "0123456789abcdef"


@pytest.fixture
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANGGRAPH_AES_KEY", raising=False)


@pytest.mark.usefixtures("unlocked")
@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_threads_are_encrypted_on_request(tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "threads.sqlite"
    key = AES_KEY if by == "argument" else None
    if by == "environment":
        monkeypatch.setenv("LANGGRAPH_AES_KEY", AES_KEY)
    config: Any = {"configurable": {"thread_id": "t"}}
    given: Any = {"messages": [("user", "a telling request")]}
    with open_checkpointer(str(path), key=key) as saver:
        agent = create_plan_execute_agent(heavy(plan(answer="a telling answer")), checkpointer=saver)
        agent.invoke(given, config)
    assert not any(b"telling" in file.read_bytes() for file in tmp_path.iterdir())
    async with open_checkpointer(str(path), key=key) as saver:
        agent = create_plan_execute_agent(heavy(plan(answer="another")), checkpointer=saver)
        assert (await agent.aget_state(config)).values["answer"] == "a telling answer"
        await agent.ainvoke(given, config)
    monkeypatch.delenv("LANGGRAPH_AES_KEY", raising=False)
    for wrong, said in ((None, "is encrypted: set LANGGRAPH_AES_KEY"), ("f" * 32, "another key")):
        with open_checkpointer(str(path), key=wrong) as saver, pytest.raises(ConfigurationError, match=said):
            create_plan_execute_agent(heavy(plan(answer="x")), checkpointer=saver).get_state(config)


@pytest.mark.usefixtures("unlocked")
def test_thread_from_before_it_was_encrypted_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "threads.sqlite")
    config: Any = {"configurable": {"thread_id": "t"}}
    for key in (None, AES_KEY):
        with open_checkpointer(path, key=key) as saver:
            agent = create_plan_execute_agent(heavy(plan(answer="fine")), checkpointer=saver)
            output = agent.invoke({"messages": [{"role": "user", "content": "hello"}]}, config)
    assert [message.text for message in output["messages"]] == ["hello", "fine", "hello", "fine"]


@pytest.mark.usefixtures("unlocked")
def test_key_of_a_wrong_length_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has 5 characters: give 16, 24 or 32"):
        open_checkpointer(str(tmp_path / "threads.sqlite"), key="short").__enter__()


@pytest.mark.parametrize("encrypted", [False, True])
def test_checkpointer_that_builds_foreign_classes_is_warned_of(encrypted: bool) -> None:
    loose: Any = JsonPlusSerializer(allowed_msgpack_modules=True)
    if encrypted:
        loose = EncryptedSerializer.from_pycryptodome_aes(loose, key=AES_KEY.encode())
    for serde in (loose, JsonPlusSerializer(pickle_fallback=True)):
        with pytest.warns(UserWarning, match="open it with open_checkpointer"):
            create_plan_execute_agent(checkpointer=InMemorySaver(serde=serde))
    with open_checkpointer("memory") as saver:
        create_plan_execute_agent(checkpointer=saver)
    create_plan_execute_agent(checkpointer=InMemorySaver())
