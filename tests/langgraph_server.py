"""`langgraph dev` in a process of its own: the real server, with the graphs of this repository, and a client of it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

REPOSITORY = Path(__file__).parents[1]
START_SECONDS = 120


class LangGraphServer(NamedTuple):
    """A running server: a client of it, and its log."""

    client: SyncLangGraphClient
    log: Path


@contextmanager
def serve_langgraph(home: Path, environment: Mapping[str, str]) -> Iterator[LangGraphServer]:
    """Serve on a free port of 127.0.0.1 until the block ends; what the server keeps, it keeps in the folder `home`."""
    (home / "graphs").mkdir()
    shutil.copy(REPOSITORY / "langgraph.json", home)
    shutil.copy(REPOSITORY / "graphs" / "server.py", home / "graphs")
    log = home / "log"
    port = _free_port()
    quiet = {"LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGGRAPH_NO_VERSION_CHECK": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--port", str(port)]
    own = {**os.environ, **environment, **quiet, "XDG_CACHE_HOME": str(home / "cache")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=home, env=own, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        with get_sync_client(url=f"http://127.0.0.1:{port}") as client:
            _wait_for(f"http://127.0.0.1:{port}/ok", process, log)
            yield LangGraphServer(client, log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise RuntimeError(f"The server did not start:\n{json.dumps(log.read_text(errors='replace')[-4000:])}")
