"""Planned runs with servers that others wrote; those of npm where they are installed (npm install -g)."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plan_execute import create_plan_execute_agent
from tests.fakes import ScriptedModel, call, diligent, direct, heavy, plan, wanted
from tests.mcp_servers import free_port, listens, wait_until

EVERYTHING, FILES = "mcp-server-everything", "mcp-server-filesystem"


def run(mcp: dict[str, Any], *milestones: dict[str, Any]) -> dict[str, Any]:
    """Carry out a plan, and give the results by milestone."""
    agent = create_plan_execute_agent(heavy(plan(*milestones)), ScriptedModel(diligent), mcp=mcp)
    asked: Any = {"messages": [("user", "Do it.")]}
    ended = agent.invoke(asked)
    assert ended["status"] == "completed"
    return {name: done["result"] for name, done in ended["milestones"].items()}


def require(command: str) -> str:
    """Find a command, or leave the test out."""
    found = shutil.which(command)
    if found is None:
        pytest.skip(f"{command} is not installed: npm install -g @modelcontextprotocol/{command.replace('mcp-', '')}")
    return found


def test_git_server_reads_and_commits(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    git("init", "-q", "-b", "main")
    git("config", "user.email", "me@example.com")
    git("config", "user.name", "Me")
    git("commit", "-q", "--allow-empty", "-m", "Begin")
    (tmp_path / "a.txt").write_text("a\n")
    repository = str(tmp_path)
    results = run(
        {"git": {"command": sys.executable, "args": ["-m", "mcp_server_git", "--repository", repository]}},
        direct("Look.", call("git_status", repo_path=repository)),
        direct("Add.", call("git_add", repo_path=repository, files=["a.txt"])),
        direct("Commit.", call("git_commit", repo_path=repository, message="Add a file"), depends_on=["m2"]),
    )
    assert "a.txt" in results["m1"]
    assert git("log", "--format=%s").splitlines() == ["Add a file", "Begin"]


def test_filesystem_server_reads_and_writes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("32 dollars")
    run(
        {"files": {"command": require(FILES), "args": [str(tmp_path)]}},
        direct(
            "Read.",
            call("files_read_text_file", path=str(tmp_path / "a.txt")),
            yields=[wanted("price", "text", "")],
        ),
        direct(
            "Write.",
            call("files_write_file", path=str(tmp_path / "b.txt"), content="It is $m1.price."),
            depends_on=["m1"],
        ),
    )
    assert (tmp_path / "b.txt").read_text() == "It is 32 dollars."


@pytest.fixture(params=["stdio", "http", "sse"])
def everything(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The server that shows everything, over each transport."""
    command = require(EVERYTHING)
    if request.param == "stdio":
        yield {"command": command, "args": ["stdio"]}
        return
    port = free_port()
    how, path = {"http": ("streamableHttp", "mcp"), "sse": ("sse", "sse")}[request.param]
    env = {"PATH": str(Path(command).parent) + ":/usr/bin:/bin", "PORT": str(port)}
    process = subprocess.Popen([command, how], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: listens(port))
    yield {"url": f"http://127.0.0.1:{port}/{path}", "type": request.param}
    process.kill()
    process.wait()


def test_everything_server_answers_over_each_transport(everything: dict[str, Any]) -> None:
    results = run(
        {"all": everything},
        direct("Add.", call("all_get-sum", a=2, b=3)),
        direct("Look.", call("all_get-tiny-image")),
        direct(
            "Ask.",
            call("all_get-structured-content", location="Chicago"),
            yields=[wanted("degrees", "number", "/temperature")],
        ),
        direct("Echo.", call("all_echo", message="$m3.degrees degrees"), depends_on=["m3"]),
    )
    assert results["m1"] == "The sum of 2 and 3 is 5."
    assert "[image/png, " in results["m2"]
    assert results["m4"] == "Echo: 36 degrees"
