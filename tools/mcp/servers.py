"""MCP servers as a source of tools: their sessions live in a thread of its own, for sync and async code alike."""

import asyncio
import atexit
import logging
import os
import threading
import weakref
from collections.abc import Coroutine, Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from langchain_core.tools import BaseTool, ToolException

from plan_execute.tools.mcp.config import read_servers
from plan_execute.tools.messages import INSTALL_MCP

if TYPE_CHECKING:
    from mcp.types import Tool

    from plan_execute.tools.mcp.session import ServerSession

T = TypeVar("T")
Servers = str | os.PathLike[str] | Mapping[str, Any]
"""What names servers: the path of a JSON file, or what would be in it."""

CONNECT_SECONDS = 60.0
"""How long a server may take to start and list its tools; `npx` and `uvx` may have to download it."""
CALL_SECONDS = 300.0
"""How long a call may take."""
CLOSE_SECONDS = 10.0
"""How long closing is waited for; a process that does not end by itself is killed before."""


def mcp_tools(servers: Servers) -> list[BaseTool]:
    """Start MCP servers, or connect to them, and return their tools.

    The sessions last as long as one of the tools does, at most to the end of the program. To end them at a certain
    moment, use `McpServers`.

    Args:
        servers: The path of a JSON file as Claude Desktop, Cursor and VS Code have it, or what would be in it.

    Returns:
        LangChain tools, for sync and async code. They raise `ToolException` when a call fails.

    Raises:
        ValueError: The file is not right, the package `mcp` is not installed, or a server cannot be used; one sentence
            says what to do.
    """
    return McpServers(servers).tools


class McpServers:
    """MCP servers, each with one session for all calls; a context manager that ends the sessions.

    A session that broke off is opened again by the next call. What a server asks of its client (a model, a folder, a
    person) is refused. The secrets of the file are left out of all that a server says.
    """

    tools: list[BaseTool]
    """The tools of all servers. Their names begin with that of their server."""

    def __init__(
        self, servers: Servers, *, connect_seconds: float = CONNECT_SECONDS, call_seconds: float = CALL_SECONDS
    ) -> None:
        """Start the servers, or connect to them, and list their tools.

        Args:
            servers: See `mcp_tools`.
            connect_seconds: How long a server may take to start and to list its tools.
            call_seconds: How long a call may take.

        Raises:
            ValueError: See `mcp_tools`.
        """
        configs = read_servers(servers)
        if not find_spec("mcp"):
            raise ValueError(f"MCP servers need more packages: {INSTALL_MCP}.")
        logging.getLogger("mcp").addHandler(logging.NullHandler())  # or its warnings go to stderr
        # Not in the thread: a module that is being imported may wait for it.
        from plan_execute.tools.mcp.adapter import as_langchain_tools
        from plan_execute.tools.mcp.session import ServerSession

        self._loop = _LoopThread()
        weakref.finalize(self, self._loop.close_soon).atexit = False
        sessions = [
            ServerSession(config, connect_seconds=connect_seconds, call_seconds=call_seconds) for config in configs
        ]
        self._loop.closing += [session.close for session in sessions]
        try:
            self.tools = as_langchain_tools(self, sessions, self.run(_list_tools(sessions)))
        except ToolException as error:
            self.close()
            raise ValueError(str(error)) from None
        except BaseException:
            self.close()
            raise

    def close(self, *, wait: bool = True) -> None:
        """End all sessions, and the processes of servers. Calls of the tools fail from now on.

        Args:
            wait: Whether to wait until they have ended.
        """
        if wait:
            self._loop.close()
        else:
            self._loop.close_soon()

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all sessions."""
        self.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work on the event loop of the sessions, from sync code."""
        future = self._loop.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work on the event loop of the sessions, from async code; a cancellation cancels it."""
        return await asyncio.wrap_future(self._loop.submit(work))


async def _list_tools(sessions: "list[ServerSession]") -> "list[list[Tool]]":
    return await asyncio.gather(*(session.list_tools() for session in sessions))


class _LoopThread:
    """An event loop in a thread, which ends with the program."""

    def __init__(self) -> None:
        self.closing: list[Any] = []
        """Coroutine functions that are called when it ends."""
        self._loop = asyncio.new_event_loop()
        self._asked_to_close = False
        self._thread = threading.Thread(target=self._run, name="mcp-servers", daemon=True)
        self._thread.start()
        _open.add(self)

    def submit(self, work: Coroutine[Any, Any, T]) -> "asyncio.futures.Future[T] | Any":
        if self._asked_to_close or threading.current_thread() is self._thread:
            work.close()
            raise ToolException("The MCP servers were closed: nothing can be called any more.")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close_soon(self) -> None:
        """End it, and wait for nothing: the garbage collector may call this in any thread."""
        if not self._asked_to_close:
            self._asked_to_close = True
            self._loop.call_soon_threadsafe(self._loop.stop)

    def close(self) -> None:
        """End it."""
        self.close_soon()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end())
        finally:
            _open.discard(self)
            self._loop.close()

    async def _end(self) -> None:
        await asyncio.gather(*(close() for close in self.closing), return_exceptions=True)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_open: set[_LoopThread] = set()


@atexit.register
def close_all() -> None:
    """End what is still open, all at the same time: called at the end of the program, or before it ends at once."""
    threads = list(_open)
    for thread in threads:
        thread.close_soon()
    for thread in threads:
        thread.close()
