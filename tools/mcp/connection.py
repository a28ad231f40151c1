"""One connection to a server, from its start to its end: a task in which an MCP session is open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import httpx
from mcp import ClientSession, McpError
from mcp.shared.message import SessionMessage
from mcp.types import (
    CONNECTION_CLOSED,
    METHOD_NOT_FOUND,
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
)
from pydantic import BaseModel, ValidationError

from plan_execute import __version__
from plan_execute.tools.mcp.config import ServerConfig
from plan_execute.tools.mcp.transports import Incoming, Outgoing, ProcessLog, open_transport

T = TypeVar("T", bound=BaseModel)

CANCEL_SECONDS = 1.0
"""How long it may take to tell a server that a call is cancelled."""
CLOSE_SECONDS = 8.0
"""How long the end of a connection may take."""
CLIENT = Implementation(name="plan-execute", version=__version__)
"""What a server is told of its client."""
SESSION_UNKNOWN = 32600
"""The code that the SDK gives a request which a server over HTTP refused because it does not know the session."""


class Connection:
    """A connection, which is opened once.

    It is a task of its own, because what it is made of has to be opened and closed in one and the same.
    """

    def __init__(self, config: ServerConfig) -> None:
        """Begin to open it."""
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
        """Whether it is over, or about to be."""
        return self._over.done()

    @property
    def session(self) -> ClientSession:
        """The open session."""
        return self._opened.result()

    async def open(self) -> None:
        """Wait until it is open.

        Raises:
            ConnectionError: It ended before.
        """
        await self.within(asyncio.shield(self._opened))

    def end(self) -> None:
        """End it, and wait for nothing."""
        if not self._over.done():
            self._over.set_result(None)

    async def close(self) -> None:
        """End it, and wait for that; what hangs at its end is cancelled."""
        self.end()
        if not self._opened.done():
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        self._task.cancel()

    async def request(self, request: ClientRequest, result: type[T]) -> T:
        """Send a request; where it is cancelled, tell the server.

        Raises:
            ConnectionError: The connection ended.
            McpError: The server refused the request.
            ValueError: The result is not of its type.
        """
        number = -1

        async def send() -> T:
            nonlocal number
            number = self.session._request_id  # the id that it gets; the SDK tells it nobody
            return await self.session.send_request(request, result)

        try:
            answer: T = await self.within(send())
        except asyncio.CancelledError:
            if number >= 0 and not self.ended:
                with anyio.move_on_after(CANCEL_SECONDS, shield=True):
                    params = CancelledNotificationParams(requestId=number, reason="no longer needed")
                    await self.session.send_notification(ClientNotification(CancelledNotification(params=params)))
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
            return first_line(self.broken)
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


def first_line(error: BaseException) -> str:
    """Describe an exception in one line, without addresses."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"it answered with the HTTP status {error.response.status_code} {error.response.reason_phrase}"
    if isinstance(error, ValidationError):
        return "it answers with what is no MCP"
    if isinstance(error, McpError) and error.error.code == SESSION_UNKNOWN:
        return "it answered with the HTTP status 404 Not Found"
    text = str(error).strip().split("\n")[0]
    return text or type(error).__name__
