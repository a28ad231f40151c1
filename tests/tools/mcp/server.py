"""A small MCP server for the tests: `python server.py` over stdio, `python server.py PORT [sse]` over HTTP.

What it did is noted in the file that the variable NOTES names.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from mcp import McpError
from mcp.server.fastmcp import Context, FastMCP, Image
from mcp.types import EmbeddedResource, TextResourceContents, ToolAnnotations
from pydantic import AnyUrl, BaseModel

server = FastMCP("test", port=int(sys.argv[1]) if len(sys.argv) > 1 else 0, log_level="ERROR")
READS = ToolAnnotations(readOnlyHint=True, openWorldHint=False)


class Place(BaseModel):
    """A place."""

    city: str
    country: str = "Norway"


def note(text: str) -> None:
    """Write down that something was done."""
    if name := os.environ.get("NOTES"):
        with Path(name).open("a") as file:
            file.write(f"{text}\n")


@server.tool(annotations=READS)
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


@server.tool()
def send(subject: str) -> str:
    """Send a letter."""
    note(subject)
    return f"sent {subject}"


@server.tool()
async def send_slowly(subject: str) -> str:
    """Send a letter, and take long to say so."""
    note(subject)
    await asyncio.sleep(60)
    return f"sent {subject}"


@server.tool(annotations=READS)
def environment() -> dict[str, str]:
    """Tell the environment of the server."""
    return {**os.environ, "PID": str(os.getpid())}


@server.tool(annotations=READS)
def weather(place: Place, config: str = "", self: str = "") -> list[dict[str, str]]:
    """Tell the weather of a place."""
    return [{"city": place.city, "country": place.country}, {"config": config, "self": self}]


@server.tool(annotations=READS)
def fail(text: str) -> str:
    """Fail."""
    raise ValueError(text)


@server.tool(annotations=READS, structured_output=False)
def picture() -> list[Any]:
    """Show a picture."""
    text = TextResourceContents(uri=AnyUrl("file:///a.txt"), text="from a file")
    return ["a dot", Image(data=b"123456", format="png"), EmbeddedResource(type="resource", resource=text)]


@server.tool(annotations=READS)
def die(status: int) -> str:
    """End the server."""
    print("the end is near", file=sys.stderr, flush=True)
    os._exit(status)


@server.tool(annotations=READS)
async def hang() -> str:
    """Never answer, and note where the call is cancelled."""
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    return ""


@server.tool(annotations=READS)
async def wait(seconds: float) -> str:
    """Answer after so many seconds."""
    await asyncio.sleep(seconds)
    return "waited"


@server.tool(annotations=READS)
def flood(size: int) -> str:
    """Answer with so many characters."""
    return "x" * size


@server.tool(annotations=READS)
def chat() -> str:
    """Write what is no message, and then answer."""
    for text in ("no message\n", '{"jsonrpc": "2.0", "method": "notifications/unheard_of"}\n', "\xff\n", "{}\n"):
        sys.stdout.buffer.write(text.encode("latin-1"))
    sys.stdout.flush()
    return "said"


@server.tool(annotations=READS)
async def ask(context: Context[Any, Any, Any]) -> str:
    """Ask the client for what it does not have."""
    said = []
    session = context.session
    for asked in (
        session.list_roots(),
        session.create_message([], max_tokens=1),
        session.elicit("Your name?", {"type": "object", "properties": {}}),
    ):
        try:
            await asked
        except McpError as error:
            said.append(str(error))
    await session.send_ping()
    await session.send_tool_list_changed()
    return "; ".join(said)


if __name__ == "__main__":
    transports: dict[int, Any] = {1: "stdio", 2: "streamable-http", 3: "sse"}
    server.run(transports[len(sys.argv)])
