"""A server on this machine that speaks OpenAI's chat completions and answers by a function.

For what runs in a process of its own and finds its model by OPENAI_BASE_URL. Inside a test, `tests.fakes` is simpler.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any


@dataclass(frozen=True)
class Call:
    """A tool call to answer with."""

    tool: str
    args: Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request that came in."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[str]
    """Names of the tools on offer."""
    schema: str | None
    """Name of the schema that the answer is to fill in, natively or as its only tool."""
    key: str
    """The key it came with."""
    form: Mapping[str, Any]
    """That schema; empty if none is asked for."""

    @property
    def text(self) -> str:
        """Everything it said, as one text."""
        return "\n".join(str(message.get("content") or "") for message in self.messages)


Answer = str | Call | Mapping[str, Any] | int
"""Prose, a tool call, the fields of the schema asked for, or the number of an HTTP error."""


@dataclass
class OpenAIServer:
    """A running server: where it is, and what it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process use this server for `openai:` models."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "test"}


@contextmanager
def serve_openai(answer: Callable[[Asked], Answer]) -> Iterator[OpenAIServer]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    numbers = count(1)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = _read(body, self.headers.get("Authorization", "").removeprefix("Bearer "))
            server.asked.append(asked)
            given = answer(asked)
            if isinstance(given, int):
                self._send(given, "application/json", json.dumps({"error": {"message": f"scripted {given}"}}))
                return
            completion = _completion(body, asked, given, next(numbers))
            if body.get("stream"):
                self._send(200, "text/event-stream", _as_events(completion))
            else:
                self._send(200, "application/json", json.dumps(completion))

        def _send(self, status: int, kind: str, body: str) -> None:
            payload = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked may have given up
                self.wfile.write(payload)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = OpenAIServer(f"http://127.0.0.1:{listener.server_address[1]}/v1")
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def _read(body: Mapping[str, Any], key: str) -> Asked:
    tools = [tool["function"]["name"] for tool in body.get("tools", [])]
    native = (body.get("response_format") or {}).get("json_schema", {})
    forced = body.get("tool_choice")
    schema = native.get("name") or (forced["function"]["name"] if isinstance(forced, dict) else None)
    forms = {tool["function"]["name"]: tool["function"]["parameters"] for tool in body.get("tools", [])}
    form = native.get("schema") or forms.get(schema, {})
    return Asked(body["model"], body["messages"], tools, schema, key, form)


def _completion(body: Mapping[str, Any], asked: Asked, answer: str | Call | Mapping[str, Any], number: int) -> Any:
    if isinstance(answer, Mapping) and not body.get("response_format"):
        answer = Call(asked.schema or asked.tools[-1], answer)
    message: dict[str, Any] = {"role": "assistant", "content": None}
    if isinstance(answer, Call):
        function = {"name": answer.tool, "arguments": json.dumps(answer.args)}
        message["tool_calls"] = [{"id": f"call-{number}", "type": "function", "function": function}]
    else:
        message["content"] = answer if isinstance(answer, str) else json.dumps(answer)
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if isinstance(answer, Call) else "stop"}
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def _as_events(completion: dict[str, Any]) -> str:
    """Cut a completion into chunks: role and tool calls at once, text by words, the end, the usage."""
    head = {**completion, "object": "chat.completion.chunk", "usage": None}
    choice = completion["choices"][0]
    message = choice["message"]
    calls = [{"index": index, **call} for index, call in enumerate(message.get("tool_calls", []))]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", **({"tool_calls": calls} if calls else {})}]
    deltas += [{"content": word} for word in (message["content"] or "").split(sep=" ")]
    deltas[2:] = [{"content": " " + delta["content"]} for delta in deltas[2:]]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    chunks.append({**head, "choices": [], "usage": completion["usage"]})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
