"""Ollama's chat: its rules as documented, in front of `langchain-ollama`."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_ollama import ChatOllama

from tests.wires.serving import Asked, RefusedError, Response, Says, Turn, as_object, halves, plain

THINKS = ("qwen3", "gpt-oss", "deepseek-r1")
CALLS = ("qwen3", "gpt-oss", "llama3.1")
MESSAGE = {"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"}


class Ollama:
    """The rules of Ollama's chat; a choice of tool is not among what it reads."""

    name = "Ollama"

    def models(self, url: str) -> Mapping[str, Callable[[], BaseChatModel]]:
        """A plain model and one that thinks."""
        return {
            "": lambda: ChatOllama(model="llama3.1", base_url=url),
            "thinking": lambda: ChatOllama(model="qwen3", base_url=url, reasoning=True),
        }

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        """Read a request, or refuse it."""
        assert path == "/api/chat", path
        model, form = body["model"], body.get("format")
        if body.get("think") and not model.startswith(THINKS):
            raise RefusedError(f'"{model}" does not support thinking')
        if body.get("tools") and not model.startswith(CALLS):
            raise RefusedError(f"registry.ollama.ai/library/{model}:latest does not support tools")
        if form and form != "json" and not isinstance(form, dict):
            raise RefusedError(f'invalid format: "{form}"; expected "json" or a valid JSON Schema object', 500)
        if isinstance(form, dict):
            _check_grammar(form, form.get("$defs", {}))
        turns = [_turn(message) for message in body["messages"]]
        tools = [tool["function"]["name"] for tool in body.get("tools") or []]
        return Asked(turns, tools, "json" if form else "", body.get("stream", True), body)

    def answer(self, asked: Asked, says: Says, number: int) -> Response:
        """Say something, after a thought where thoughts are asked for; a call comes in one piece."""
        calls = [
            {
                "id": f"call_{number:03}{place}",
                "function": {"index": place, "name": call.tool, "arguments": as_object(call)},
            }
            for place, call in enumerate(says.calls)
        ]
        messages: list[dict[str, Any]] = [{"content": part} for part in halves(says.text)]
        if asked.body.get("think"):
            messages.insert(0, {"content": "", "thinking": f"Thought number {number}."})
        messages += [{"content": "", "tool_calls": calls}] if calls else []
        if not asked.stream:
            whole: dict[str, Any] = {}
            for message in messages:
                whole |= {**message, "content": whole.get("content", "") + message["content"]}
            messages = [{"content": "", **whole}]
        head = {"model": asked.body["model"], "created_at": "2026-01-01T00:00:00Z"}
        lines = [{**head, "message": {"role": "assistant", **message}, "done": False} for message in messages]
        counts = {"total_duration": 1, "load_duration": 1, "prompt_eval_count": 10, "eval_count": 5}
        end = {"done": True, "done_reason": says.ending or "stop", **counts}
        if not asked.stream:
            return plain({**lines[0], **end})
        lines.append({**head, "message": {"role": "assistant", "content": ""}, **end})
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        return Response(200, body, {"Content-Type": "application/x-ndjson"})

    def error(self, status: int, message: str, **headers: str) -> Response:
        """Make an error."""
        return plain({"error": message}, status, **headers)


def _turn(message: Mapping[str, Any]) -> Turn:
    if message["role"] not in {"system", "user", "assistant", "tool"}:
        raise RefusedError(f'invalid role: "{message["role"]}", must be one of [system, user, assistant, tool]')
    if not isinstance(message.get("content", ""), str):
        raise RefusedError("json: cannot unmarshal array into Go struct field ChatRequest.messages.content")
    calls = message.get("tool_calls") or []
    for call in calls:
        if not isinstance(call["function"]["arguments"], dict):
            raise RefusedError(
                "json: cannot unmarshal string into Go struct field ChatRequest.messages.tool_calls.function.arguments"
            )
    ids = [call.get("id", call["function"]["name"]) for call in calls]
    return Turn(message["role"], message.get("content", ""), ids, message.get("tool_call_id", ""))


def _check_grammar(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
    """Refuse a schema from which no grammar can be made: references to nothing, patterns without both ends."""
    reference, pattern = schema.get("$ref", ""), schema.get("pattern", "^$")
    if reference and reference.removeprefix("#/$defs/") not in definitions:
        raise RefusedError("failed to load model vocabulary required for format", 500)
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise RefusedError("failed to load model vocabulary required for format", 500)
    items = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *schema.get("$defs", {}).values()]
    for item in [*items, *([schema["items"]] if "items" in schema else [])]:
        _check_grammar(item, definitions)
