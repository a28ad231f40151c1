"""`--mcp` and `--tools`: tools of servers and of your own on the command line, also when a run is resumed."""

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plan_execute.graphs.cli.main import main
from tests.mcp_servers import SECRET, environment, listing, pid_in, runs, tool_named, wait_until

SHOP = '''
def refund(order: int) -> str:
    """Refund an order."""
    return f"refunded {order}"

def calculate(expression: str) -> str:
    """Work something out."""
    return ""
'''
PLAN = """
milestones:
  - {id: m1, goal: Ask., calls: [{tool: t_ask, args: {}}], yields: [{name: said, kind: text, path: ""}]}
  - {id: m2, goal: Refund., calls: [{tool: refund, args: {order: 7}}], yields: [{name: order, kind: text, path: ""}]}
answer: $m1.said; $m2.order
"""
SAID = {"content": [{"type": "text", "text": "it is done"}]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a plan, a file of servers with a secret in it, and a module with tools."""
    (tmp_path / "shop_of_the_test.py").write_text(SHOP)
    (tmp_path / "plan.yaml").write_text(PLAN)
    _write_servers(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "shop_of_the_test", raising=False)
    return tmp_path


def _write_servers(folder: Path, result: Any = SAID, *how: str) -> None:
    server = listing(folder, [tool_named("ask", annotations={"readOnlyHint": True})], result, env={"TOKEN": SECRET})
    server["args"] += how
    (folder / "servers.json").write_text(json.dumps({"mcpServers": {"t": server}}))


def run(*args: object) -> int:
    return main([str(arg) for arg in args])


GIVEN = ("--mcp", "servers.json", "--tools", "shop_of_the_test:refund")


def test_tools_of_servers_and_own_ones_take_the_place_of_the_sample(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("run", "plan.yaml", *GIVEN, "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["answer"] == "it is done; refunded 7"
    assert "sample shop" not in printed.err
    assert not runs(pid_in(folder / "answers.pid"))
    assert run("run", "plan.yaml", "--tools", "shop_of_the_test.py:refund") != 0
    assert "t_ask" in capsys.readouterr().out


def test_variables_stand_in_for_the_options(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLAN_EXECUTE_MCP", "servers.json")
    monkeypatch.setenv("PLAN_EXECUTE_TOOLS", "shop_of_the_test:refund,shop_of_the_test.py:refund")
    assert run("run", "plan.yaml") == 2
    assert capsys.readouterr().err == (
        "plan-execute: Two tools are called 'refund': give each tool a name of its own.\n"
    )
    monkeypatch.setenv("PLAN_EXECUTE_TOOLS", "shop_of_the_test:refund")
    assert run("run", "plan.yaml") == 0
    served = runpy.run_module("plan_execute.graphs.server")
    assert [tool.name for tool in served["_tools"] if tool.name in {"refund", "t_ask", "query_database"}] == [
        "refund",
        "t_ask",
    ]


def test_run_that_follows_has_the_same_tools_and_their_secrets_are_not_stored(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    thread = ("--thread", "monday", "--checkpointer", folder / "threads.sqlite")
    assert run("run", folder / "plan.yaml", *GIVEN, *thread) == 0
    assert SECRET.encode() not in (folder / "threads.sqlite").read_bytes()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert run("run", folder / "plan.yaml", *thread) == 0
    printed = capsys.readouterr().out
    assert f"Using {folder}/servers.json, shop_of_the_test:refund, as before in this thread." in printed
    (folder / "servers.json").unlink()
    assert run("run", folder / "plan.yaml", *thread) == 2
    gone = f"Thread 'monday' began with tools that cannot be used: The file '{folder}/servers.json' cannot be read"
    assert gone in capsys.readouterr().err
    _write_servers(folder)
    (folder / "shop_of_the_test.py").unlink()
    monkeypatch.delitem(sys.modules, "shop_of_the_test")
    assert run("run", folder / "plan.yaml", *thread) == 2
    gone = f"Thread 'monday' began with tools that cannot be used: There is no module 'shop_of_the_test' in '{folder}'"
    assert gone in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "given", "sentence"),
    [
        ("--mcp", "none.json", "The file 'none.json' cannot be read: No such file or directory."),
        ("--mcp", "", "--mcp needs a JSON file"),
        ("--tools", "shop_of_the_test:refnd", "There is no 'refnd' in 'shop_of_the_test'. Did you mean 'refund'?"),
        (
            "--tools",
            "shop_of_the_test:calculate",
            "Two tools are called 'calculate': give each tool a name of its own.",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_run(
    option: str, given: str, sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = run("run", "plan.yaml", option, given)
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert "Plan:" not in printed.out


def test_server_ends_with_a_run_that_is_interrupted(folder: Path) -> None:
    _write_servers(folder, None, "stubborn")
    command = [sys.executable, "-m", "plan_execute.graphs.cli.main", "run", "plan.yaml", *GIVEN]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        log = folder / "answers.log"
        wait_until(lambda: log.exists() and "tools/call" in log.read_text())
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
    assert not runs(pid_in(folder / "answers.pid"))
