"""One server: its session, which is opened when it is needed and again after it broke off, and the calls in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import httpx
from langchain_core.tools import ToolException
from mcp import ClientSession, McpError
from mcp.shared.message import SessionMessage
from mcp.types import (
    CONNECTION_CLOSED,
    METHOD_NOT_FOUND,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    CancelledNotification,
    CancelledNotificationParams,
    ClientNotification,
    ClientRequest,
    ErrorData,
    Implementation,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
    JSONRPCResponse,
    PaginatedRequestParams,
    Tool,
)
from pydantic import ValidationError

from plan_execute import __version__
from plan_execute.tools.characters import drop_invisible
from plan_execute.tools.mcp.config import ServerConfig
from plan_execute.tools.mcp.transports import Incoming, Outgoing, ProcessLog, open_transport

T = TypeVar("T")

MOST_LISTED = 1_000
"""Most tools of which a server's list is read."""
ERROR_LIMIT = 500
"""Most characters of what a server says is wrong."""
CANCEL_SECONDS = 1.0
"""How long it may take to tell a server that a call is cancelled."""
CLOSE_SECONDS = 8.0
"""How long the end of a session may take."""
CLIENT = Implementation(name="plan-execute", version=__version__)
"""What a server is told of its client."""
REDACTED = "[redacted]"
"""What stands for a secret of the servers' file."""
_SESSION_UNKNOWN = 32600
"""The code that the SDK gives a request which the server refused because it does not know the session."""


class ServerUnavailableError(ToolException, ConnectionRefusedError):
    """A server cannot be reached, so that a call was not made."""


class CallBrokenOffError(ToolException, ConnectionResetError):
    """A call was made, and its session ended before its result came; it may have had its effect."""


class CallTimedOutError(ToolException, TimeoutError):
    """A call took too long and was cancelled; it may have had its effect."""


class ServerSession:
    """The session with one server. All of it runs on one event loop.

    The connection is a task, because what it is made of has to be opened and closed in one and the same.
    """

    def __init__(self, config: ServerConfig, *, connect_seconds: float, call_seconds: float) -> None:
        """Take the server, and how long connecting and a call may take, in seconds."""
        self.config = config
        self._connect_seconds = connect_seconds
        self._call_seconds = call_seconds
        self._opening = asyncio.Lock()
        self._connection: _Connection | None = None

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
        except (McpError, ConnectionError, ValueError) as error:
            raise self._unavailable(connection, f"it did not list its tools: {_first_line(error)}") from None

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
            if error.error.code == _SESSION_UNKNOWN:
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
        async with self._opening:
            if self._connection:
                await self._connection.close()

    def redact(self, text: str) -> str:
        """Put `REDACTED` in place of the secrets that the servers' file names."""
        for secret in self.config.secrets:
            text = text.replace(secret, REDACTED)
        return text

    async def _connect(self) -> "_Connection":
        async with self._opening:
            if self._connection is None or self._connection.ended:
                if self._connection:
                    await self._connection.close()
                self._connection = await self._open(_Connection(self.config))
            return self._connection

    async def _open(self, connection: "_Connection") -> "_Connection":
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
        return connection

    async def _list(self, connection: "_Connection") -> list[Tool]:
        tools: list[Tool] = []
        cursor: str | None = None
        while True:
            params = PaginatedRequestParams(cursor=cursor)
            page = await connection.within(connection.session.list_tools(params=params))
            tools += page.tools
            cursor = page.nextCursor
            if not cursor or not page.tools or len(tools) > MOST_LISTED:
                return tools[: MOST_LISTED + 1]

    def _unavailable(self, connection: "_Connection", why: str, log: str | None = None) -> ServerUnavailableError:
        log = connection.log.last_line() if log is None else log
        return ServerUnavailableError(self._sentence("cannot be used", why, log))

    def _sentence(self, what: str, why: str, log: str = "") -> str:
        said = f"; it wrote: {self._visible(log).rstrip('.')}" if log else ""
        return f"{self.config.label} {what}: {self._visible(why).rstrip('.')}{said}."

    def _visible(self, text: str) -> str:
        return self.redact(" ".join(drop_invisible(text).split()))[:ERROR_LIMIT]


class _Connection:
    """A connection, from its start to its end; it is not opened again."""

    def __init__(self, config: ServerConfig) -> None:
        loop = asyncio.get_running_loop()
        self.log = ProcessLog()
        self.broken: Exception | None = None
        """What went wrong with it."""
        self._config = config
        self._opened: asyncio.Future[ClientSession] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()
        self._task = asyncio.create_task(self._run())

    @property
    def ended(self) -> bool:
        return self._over.done()

    @property
    def session(self) -> ClientSession:
        return self._opened.result()

    async def open(self) -> None:
        await self.within(asyncio.shield(self._opened))

    def end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    async def close(self) -> None:
        """End it; what hangs at its end is cancelled."""
        self.end()
        if not self._opened.done():
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        self._task.cancel()

    async def request(self, request: ClientRequest, result: type[T]) -> T:
        """Send a request; where it is cancelled, tell the server."""
        number = -1

        async def send() -> T:
            nonlocal number
            number = self.session._request_id  # the id that it gets; the SDK tells it nobody
            return await self.session.send_request(request, result)  # type: ignore[type-var]  # it is a model

        try:
            answer: T = await self.within(send())
        except asyncio.CancelledError:
            if number >= 0 and not self.ended:
                with anyio.move_on_after(CANCEL_SECONDS, shield=True):
                    params = CancelledNotificationParams(requestId=number, reason="no longer needed")
                    await self.session.send_notification(
                        ClientNotification(CancelledNotification(params=params)), related_request_id=None
                    )
            raise
        return answer

    async def within(self, waiting: Any) -> Any:
        """Await something that never comes if the connection ends.

        Raises:
            ConnectionError: The connection ended.
        """
        task = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait({task, self._over}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ConnectionError
        finally:
            task.cancel()
        try:
            return task.result()
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise ConnectionError from None
        except Exception:
            if self.ended:  # the SDK answers what is left open
                raise ConnectionError from None
            raise

    def describe_end(self) -> str:
        """Say why it ended."""
        if self.broken:
            return _first_line(self.broken)
        status = f" with status {self.log.ended}" if self.log.ended is not None else ""
        return f"it ended{status}"

    async def _run(self) -> None:
        try:
            async with (
                open_transport(self._config, self.log, self._break) as (incoming, outgoing),
                self._answers(incoming, outgoing) as answers,
                ClientSession(answers, outgoing, client_info=CLIENT) as session,
            ):
                try:
                    await session.initialize()
                except (McpError, ValueError, RuntimeError) as error:
                    self._break(error)
                else:
                    self._opened.set_result(session)
                    await asyncio.wait({self._over})
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is over
            self._break(error)
        finally:
            self.end()

    @asynccontextmanager
    async def _answers(self, incoming: Incoming, outgoing: Outgoing) -> AsyncIterator[Incoming]:
        """Pass on the answers among the messages; requests of the server are refused, notifications passed over.

        The SDK would write what it cannot read of them to the log of the whole program.
        """
        send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](0)

        async def sort() -> None:
            with incoming, send:
                async for message in incoming:
                    if isinstance(message, Exception):
                        self._break(message)
                        break
                    match message.message.root:
                        case JSONRPCResponse(id=number) | JSONRPCError(id=number) if str(number).isdecimal():
                            await send.send(message)
                        case JSONRPCRequest(id=number, method=method):
                            await outgoing.send(SessionMessage(JSONRPCMessage(_reply(number, method))))
            self.end()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sort)
            try:
                yield receive
            finally:
                tasks.cancel_scope.cancel()
                receive.close()

    def _break(self, error: Exception) -> None:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if not (isinstance(error, McpError) and error.error.code == CONNECTION_CLOSED):
            self.broken = self.broken or error
        self.end()


def _reply(number: str | int, method: str) -> JSONRPCResponse | JSONRPCError:
    if method == "ping":
        return JSONRPCResponse(jsonrpc="2.0", id=number, result={})
    refusal = ErrorData(code=METHOD_NOT_FOUND, message="This client takes no requests.")
    return JSONRPCError(jsonrpc="2.0", id=number, error=refusal)


def _first_line(error: BaseException) -> str:
    """Describe an exception in one line, without addresses."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered with the HTTP status {error.response.status_code} {error.response.reason_phrase}"
    if isinstance(error, ValidationError):
        return "it answers with what is no MCP"
    if isinstance(error, McpError) and error.error.code == _SESSION_UNKNOWN:
        return "it answered with the HTTP status 404 Not Found"
    text = str(error).strip().split("\n")[0]
    return text or type(error).__name__
