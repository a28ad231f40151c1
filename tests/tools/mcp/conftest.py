"""The tools of the test server: over stdio for all tests, and over HTTP in both of its forms."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.tools import BaseTool

from plan_execute.tools import McpServers
from tests.mcp_servers import SECRET, serving, stdio


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server notes what it did."""
    return tmp_path_factory.mktemp("mcp") / "notes"


@pytest.fixture(scope="session")
def over_stdio(notes: Path) -> Iterator[dict[str, BaseTool]]:
    """The tools of a process, by their name without the server's."""
    with McpServers({"t": stdio(NOTES=str(notes), TOKEN=SECRET)}, call_seconds=30) as servers:
        yield {tool.name.removeprefix("t_"): tool for tool in servers.tools}


@pytest.fixture(scope="session", params=["http", "sse"])
def over_http(request: pytest.FixtureRequest) -> Iterator[dict[str, BaseTool]]:
    """The same over HTTP."""
    with serving(request.param) as url:
        config = {"url": url, "type": request.param, "headers": {"Authorization": f"Bearer {SECRET}"}}
        with McpServers({"t": config}, call_seconds=30) as servers:
            yield {tool.name.removeprefix("t_"): tool for tool in servers.tools}
