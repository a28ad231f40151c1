"""How messages reach a server and come back: over the pipes of a process, or over HTTP; no message beyond a limit."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from subprocess import PIPE

import anyio
import httpx
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.sse import sse_client
from mcp.client.stdio import get_default_environment
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage

from plan_execute.tools.mcp.config import ServerConfig

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]

LARGEST_MESSAGE = 16_000_000
"""Most bytes of one message from a server."""
STDERR_KEPT = 4_000
"""How many bytes are kept of what a process wrote to stderr, the last ones."""
GRACE_SECONDS = 2.0
"""How long a process may take to end after its input is closed, and again after SIGTERM."""
HTTP_SECONDS = 30.0
"""How long it may take to connect to a server, or to send it a request."""


class MessageTooLargeError(Exception):
    """A server sent a message of more than `LARGEST_MESSAGE` bytes."""

    def __str__(self) -> str:
        """Say so."""
        return f"it sent a message of more than {LARGEST_MESSAGE // 1_000_000} MB"


class ProcessLog:
    """What a process wrote to stderr, and how it ended."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.written = b""
        self.ended: int | None = None

    def last_line(self) -> str:
        """Return the last line that is not empty."""
        lines = self.written.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def open_transport(
    config: ServerConfig, log: ProcessLog, broken: Callable[[Exception], None]
) -> AbstractAsyncContextManager[tuple[Incoming, Outgoing]]:
    """Open the two streams of messages to and from a server.

    Args:
        config: The server.
        log: Takes what its process writes to stderr.
        broken: Called when a response breaks off, which leaves its request without an answer.
    """
    return _open_process(config, log) if config.transport == "stdio" else _open_http(config, broken)


@asynccontextmanager
async def _open_process(config: ServerConfig, log: ProcessLog) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Start a server with the few variables that the MCP SDK passes on, and its own; Ctrl-C does not reach it."""
    process = await anyio.open_process(
        [config.command, *config.args],
        env={**get_default_environment(), **config.env},
        cwd=config.cwd,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    to_session, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read_messages, process, to_session)
        tasks.start_soon(_write_messages, process, from_session)
        tasks.start_soon(_keep_stderr, process, log)
        try:
            yield incoming, outgoing
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
            log.ended = process.returncode
            tasks.cancel_scope.cancel()
            for stream in (to_session, incoming, outgoing, from_session):
                stream.close()


async def _read_messages(process: Process, messages: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
    """Read a message a line; a line that is none, such as one of a log, is passed over."""
    assert process.stdout
    lines = BufferedByteReceiveStream(process.stdout)
    with messages, suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.IncompleteRead):
        while True:
            try:
                line = await lines.receive_until(b"\n", LARGEST_MESSAGE)
            except anyio.DelimiterNotFound:
                await messages.send(MessageTooLargeError())
                return
            with suppress(ValueError):
                await messages.send(SessionMessage(JSONRPCMessage.model_validate_json(line)))


async def _write_messages(process: Process, messages: MemoryObjectReceiveStream[SessionMessage]) -> None:
    assert process.stdin
    with messages, suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        async for message in messages:
            line = message.message.model_dump_json(by_alias=True, exclude_none=True)
            await process.stdin.send(f"{line}\n".encode())


async def _keep_stderr(process: Process, log: ProcessLog) -> None:
    assert process.stderr
    with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
        async for chunk in process.stderr:
            log.written = (log.written + chunk)[-STDERR_KEPT:]


async def _end(process: Process) -> None:
    """End a process as the MCP specification has it: close its input, and where it goes on, send it signals."""
    assert process.stdin
    with suppress(OSError):
        await process.stdin.aclose()
    for number in (None, signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        if number is not None:
            with suppress(ProcessLookupError):
                _send_signal(process, number)
        with anyio.move_on_after(GRACE_SECONDS):
            await process.wait()
        if process.returncode is not None:
            break
    with anyio.move_on_after(GRACE_SECONDS):
        await process.aclose()


def _send_signal(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process and its children, which are a group of their own."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, number)
    else:
        process.terminate()


@asynccontextmanager
async def _open_http(
    config: ServerConfig, broken: Callable[[Exception], None]
) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    async def bound(response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _BoundedStream(response, broken)

    def client(*_: object, **_settings: object) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", **config.headers},
            # A stream of events may be silent for long; calls have a limit of their own.
            timeout=httpx.Timeout(HTTP_SECONDS, read=None),
            event_hooks={"response": [bound]},
        )

    if config.transport == "sse":
        async with sse_client(config.url, httpx_client_factory=client) as (incoming, outgoing):
            yield incoming, outgoing
    else:
        async with (
            client() as http_client,
            streamable_http_client(config.url, http_client=http_client) as (incoming, outgoing, _),
        ):
            yield incoming, outgoing


class _BoundedStream(httpx.AsyncByteStream):
    """The body of a response, which ends with an error at a message beyond the limit."""

    def __init__(self, response: httpx.Response, broken: Callable[[Exception], None]) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._stream = response.stream
        self._has_events = response.headers.get("content-type", "").startswith("text/event-stream")
        self._answers = response.request.method == "POST"
        self._broken = broken
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx.DecodingError("the response is compressed, which hides how large it is")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._stream:
                ended = max(chunk.rfind(b"\n\n"), chunk.rfind(b"\r\n\r\n")) if self._has_events else -1
                size = len(chunk) - ended if ended >= 0 else size + len(chunk)
                if size > LARGEST_MESSAGE:
                    raise MessageTooLargeError
                yield chunk
        except Exception as error:
            # The SDK passes over a stream that breaks off, and its request would wait until its time is up.
            if self._answers:
                self._broken(error)
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()
