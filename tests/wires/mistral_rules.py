"""Mistral's chat completions: their rules as documented, in front of `langchain-mistralai`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_mistralai import ChatMistralAI
from pydantic import SecretStr

from tests.wires.openai_rules import check_strict
from tests.wires.serving import (
    Asked,
    RefusedError,
    Response,
    Says,
    Turn,
    arguments,
    check_pairs,
    events,
    halves,
    plain,
)

ID = re.compile(r"^[a-zA-Z0-9]{9}$")
NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
REQUEST = {
    *("model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "response_format"),
    *("tools", "tool_choice", "presence_penalty", "frequency_penalty", "n", "prediction", "parallel_tool_calls"),
    *("prompt_mode", "safe_prompt", "metadata", "reasoning_effort", "guardrails", "prompt_cache_key"),
}
FOLLOWERS = {
    "": {"system", "user", "assistant"},
    "system": {"system", "user", "assistant"},
    "user": {"system", "user", "assistant"},
    "assistant": {"system", "user", "assistant", "tool"},
    "tool": {"assistant", "tool"},
}
"""Which roles may come after one."""
KINDS = {
    400: ("invalid_request_error", None),
    403: ("forbidden", "1200"),
    404: ("invalid_model", "1500"),
    429: ("rate_limited", "1300"),
    500: ("internal_server_error", "1000"),
    503: ("unavailable", "1100"),
}


class Mistral:
    """The rules of Mistral's chat completions."""

    name = "Mistral"

    def models(self, url: str) -> Mapping[str, Callable[[], BaseChatModel]]:
        """A plain model and one that reasons."""

        def make(model: str) -> Callable[[], BaseChatModel]:
            return lambda: ChatMistralAI(
                model_name=model, base_url=url, api_key=SecretStr("key"), max_retries=1, timeout=60
            )

        return {"Large": make("mistral-large-latest"), "Medium, reasoning": make("mistral-medium-latest")}

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        """Read a request, or refuse it."""
        assert path == "/chat/completions", path
        if unknown := body.keys() - REQUEST:
            raise RefusedError(f"Extra inputs are not permitted: {unknown.pop()}", 422)
        tools = [tool["function"] for tool in body.get("tools", [])]
        for tool in tools:
            if not NAME.match(tool["name"]):
                raise RefusedError(
                    f"Function name was {tool['name']} but must be a-z, A-Z, 0-9, or contain underscores and dashes, "
                    "with a maximum length of 64."
                )
            if tool["parameters"].get("type") != "object":
                raise RefusedError(f"Invalid schema of function {tool['name']}: it must be an object.", 422)
        choice = body.get("tool_choice", "auto")
        if isinstance(choice, str) and choice not in {"auto", "none", "any", "required"}:
            raise RefusedError("Input should be 'auto', 'none', 'any' or 'required': body.tool_choice", 422)
        form = body.get("response_format", {})
        if schema := form.get("json_schema"):
            check_strict("Invalid schema", schema["schema"])
        turns = [_turn(message) for message in body["messages"]]
        before = ""
        for turn in turns:
            if turn.role not in FOLLOWERS[before]:
                raise RefusedError(f"Unexpected role '{turn.role}' after role '{before}'")
            before = turn.role
        if before == "assistant":
            raise RefusedError(
                "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant"
            )
        number = "Not the same number of function calls and responses"
        check_pairs(turns, unanswered=number, unasked=f"{number}: {{ids}}")
        forced = choice["function"]["name"] if isinstance(choice, Mapping) else "json" if schema else ""
        return Asked(turns, [tool["name"] for tool in tools], forced, bool(body.get("stream")), body)

    def answer(self, asked: Asked, says: Says, number: int) -> Response:
        """Say something, after a thought where the model reasons; a call comes in one piece."""
        text: Any = says.text
        if "medium" in asked.body["model"]:
            thought = {"type": "thinking", "thinking": [{"type": "text", "text": f"Thought number {number}."}]}
            text = [thought, *([{"type": "text", "text": says.text}] if says.text else [])]
        message: dict[str, Any] = {"role": "assistant", "content": text, "tool_calls": None}
        if says.calls:
            message["tool_calls"] = [
                {
                    "id": f"call{number:04}{place}",
                    "type": "function",
                    "function": {"name": call.tool, "arguments": arguments(call)},
                    "index": place,
                }
                for place, call in enumerate(says.calls)
            ]
        ending = says.ending or ("tool_calls" if says.calls else "stop")
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        head = {"id": f"chat{number}", "created": 0, "model": asked.body["model"]}
        if not asked.stream:
            choice = {"index": 0, "message": message, "finish_reason": ending}
            return plain({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        parts: list[Any] = [[part] for part in text] if isinstance(text, list) else halves(text)
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": part} for part in parts]
        deltas.append({"content": "", "tool_calls": message["tool_calls"]})
        chunks: list[dict[str, Any]] = [
            {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
        ]
        chunks[-1]["choices"][0]["finish_reason"] = ending
        chunks[-1]["usage"] = usage
        return events(*chunks, end="data: [DONE]\n\n")

    def error(self, status: int, message: str, **headers: str) -> Response:
        """Make an error."""
        if status == 401:
            return plain({"detail": message}, status, **headers)
        kind, code = KINDS.get(status, ("invalid_request_error", None))
        if status == 400 and "role" in message:
            kind, code = "invalid_request_message_order", "3230"
        error = {"object": "error", "message": message, "type": kind, "param": None, "code": code}
        return plain(error, status, **headers)


def _turn(message: Mapping[str, Any]) -> Turn:
    calls, content = message.get("tool_calls") or [], message.get("content")
    text = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content or [])
    if message["role"] == "assistant" and not calls and not text.strip():
        raise RefusedError("Assistant message must have either content or tool_calls, but not none.")
    for part in content if isinstance(content, list) else ():
        if part["type"] not in {"text", "image_url", "thinking", "reference", "document_url", "input_audio"}:
            raise RefusedError(f"Input tag '{part['type']}' found using 'type' does not match any of the expected", 422)
    ids = [call["id"] for call in calls]
    for key in [*ids, *([message["tool_call_id"]] if message["role"] == "tool" else [])]:
        if not ID.match(key):
            raise RefusedError(f"Tool call id was {key} but must be a-z, A-Z, 0-9, with a length of 9.")
    if len(set(ids)) < len(ids):
        raise RefusedError("Duplicate tool call id in assistant message")
    return Turn(message["role"], text, ids, message.get("tool_call_id", ""))
