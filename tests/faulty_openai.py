"""A proxy in front of `tests.openai_server` that spoils answers on cue.

The server behind gives the healthy answer; a fault is what becomes of it on the way.
"""

import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from tests.openai_server import Answer, Asked, _as_events, serve_openai

Completion = dict[str, Any]


class Raw(NamedTuple):
    """An HTTP response that is no completion."""

    status: int
    body: str
    headers: Mapping[str, str] = {}


Cut = Literal["reset", "hang", "trickle"]
"""No response at all: the connection is reset, nothing comes, or a byte now and then for ever."""
Fault = Callable[[Completion], Completion | Raw | Cut]
"""What becomes of a healthy completion."""
Cue = Callable[[str, int], Fault | None]
"""Which fault, if any, befalls the n-th request (from 0) whose system prompt begins with this text."""


def _error(status: int, **headers: str) -> Fault:
    body = json.dumps({"error": {"message": f"scripted {status}", "type": "server_error", "code": None}})
    return lambda _: Raw(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def _fields(spoil: Callable[[str], str]) -> Fault:
    """Spoil the JSON of an answer, be it a tool call's arguments or the text."""

    def fault(completion: Completion) -> Completion:
        message = completion["choices"][0]["message"]
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = spoil(call["function"]["arguments"])
        if message["content"]:
            message["content"] = spoil(message["content"])
        return completion

    return fault


def _says(finish_reason: str = "stop", **message: Any) -> Fault:
    """Say this instead."""

    def fault(completion: Completion) -> Completion:
        said = {"role": "assistant", "content": None, **message}
        return {**completion, "choices": [{"index": 0, "message": said, "finish_reason": finish_reason}]}

    return fault


def _cut_off(completion: Completion) -> Completion:
    cut = _half(completion)
    assert isinstance(cut, dict)
    cut["choices"][0]["finish_reason"] = "length"
    return cut


def _same_id(completion: Completion) -> Completion:
    """Give all tool calls of a conversation one id, and make each call of a tool proper twice."""
    message = completion["choices"][0]["message"]
    if calls := message.get("tool_calls"):
        times = 1 if calls[0]["function"]["name"] == "MilestoneReport" else 2
        message["tool_calls"] = [{**call, "id": "call-0"} for call in calls for _ in range(times)]
    return completion


def _doubled(completion: Completion) -> Completion:
    """Say everything twice in one message."""
    message = completion["choices"][0]["message"]
    if calls := message.get("tool_calls"):
        message["tool_calls"] = [*calls, *({**call, "id": f"{call['id']}-again"} for call in calls)]
    else:
        message["content"] *= 2
    return completion


def _call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "call-x", "type": "function", "function": {"name": name, "arguments": arguments}}


_half = _fields(lambda text: text[: len(text) // 2])

TRANSPORT_FAULTS: dict[str, Fault] = {
    "429": _error(429),
    "429 with Retry-After": _error(429, Retry_After="0.05"),
    "500": _error(500, Retry_After="0.05"),
    "connection reset": lambda _: "reset",
    "no response": lambda _: "hang",
    "response that never ends": lambda _: "trickle",
    "truncated body": lambda completion: Raw(200, json.dumps(completion)[:-40]),
    "page of HTML": lambda _: Raw(200, "<html>Please log in.</html>", {"Content-Type": "text/html"}),
    "no choices": lambda completion: {**completion, "choices": []},
}
"""What happens to the response, whatever it was to hold."""
ANSWER_FAULTS: dict[str, Fault] = {
    "truncated JSON": _half,
    "wrong schema": _fields(lambda _: '{"colour": ["blue"], "milestones": 7, "status": "purple"}'),
    "not JSON": _fields(lambda _: "subject is x"),
    "null": _fields(lambda _: "null"),
    "empty content": _says(content=""),
    "prose": _says(content="Sure, I would be happy to help you with that!"),
    "refusal": _says(refusal="I cannot help with that."),
    "content filter": _says("content_filter", content=""),
    "finish_reason=length": _cut_off,
    "unbound tool": _says("tool_calls", tool_calls=[_call("launch", '{"subject": "x"}')]),
    "duplicate ids": _same_id,
    "said twice": _doubled,
}
"""What is wrong with the answer itself."""
FAULTS: dict[str, Fault] = TRANSPORT_FAULTS | ANSWER_FAULTS


@dataclass(eq=False)
class FaultyServer:
    """A running proxy: where it is, what went through, and what spoils it."""

    url: str
    cue: Cue = lambda _prompt, _number: None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Requests as they came in."""

    def begin(self, cue: Cue) -> None:
        """Forget what went through and spoil what comes by this cue."""
        self.cue, self.bodies = cue, []

    def fault_for(self, body: dict[str, Any]) -> Fault | None:
        """What befalls the next request, if it is this one."""
        prompt = _prompt(body)
        return self.cue(prompt, self.count(prompt))

    def count(self, prompt: str) -> int:
        """Count the requests so far of the same role: what asks in words has the schema in its prompt, too."""
        line = prompt.partition("\n")[0]
        return sum(_prompt(earlier).partition("\n")[0] == line for earlier in self.bodies)


@contextmanager
def serve_faulty_openai(answer: Callable[[Asked], Answer]) -> Iterator[FaultyServer]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = _prompt(body)
            number = server.count(prompt)
            server.bodies.append(body)
            fault = server.cue(prompt, number)
            completion = _forward(healthy.url, {**body, "stream": False, "stream_options": None})
            given = fault(deepcopy(completion)) if fault else completion
            if isinstance(given, str):
                self._cut(given)
            elif isinstance(given, Raw):
                self._send(*given)
            elif body.get("stream"):
                self._send(200, _as_events(given) if given["choices"] else "", {"Content-Type": "text/event-stream"})
            else:
                self._send(200, json.dumps(given))

        def _send(self, status: int, body: str, headers: Mapping[str, str] = {}) -> None:
            payload = body.encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def _cut(self, how: str) -> None:
            if how == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
            if how == "trickle":
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
            with suppress(OSError):
                while how != "reset" and not closing.wait(0.05):
                    self.wfile.write(b" " if how == "trickle" else b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
            """Say nothing."""

    class Listener(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up is what the tests are about."""

    with serve_openai(answer) as healthy:
        listener = Listener(("127.0.0.1", 0), Handler)
        server = FaultyServer(f"http://127.0.0.1:{listener.server_address[1]}/v1")
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            closing.set()
            listener.shutdown()
            listener.server_close()
            thread.join()


def _prompt(body: Mapping[str, Any]) -> str:
    return str(body["messages"][0]["content"])


def _forward(url: str, body: Mapping[str, Any]) -> Completion:
    place = urlsplit(url)
    connection = HTTPConnection(place.netloc)
    try:
        connection.request("POST", f"{place.path}/chat/completions", json.dumps(body))
        completion: Completion = json.loads(connection.getresponse().read())
        return completion
    finally:
        connection.close()
