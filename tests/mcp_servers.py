"""MCP servers for tests: one of FastMCP over stdio and over HTTP, and one that lists and answers what it is told."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER = Path(__file__).parent / "tools" / "mcp" / "server.py"
LISTING = SERVER.with_name("listing.py")
SECRET = "the-secret-of-the-file"
"""What the server has in its environment, and may not come back."""


def stdio(**env: str) -> dict[str, Any]:
    """The server of FastMCP as a process."""
    return {"command": sys.executable, "args": [str(SERVER)], "env": env}


def listing(folder: Path, tools: Any, result: Any = None, **settings: Any) -> dict[str, Any]:
    """A server that starts at once, lists these tools and answers each call with this result."""
    path = folder / "answers.json"
    listed = tools if isinstance(tools, str | dict) else {"tools": tools}
    path.write_text(json.dumps({"tools/list": listed, "tools/call": result}))
    return {"command": sys.executable, "args": ["-S", str(LISTING), str(path)], **settings}


def tool_named(name: str, **fields: Any) -> dict[str, Any]:
    """A tool as a server lists it."""
    return {"name": name, "inputSchema": {"type": "object"}, **fields}


@contextmanager
def serving(transport: str, port: int | None = None) -> Iterator[str]:
    """The server of FastMCP over HTTP: its URL."""
    port = port or free_port()
    options = [str(port), "sse"] if transport == "sse" else [str(port)]
    process = subprocess.Popen([sys.executable, str(SERVER), *options], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port))
        yield f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """Find a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(happened: Any, seconds: float = 20) -> None:
    """Wait until something has happened."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody waited for does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def listens(port: int) -> bool:
    """Tell whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pid_in(path: Path) -> int:
    """The process that a server writes into a file beside its answers."""
    wait_until(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def environment() -> dict[str, str]:
    """The environment of a process of the tests that imports them."""
    root = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root]))}
