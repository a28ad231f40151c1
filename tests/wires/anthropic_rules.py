"""Anthropic's Messages API: its rules as documented, in front of `langchain-anthropic`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr, TypeAdapter

from tests.wires.serving import (
    Asked,
    RefusedError,
    Response,
    Says,
    Turn,
    arguments,
    as_object,
    check_pairs,
    check_types,
    events,
    halves,
    plain,
)

ID = re.compile(r"^[a-zA-Z0-9_-]+$")
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
BOUNDS = {"integer": ("minimum", "maximum"), "string": ("minLength", "maxLength"), "array": ("maxItems",)}
"""What structured outputs do not take, by type."""
_request: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)


class Anthropic:
    """The rules of Anthropic's Messages API."""

    name = "Anthropic"

    def models(self, url: str) -> Mapping[str, Callable[[], BaseChatModel]]:
        """Claude as people set it up."""

        def make(model: str, **options: Any) -> Callable[[], BaseChatModel]:
            return lambda: ChatAnthropic(
                model_name=model,
                base_url=url,
                api_key=SecretStr("key"),
                max_retries=0,
                timeout=60,
                stop=None,
                **options,
            )

        thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4096}
        return {
            "": make("claude-sonnet-4-6"),
            "thinking": make("claude-sonnet-4-6", **thinking),
            "thinking, tools for plans": make("claude-haiku-4-5-20251001", **thinking),
            "output v1": make("claude-haiku-4-5-20251001", output_version="v1"),
        }

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        """Read a request, or refuse it."""
        assert path.split("?", maxsplit=1)[0] == "/v1/messages", path
        check_types(_request, {key: value for key, value in body.items() if key != "stream"})
        if unknown := body.keys() - MessageCreateParamsNonStreaming.__annotations__.keys():
            raise RefusedError(f"{unknown.pop()}: Extra inputs are not permitted")
        turns = [Turn("system", _text(body.get("system", "")))]
        thinks = body.get("thinking", {}).get("type") in {"enabled", "adaptive"}
        choice = body.get("tool_choice", {})
        if thinks and choice.get("type") in {"any", "tool"}:
            raise RefusedError("Thinking may not be enabled when tool_choice forces tool use.")
        if thinks and body["max_tokens"] <= body["thinking"].get("budget_tokens", 0):
            raise RefusedError("`max_tokens` must be greater than `thinking.budget_tokens`.")
        if thinks and body.get("temperature", 1) != 1:
            raise RefusedError("`temperature` may only be set to 1 when thinking is enabled.")
        for tool in body.get("tools", []):
            if tool["input_schema"].get("type") != "object":
                raise RefusedError("tools.0.custom.input_schema.type: Field required")
        if schema := (body.get("output_config") or {}).get("format", {}).get("schema"):
            check_schema(schema)
        messages = body["messages"]
        if messages[0]["role"] != "user":
            raise RefusedError('messages: first message must use the "user" role')
        if messages[-1]["role"] != "user":
            raise RefusedError(
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )
        for place, message in enumerate(messages):
            turns += self._turns(place, message)
        if any(turn.calls for turn in turns) and not body.get("tools"):
            raise RefusedError(
                "Requests which have `tool_use` or `tool_result` blocks in `messages` must define `tools`."
            )
        check_pairs(
            turns,
            unanswered="messages: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}. "
            "Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
            unasked="messages: unexpected `tool_use_id` found in `tool_result` blocks: {ids}. Each `tool_result` block "
            "must have a corresponding `tool_use` block in the previous message.",
            repeated="messages: `tool_use` ids must be unique",
        )
        if thinks:
            _check_thoughts(messages)
        form = choice.get("name", "") if choice.get("type") == "tool" else "json" if schema else ""
        tools = [tool["name"] for tool in body.get("tools", [])]
        return Asked(turns, tools, form, bool(body.get("stream")), body)

    def _turns(self, place: int, message: Mapping[str, Any]) -> list[Turn]:
        content, role = message["content"], message["role"]
        if not content:
            raise RefusedError(
                f"messages.{place}: all messages must have non-empty content except for the optional final one"
            )
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        results: list[Turn] = []
        calls: list[str] = []
        for number, block in enumerate(blocks):
            if block["type"] == "text" and not block["text"].strip():
                raise RefusedError("messages: text content blocks must contain non-whitespace text")
            if block["type"] == "tool_result":
                if role != "user" or len(results) < number:
                    raise RefusedError(f"messages.{place}: `tool_result` blocks must come first in a user message")
                results.append(Turn("tool", _text(block.get("content", "")), result_of=block["tool_use_id"]))
            if block["type"] == "tool_use":
                if not ID.match(block["id"]):
                    raise RefusedError(
                        f"messages.{place}.content.{number}.tool_use.id: String should match '{ID.pattern}'"
                    )
                calls.append(block["id"])
            if block["type"] == "thinking" and block["signature"] != signature_of(block["thinking"]):
                raise RefusedError(f"messages.{place}.content.{number}: Invalid `signature` in `thinking` block")
        if role == "assistant" and blocks[-1]["type"] == "thinking":
            raise RefusedError(f"messages.{place}: The final block in an assistant message cannot be `thinking`.")
        text = _text([block for block in blocks if block["type"] == "text"])
        return results + ([Turn(role, text, calls)] if text or calls else [])

    def answer(self, asked: Asked, says: Says, number: int) -> Response:
        """Say something, after a signed thought where thinking is on."""
        blocks: list[dict[str, Any]] = []
        if "thinking" in asked.body:
            thought = f"Thought number {number}."
            blocks.append({"type": "thinking", "thinking": thought, "signature": signature_of(thought)})
        if says.text:
            blocks.append({"type": "text", "text": says.text})
        for place, call in enumerate(says.calls):
            args = arguments(call) if asked.stream else as_object(call)
            use = {"id": f"toolu_{number:03}{place}", "name": call.tool, "input": args, "caller": {"type": "direct"}}
            blocks.append({"type": "tool_use", **use})
        ending = says.ending or ("tool_use" if says.calls else "end_turn")
        usage = {"input_tokens": 10, "output_tokens": 5}
        message = {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": asked.body["model"],
            "content": blocks,
            "stop_reason": ending,
            "stop_sequence": None,
            "usage": usage,
        }
        return _stream(message) if asked.stream else plain(message)

    def error(self, status: int, message: str, **headers: str) -> Response:
        """Make an error."""
        detail = {"type": KINDS.get(status, "api_error"), "message": message}
        return plain({"type": "error", "error": detail, "request_id": "req_1"}, status, **headers)


def _stream(message: Mapping[str, Any]) -> Response:
    start = {**message, "content": [], "stop_reason": None}
    parts: list[tuple[str, dict[str, Any]]] = [("message_start", {"message": start})]
    for index, block in enumerate(message["content"]):
        kind = block["type"]
        deltas: list[dict[str, Any]]
        if kind == "text":
            empty = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": part} for part in halves(block["text"])]
        elif kind == "thinking":
            empty = {**block, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": part} for part in halves(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        else:
            empty = {**block, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in halves(block["input"])]
        parts.append(("content_block_start", {"index": index, "content_block": empty}))
        parts += [("content_block_delta", {"index": index, "delta": delta}) for delta in deltas]
        parts.append(("content_block_stop", {"index": index}))
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    parts.append(("message_delta", {"delta": ending, "usage": message["usage"]}))
    parts.append(("message_stop", {}))
    return events(*((name, {"type": name, **data}) for name, data in parts))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content)


def signature_of(thought: str) -> str:
    """Sign a thought."""
    return f"signed:{len(thought)}:{thought[-2:]}"


def check_schema(schema: Any) -> None:
    """Refuse what structured outputs do not take: open objects, and bounds.

    Raises:
        RefusedError: It has one of these.
    """
    if isinstance(schema, list):
        for item in schema:
            check_schema(item)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise RefusedError(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    for kind, keys in BOUNDS.items():
        if schema.get("type") == kind and (found := [key for key in keys if key in schema]):
            raise RefusedError(f"output_config.format.schema: For '{kind}' type, properties {found} are not supported")
    for item in schema.values():
        check_schema(item)


def _check_thoughts(messages: list[Any]) -> None:
    """Refuse a turn with tools whose thoughts are missing: they must be passed back until the turn ends."""
    last = next((place for place in reversed(range(len(messages))) if messages[place]["role"] == "assistant"), None)
    if last is None:
        return
    content = messages[last]["content"]
    kinds = [block["type"] for block in content] if isinstance(content, list) else ["text"]
    if "tool_use" in kinds and kinds[0] not in {"thinking", "redacted_thinking"}:
        raise RefusedError(
            f"messages.{last}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`. When "
            "`thinking` is enabled, a final `assistant` message must start with a thinking block (preceding the "
            "lastmost set of `tool_use` and `tool_result` blocks)."
        )
