"""No process of a server outlives the program, however that ends."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from plan_execute.tools import McpServers, mcp_tools
from tests.mcp_servers import environment, listing, pid_in, runs, tool_named, wait_until

ENDS = {
    "exception": "raise RuntimeError('the end')",
    "SIGKILL": "import os; os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("end", ENDS)
def test_no_process_outlives_the_program(end: str, tmp_path: Path) -> None:
    server = listing(tmp_path, [tool_named("a")])
    if end == "exception":
        server["args"].append("stubborn")
    code = f"import sys; from plan_execute.tools import mcp_tools; tools = mcp_tools({{'t': {server!r}}}); {ENDS[end]}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), check=False)
    pid = pid_in(tmp_path / "answers.pid")
    if end == "SIGKILL":
        wait_until(lambda: not runs(pid), seconds=5)
    assert not runs(pid)
    assert (b"the end" in ended.stderr) == (end == "exception")


def test_process_that_does_not_end_by_itself_is_killed(tmp_path: Path) -> None:
    server = listing(tmp_path, [tool_named("a")])
    server["args"].append("stubborn")
    with McpServers({"t": server}):
        pid = pid_in(tmp_path / "answers.pid")
        assert runs(pid)
    assert not runs(pid)


def test_process_ends_when_nobody_has_its_tools_any_more(tmp_path: Path) -> None:
    tools = mcp_tools({"t": listing(tmp_path, [tool_named("a"), tool_named("b")])})
    pid = pid_in(tmp_path / "answers.pid")
    del tools[0]
    gc.collect()
    assert runs(pid)
    tools.clear()
    gc.collect()
    wait_until(lambda: not runs(pid), seconds=5)
