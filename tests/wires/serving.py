"""The HTTP core of servers that speak the protocols of model services, and refuse what the services refuse.

Each service is one file of rules beside this one: how a request is read, what is refused with which words, how an
answer and an error look, in one piece and as a stream.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, repeat
from typing import Any, Literal, NamedTuple, Protocol

from langchain_core.language_models import BaseChatModel
from pydantic import TypeAdapter, ValidationError


class Call(NamedTuple):
    """A tool call."""

    tool: str
    args: Mapping[str, Any] | str
    """The arguments; a text where they are malformed."""


@dataclass(frozen=True)
class Says:
    """What a model says: text, tool calls, or the fields of the schema that it was asked for."""

    text: str = ""
    calls: Sequence[Call] = ()
    fields: Mapping[str, Any] | None = None
    ending: str = ""
    """The service's own word for why it stopped, where that is not the ordinary one."""


@dataclass(frozen=True)
class Turn:
    """One message of a request, in the same form for all services."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    calls: Sequence[str] = ()
    """Ids of the calls of an assistant."""
    result_of: str = ""
    """Id of the call that a tool's result belongs to."""


@dataclass(frozen=True)
class Asked:
    """One request, in the same form for all services."""

    turns: Sequence[Turn]
    tools: Sequence[str] = ()
    form: str = ""
    """The tool that has to be called; for a native schema `json`."""
    stream: bool = False
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def system(self) -> str:
        """The system prompt."""
        return "\n".join(turn.text for turn in self.turns if turn.role == "system")

    @property
    def text(self) -> str:
        """Everything it says, as one text."""
        return "\n".join(turn.text for turn in self.turns)


class RefusedError(Exception):
    """A request that the service does not take, in the words of the service."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Response(NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


Answer = Says | Response
"""What a model says, or a fault in its place."""


class Service(Protocol):
    """The rules of one service."""

    name: str

    def models(self, url: str) -> Mapping[str, Callable[[], BaseChatModel]]:
        """Make chat models of the real integration package, by what is special about them."""
        ...

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        """Read a request.

        Raises:
            RefusedError: The service does not take it.
        """
        ...

    def answer(self, asked: Asked, says: Says, number: int) -> Response:
        """Say something, in one piece or as a stream."""
        ...

    def error(self, status: int, message: str, **headers: str) -> Response:
        """Make an error as the service sends it."""
        ...


@dataclass(eq=False)
class Server:
    """A running server: where it is, what it was asked, and what it refused."""

    url: str
    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What went wrong in the server itself."""


@contextmanager
def serve(service: Service, answer: Callable[[Asked], Answer], *, same_ids: bool = False) -> Iterator[Server]:
    """Serve on a free port of 127.0.0.1 until the block ends; all answers can have the same ids."""
    numbers, lock = repeat(0) if same_ids else count(1), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                with lock:
                    response = self._respond(body)
            except RefusedError as refused:
                server.refused.append(str(refused))
                response = service.error(refused.status, str(refused))
            except Exception as error:
                server.broken.append(repr(error))
                raise
            self.send_response(response.status)
            for name, value in {"Content-Type": "application/json", **response.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked may have given up
                self.wfile.write(response.body)

        def _respond(self, body: dict[str, Any]) -> Response:
            asked = service.read(self.path, body)
            server.asked.append(asked)
            given = server.answer(asked)
            return given if isinstance(given, Response) else service.answer(asked, in_form(asked, given), next(numbers))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{listener.server_address[1]}", answer)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def in_form(asked: Asked, says: Says) -> Says:
    """Put the fields of a schema into the form that was asked for: a tool call, or JSON as text."""
    if says.fields is None:
        return says
    tool = asked.tools[0] if asked.form != "json" and len(asked.tools) == 1 else asked.form
    if tool in asked.tools:
        return Says(says.text, [Call(tool, says.fields)])
    return Says(json.dumps(says.fields))


def events(*parts: tuple[str, Mapping[str, Any]] | Mapping[str, Any], end: str = "") -> Response:
    """Make a stream of server-sent events, each with or without a name."""
    lines = []
    for part in parts:
        name, data = part if isinstance(part, tuple) else ("", part)
        lines.append((f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n")
    return Response(200, ("".join(lines) + end).encode(), {"Content-Type": "text/event-stream"})


def plain(body: Mapping[str, Any], status: int = 200, **headers: str) -> Response:
    """Make a response of JSON."""
    return Response(
        status, json.dumps(body).encode(), {name.replace("_", "-"): value for name, value in headers.items()}
    )


def arguments(call: Call) -> str:
    """Return the arguments of a call as the text that services send."""
    return call.args if isinstance(call.args, str) else json.dumps(call.args)


def as_object(call: Call) -> Mapping[str, Any]:
    """Return the arguments of a call as the object that services send; malformed ones get lost on their side."""
    return {} if isinstance(call.args, str) else call.args


def halves(text: str) -> list[str]:
    """Cut a text in two, as a stream may."""
    return [part for part in (text[: len(text) // 2], text[len(text) // 2 :]) if part]


def check_types(kind: TypeAdapter[Any], body: Any) -> None:
    """Refuse a request that the types of the service's own client do not allow.

    Raises:
        RefusedError: With the place of the first thing that is wrong.
    """
    try:
        _exhaust(kind.validate_python(body))
    except ValidationError as error:
        first = error.errors()[0]
        raise RefusedError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _exhaust(value: Any) -> None:
    """Go through everything: pydantic validates the items of an iterable only when they are taken."""
    if isinstance(value, Mapping):
        value = value.values()
    if not isinstance(value, str | bytes) and isinstance(value, Iterable):
        for item in value:
            _exhaust(item)


def check_pairs(turns: Sequence[Turn], *, unanswered: str, unasked: str, repeated: str = "") -> None:
    """Refuse calls without a result in the turns that follow, results without a call, and ids that repeat.

    Raises:
        RefusedError: With one of these messages, `{ids}` filled in.
    """
    seen: set[str] = set()
    waiting: list[str] = []
    for turn in turns:
        if turn.role == "tool":
            if turn.result_of not in waiting:
                raise RefusedError(unasked.format(ids=turn.result_of))
            waiting.remove(turn.result_of)
            continue
        if waiting:
            raise RefusedError(unanswered.format(ids=", ".join(waiting)))
        if repeated and (again := seen & set(turn.calls) or len(set(turn.calls)) < len(turn.calls)):
            raise RefusedError(repeated.format(ids=again))
        seen |= set(turn.calls)
        waiting = list(turn.calls)
    if waiting:
        raise RefusedError(unanswered.format(ids=", ".join(waiting)))
