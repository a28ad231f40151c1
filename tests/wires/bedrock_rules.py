"""Bedrock's Converse API: its rules as documented, in front of `langchain-aws`."""

import json
import re
from binascii import crc32
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from struct import pack
from typing import Any
from urllib.parse import unquote

import boto3  # type: ignore[import-untyped]  # it has no types
from botocore.config import Config  # type: ignore[import-untyped]  # it has no types
from langchain_aws import ChatBedrockConverse
from langchain_core.language_models import BaseChatModel

from tests.wires.anthropic_rules import check_schema, signature_of
from tests.wires.serving import (
    Asked,
    RefusedError,
    Response,
    Says,
    Turn,
    arguments,
    as_object,
    check_pairs,
    halves,
    plain,
)

ID = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
KINDS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
ONLY_AUTO = ("llama",)
"""Models that choose tools themselves."""


class Bedrock:
    """The rules of Bedrock's Converse API."""

    name = "Bedrock Converse"

    def models(self, url: str) -> Mapping[str, Callable[[], BaseChatModel]]:
        """Claude, and others that Bedrock treats in other ways."""

        def make(model: str, **options: Any) -> Callable[[], BaseChatModel]:
            return lambda: ChatBedrockConverse(
                model=model, client=_client("bedrock-runtime", url), bedrock_client=_client("bedrock", ""), **options
            )

        thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        claude = "us.anthropic.claude-sonnet-4-6"
        return {
            "Claude": make(claude),
            "Claude, thinking": make(claude, max_tokens=4096, additional_model_request_fields=thinking),
            "Nova": make("amazon.nova-pro-v1:0"),
            "Llama": make("us.meta.llama3-3-70b-instruct-v1:0"),
        }

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        """Read a request, or refuse it; the client has checked it against the types of the service."""
        model, operation = path.removeprefix("/model/").split("/")
        model = unquote(model)
        turns = [Turn("system", _text(body.get("system", [])))]
        tools = [tool["toolSpec"] for tool in body.get("toolConfig", {}).get("tools", [])]
        choice = body.get("toolConfig", {}).get("toolChoice", {})
        self._check_options(model, body, operation == "converse-stream")
        messages = body["messages"]
        if messages[0]["role"] != "user":
            raise RefusedError("A conversation must start with a user message. Try again with one that does.")
        if messages[-1]["role"] != "user":
            raise RefusedError(
                "This model does not support assistant message prefill. It must end with a user message."
            )
        for place, message in enumerate(messages):
            if place and message["role"] == messages[place - 1]["role"]:
                raise RefusedError(
                    "A conversation must alternate between user and assistant roles. Make sure the conversation "
                    "alternates between user and assistant roles and try again."
                )
            turns += _turns(place, message, "claude" in model)
        if any(turn.calls for turn in turns) and not tools:
            raise RefusedError("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
        check_pairs(
            turns,
            unanswered="Expected toolResult blocks for the following Ids: {ids}",
            unasked="The number of toolResult blocks exceeds the number of toolUse blocks of previous turn: {ids}",
            repeated="messages: `tool_use` ids must be unique",
        )
        if "thinking" in body.get("additionalModelRequestFields", {}):
            _check_thoughts(messages)
        form = choice.get("tool", {}).get("name", "json" if "outputConfig" in body else "")
        return Asked(turns, [tool["name"] for tool in tools], form, operation == "converse-stream", body)

    def _check_options(self, model: str, body: Mapping[str, Any], stream: bool) -> None:
        choice = body.get("toolConfig", {}).get("toolChoice", {})
        for tool in body.get("toolConfig", {}).get("tools", []):
            schema = tool["toolSpec"]["inputSchema"]["json"]
            if not ID.match(tool["toolSpec"]["name"]):
                raise RefusedError(f"toolConfig.tools.toolSpec.name: Member must satisfy {ID.pattern}")
            if schema.get("type") != "object":
                raise RefusedError("The value at toolConfig.tools.0.toolSpec.inputSchema.json.type must be object.")
        for kind in choice.keys() - {"auto"} if any(name in model for name in ONLY_AUTO) else ():
            raise RefusedError(
                f"This model doesn't support the toolConfig.toolChoice.{kind} field. Remove it and try again."
            )
        if "llama" in model and stream and "toolConfig" in body:
            raise RefusedError("This model doesn't support tool use in streaming mode.")
        if "thinking" in body.get("additionalModelRequestFields", {}):
            if choice.keys() & {"any", "tool"}:
                raise _from_model("Thinking may not be enabled when tool_choice forces tool use.")
            if body.get("inferenceConfig", {}).get("temperature", 1) != 1:
                raise _from_model("`temperature` may only be set to 1 when thinking is enabled.")
        if form := body.get("outputConfig", {}).get("textFormat"):
            if "claude" not in model:
                raise RefusedError("This model doesn't support the outputConfig.textFormat field.")
            check_schema(json.loads(form["structure"]["jsonSchema"]["schema"]))

    def answer(self, asked: Asked, says: Says, number: int) -> Response:
        """Say something, after a signed thought where thinking is on."""
        blocks: list[dict[str, Any]] = []
        if "thinking" in asked.body.get("additionalModelRequestFields", {}):
            thought = f"Thought number {number}."
            blocks.append(
                {"reasoningContent": {"reasoningText": {"text": thought, "signature": signature_of(thought)}}}
            )
        if says.text:
            blocks.append({"text": says.text})
        for place, call in enumerate(says.calls):
            args = arguments(call) if asked.stream else as_object(call)
            use = {"toolUseId": f"tooluse_{number:03}{place}", "name": call.tool, "input": args}
            blocks.append({"toolUse": use})
        ending = says.ending or ("tool_use" if says.calls else "end_turn")
        usage = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
        if asked.stream:
            return Response(
                200, b"".join(_stream(blocks, ending, usage)), {"Content-Type": "application/vnd.amazon.eventstream"}
            )
        message = {"role": "assistant", "content": blocks}
        return plain(
            {"output": {"message": message}, "stopReason": ending, "usage": usage, "metrics": {"latencyMs": 1}}
        )

    def error(self, status: int, message: str, **headers: str) -> Response:
        """Make an error."""
        kind = KINDS.get(status, "ValidationException")
        return plain({"message": message}, status, **{"x-amzn-ErrorType": kind, **headers})


@cache
def _session() -> Any:
    return boto3.Session("id", "key", region_name="us-east-1")


@cache
def _client(service: str, url: str) -> Any:
    """Make a client as the integration does, but of one session: it reads its service's description only once."""
    return _session().client(service, endpoint_url=url or None, config=Config(retries={"total_max_attempts": 1}))


def _from_model(message: str) -> RefusedError:
    return RefusedError(f"The model returned the following errors: {message}")


def _turns(place: int, message: Mapping[str, Any], is_claude: bool) -> list[Turn]:
    results: list[Turn] = []
    calls: list[str] = []
    texts: list[str] = []
    if not message["content"]:
        raise RefusedError(
            f"The content field in the Message object at messages.{place} is empty. Add a ContentBlock object to the "
            "content field and try again."
        )
    for number, block in enumerate(message["content"]):
        if "text" in block:
            if not block["text"].strip():
                raise RefusedError(
                    f"The text field in the ContentBlock object at messages.{place}.content.{number} is blank. Add "
                    "text to it, and try again."
                )
            texts.append(block["text"])
        if use := block.get("toolUse"):
            if not ID.match(use["toolUseId"]):
                raise RefusedError(f"messages.{place}.toolUse.toolUseId: Member must satisfy {ID.pattern}")
            if not isinstance(use["input"], dict):
                raise RefusedError(f"The format of the value at messages.{place}.toolUse.input is invalid.")
            calls.append(use["toolUseId"])
        if result := block.get("toolResult"):
            if not result["content"] or not _text(result["content"]).strip():
                raise RefusedError(
                    f"The content field at messages.{place}.content.{number}.toolResult cannot be empty when status "
                    "value is error."
                )
            results.append(Turn("tool", _text(result["content"]), result_of=result["toolUseId"]))
        thought = block.get("reasoningContent", {}).get("reasoningText", {"text": "", "signature": signature_of("")})
        if thought.get("signature") != signature_of(thought["text"]):
            raise _from_model(f"messages.{place}.content.{number}: Invalid `signature` in `thinking` block")
    if results and texts and not is_claude:
        raise RefusedError(
            f"messages.{place}.content: Conversation blocks and tool result blocks cannot be provided in the same turn."
        )
    text = "\n".join(texts)
    return results + ([Turn(message["role"], text, calls)] if text or calls else [])


def _check_thoughts(messages: Sequence[Mapping[str, Any]]) -> None:
    last: Any = next((m["content"] for m in reversed(messages) if m["role"] == "assistant"), [{}])
    if any("toolUse" in block for block in last) and "reasoningContent" not in last[0]:
        raise _from_model(
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`."
        )


def _text(blocks: Any) -> str:
    return "\n".join(block.get("text", "") for block in blocks)


def _stream(blocks: Sequence[Mapping[str, Any]], ending: str, usage: Mapping[str, int]) -> Iterator[bytes]:
    yield event("messageStart", {"role": "assistant"})
    for index, block in enumerate(blocks):
        where = {"contentBlockIndex": index}
        deltas: list[dict[str, Any]]
        if use := block.get("toolUse"):
            start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
            yield event("contentBlockStart", {**where, "start": start})
            deltas = [{"toolUse": {"input": part}} for part in halves(use["input"])]
        elif thought := block.get("reasoningContent"):
            said = thought["reasoningText"]
            deltas = [{"reasoningContent": {"text": part}} for part in halves(said["text"])]
            deltas.append({"reasoningContent": {"signature": said["signature"]}})
        else:
            deltas = [{"text": part} for part in halves(block["text"])]
        for delta in deltas:
            yield event("contentBlockDelta", {**where, "delta": delta})
        yield event("contentBlockStop", where)
    yield event("messageStop", {"stopReason": ending})
    yield event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})


def event(name: str, data: Mapping[str, Any], kind: str = "event") -> bytes:
    """Write an event in AWS's binary form: lengths, checksum, headers, JSON, checksum."""
    payload, headers = json.dumps(data).encode(), b""
    for key, value in {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}.items():
        headers += pack("!B", len(key)) + key.encode() + pack("!BH", 7, len(value)) + value.encode()
    prelude = pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + pack("!I", crc32(prelude)) + headers + payload
    return message + pack("!I", crc32(message))
