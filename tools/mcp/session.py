"""One server: its session, which is opened when it is needed and again after it broke off, and the calls in it."""

import asyncio
from typing import Any

from langchain_core.tools import ToolException
from mcp import McpError
from mcp.types import (
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ClientRequest,
    PaginatedRequestParams,
    Tool,
)

from plan_execute.tools.characters import drop_invisible
from plan_execute.tools.mcp.config import ServerConfig
from plan_execute.tools.mcp.connection import SESSION_UNKNOWN, Connection, first_line

MOST_LISTED = 1_000
"""Most tools of which a server's list is read."""
ERROR_LIMIT = 500
"""Most characters of what a server says is wrong."""
REDACTED = "[redacted]"
"""What stands for a secret of the servers' file."""


class ServerUnavailableError(ToolException, ConnectionRefusedError):
    """A server cannot be reached, so that a call was not made."""


class CallBrokenOffError(ToolException, ConnectionResetError):
    """A call was made, and its session ended before its result came; it may have had its effect."""


class CallTimedOutError(ToolException, TimeoutError):
    """A call took too long and was cancelled; it may have had its effect."""


class ServerSession:
    """The session with one server. All of it runs on one event loop."""

    def __init__(self, config: ServerConfig, *, connect_seconds: float, call_seconds: float) -> None:
        """Take the server, and how long connecting and a call may take, in seconds."""
        self.config = config
        self._connect_seconds = connect_seconds
        self._call_seconds = call_seconds
        self._opening = asyncio.Lock()
        self._connection: Connection | None = None

    async def list_tools(self) -> list[Tool]:
        """List the server's tools.

        Raises:
            ServerUnavailableError: It cannot be reached or does not list them in time; one sentence says why.
        """
        connection = await self._connect()
        try:
            async with asyncio.timeout(self._connect_seconds):
                return await self._list(connection)
        except TimeoutError:
            raise self._unavailable(connection, f"it did not list its tools in {self._connect_seconds:g} s") from None
        except (McpError, ValueError) as error:
            raise self._unavailable(connection, f"it did not list its tools: {first_line(error)}") from None
        except ConnectionError:
            await connection.close()
            raise self._unavailable(connection, connection.describe_end()) from None

    async def call_tool(self, name: str, args: dict[str, Any]) -> CallToolResult:
        """Call a tool, in a new session if the last one ended.

        Raises:
            ServerUnavailableError: The server cannot be reached.
            CallBrokenOffError: The session ended before the result.
            CallTimedOutError: The call took too long.
            ToolException: The server refused the call.
        """
        connection = await self._connect()
        request = CallToolRequest(params=CallToolRequestParams(name=name, arguments=args))
        try:
            async with asyncio.timeout(self._call_seconds):
                # Not `session.call_tool`, which raises after the call where a result does not fit its output schema.
                return await connection.request(ClientRequest(request), CallToolResult)
        except TimeoutError:
            raise CallTimedOutError(
                f"{self.config.label} did not answer in {self._call_seconds:g} s, and the call was cancelled."
            ) from None
        except McpError as error:
            if self.config.transport == "http" and error.error.code == SESSION_UNKNOWN:
                connection.end()
                raise self._unavailable(connection, "it no longer knows the session; the next call opens one") from None
            raise ToolException(self._visible(error.error.message) or "The call was refused.") from None
        except ValueError:
            raise CallBrokenOffError(self._sentence("did not answer the call", "its result is not valid")) from None
        except ConnectionError:
            await connection.close()
            why, log = connection.describe_end(), connection.log.last_line()
            raise CallBrokenOffError(self._sentence("did not answer the call", why, log)) from None

    async def close(self) -> None:
        """End the session, and with it the process of the server."""
        if self._connection:
            await self._connection.close()

    def redact(self, text: str) -> str:
        """Put `REDACTED` in place of the secrets that the servers' file names."""
        for secret in self.config.secrets:
            text = text.replace(secret, REDACTED)
        return text

    async def _connect(self) -> Connection:
        async with self._opening:
            if self._connection is None or self._connection.ended:
                if self._connection:
                    await self._connection.close()
                self._connection = Connection(self.config)
                await self._open(self._connection)
            return self._connection

    async def _open(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self._connect_seconds):
                await connection.open()
        except (TimeoutError, ConnectionError) as error:
            log = connection.log.last_line()
            late = isinstance(error, TimeoutError) and not connection.ended
            await connection.close()
            why = f"it did not answer in {self._connect_seconds:g} s" if late else connection.describe_end()
            # A process that is ended may complain of that.
            raise self._unavailable(connection, why, log if late or connection.broken else None) from None
        except BaseException:
            await connection.close()
            raise

    async def _list(self, connection: Connection) -> list[Tool]:
        tools: list[Tool] = []
        cursor: str | None = None
        while True:
            params = PaginatedRequestParams(cursor=cursor)
            page = await connection.within(connection.session.list_tools(params=params))
            tools += page.tools
            cursor = page.nextCursor
            if not cursor or not page.tools or len(tools) > MOST_LISTED:
                return tools[: MOST_LISTED + 1]

    def _unavailable(self, connection: Connection, why: str, log: str | None = None) -> ServerUnavailableError:
        log = connection.log.last_line() if log is None else log
        return ServerUnavailableError(self._sentence("cannot be used", why, log))

    def _sentence(self, what: str, why: str, log: str = "") -> str:
        said = f"; it wrote: {self._visible(log).rstrip('.')}" if log else ""
        return f"{self.config.label} {what}: {self._visible(why).rstrip('.')}{said}."

    def _visible(self, text: str) -> str:
        return self.redact(" ".join(drop_invisible(text).split()))[:ERROR_LIMIT]
