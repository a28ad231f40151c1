"""OpenAI's Chat Completions: their rules as documented, in front of `langchain-openai`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import SecretStr, TypeAdapter

from tests.wires.serving import (
    Asked,
    RefusedError,
    Response,
    Says,
    Turn,
    arguments,
    check_pairs,
    check_types,
    events,
    halves,
    plain,
)

NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
SPEAKER = re.compile(r"^[^\s<|\\/>]+$")
NOT_STRICT = ("default", "minLength", "maxLength", "allOf", "oneOf", "not", "patternProperties", "uniqueItems")
"""What strict schemas do not take."""
KINDS = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", None),
}
_request: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)


class OpenAIChat:
    """The rules of OpenAI's Chat Completions."""

    name = "OpenAI chat"

    def models(self, url: str) -> Mapping[str, Callable[[], BaseChatModel]]:
        """GPT as people set it up; and a name that nobody knows, such as that of a deployment."""

        def make(model: str, **options: Any) -> Callable[[], BaseChatModel]:
            return lambda: ChatOpenAI(
                model=model, base_url=url, api_key=SecretStr("key"), max_retries=0, timeout=60, **options
            )

        return {
            "": make("gpt-4.1", temperature=0),
            "reasoning": make("gpt-5", max_tokens=4096),
            "unknown model": make("our-deployment", output_version="v1"),
        }

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        """Read a request, or refuse it."""
        assert path == "/chat/completions", path
        if unknown := body.keys() - CompletionCreateParamsNonStreaming.__annotations__.keys() - {"stream"}:
            raise RefusedError(f"Unrecognized request argument supplied: {unknown.pop()}")
        check_types(_request, {key: value for key, value in body.items() if key != "stream"})
        if body["model"].startswith("gpt-5"):
            check_reasoning(body, "max_tokens", "max_completion_tokens")
        if "tools" in body and not body["tools"]:
            raise RefusedError("[] is too short - 'tools'")
        if not body.get("tools") and (
            key := next((k for k in ("tool_choice", "parallel_tool_calls") if k in body), "")
        ):
            raise RefusedError(f"Invalid value for '{key}': '{key}' is only allowed when 'tools' are specified.")
        for place, tool in enumerate(body.get("tools", [])):
            check_function(f"tools[{place}].function", tool["function"])
        turns = [self._turn(place, message) for place, message in enumerate(body["messages"])]
        form = body.get("response_format") or {}
        if schema := form.get("json_schema"):
            check_format("response_format", schema)
        if form.get("type") == "json_object" and "json" not in "".join(turn.text for turn in turns).lower():
            raise RefusedError(
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
            )
        check_pairs(
            turns,
            unanswered="An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: {ids}",
            unasked="Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
            "'tool_calls'.",
        )
        choice = body.get("tool_choice")
        forced = choice["function"]["name"] if isinstance(choice, dict) else "json" if form else ""
        tools = [tool["function"]["name"] for tool in body.get("tools", [])]
        return Asked(turns, tools, forced, bool(body.get("stream")), body)

    def _turn(self, place: int, message: Mapping[str, Any]) -> Turn:
        role, content = message["role"], message.get("content")
        where = f"Invalid value for 'messages[{place}]"
        if content is None and not message.get("tool_calls"):
            raise RefusedError(f"Invalid value for 'content': expected a string, got null. (messages[{place}])")
        if content == []:
            raise RefusedError(f"{where}.content': empty array. Expected an array with minimum length 1.")
        for part in content if isinstance(content, list) else ():
            if part["type"] not in {"text", "refusal", "image_url", "input_audio", "file"}:
                raise RefusedError(f"{where}.content[0].type': '{part['type']}'. Supported values are: 'text'.")
        if "name" in message and not SPEAKER.match(message["name"]):
            raise RefusedError(f"{where}.name': string does not match pattern '{SPEAKER.pattern}'.")
        if "tool_calls" in message and not message["tool_calls"]:
            raise RefusedError(f"{where}.tool_calls': empty array. Expected an array with minimum length 1.")
        for call in message.get("tool_calls", []):
            if len(call["id"]) > 40:
                raise RefusedError(f"{where}.tool_calls[0].id': string too long. Expected at most 40 characters.")
            if not NAME.match(call["function"]["name"]):
                raise RefusedError(f"{where}.tool_calls[0].function.name': does not match pattern '{NAME.pattern}'.")
        ids = [call["id"] for call in message.get("tool_calls", [])]
        text = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content or [])
        role = {"developer": "system"}.get(role, role)
        return Turn(role, text, ids, message.get("tool_call_id", ""))

    def answer(self, asked: Asked, says: Says, number: int) -> Response:
        """Say something."""
        message: dict[str, Any] = {"role": "assistant", "content": says.text or None, "refusal": None}
        if says.calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{number:03}{place}",
                    "type": "function",
                    "function": {"name": call.tool, "arguments": arguments(call)},
                }
                for place, call in enumerate(says.calls)
            ]
        ending = says.ending or ("tool_calls" if says.calls else "stop")
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        head = {"id": f"chatcmpl-{number}", "created": 0, "model": asked.body["model"]}
        if asked.stream:
            return _stream({**head, "object": "chat.completion.chunk"}, message, ending, usage)
        choice = {"index": 0, "message": message, "finish_reason": ending}
        return plain({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def error(self, status: int, message: str, **headers: str) -> Response:
        """Make an error."""
        return error(status, message, **headers)


def error(status: int, message: str, **headers: str) -> Response:
    """Make an error of OpenAI."""
    kind, code = KINDS.get(status, ("invalid_request_error", None))
    if status == 400 and "context window" in message:
        code = "context_length_exceeded"
    return plain({"error": {"message": message, "type": kind, "param": None, "code": code}}, status, **headers)


def check_reasoning(body: Mapping[str, Any], *keys: str) -> None:
    """Refuse what reasoning models do not take: the first of two keys for the most tokens, and a temperature.

    Raises:
        RefusedError: It has one of these.
    """
    if keys and keys[0] in body:
        raise RefusedError(
            f"Unsupported parameter: '{keys[0]}' is not supported with this model. Use '{keys[1]}' instead."
        )
    if body.get("temperature", 1) not in {1, None}:
        raise RefusedError(
            f"Unsupported value: 'temperature' does not support {body['temperature']} with this model. Only the "
            "default (1) value is supported."
        )


def check_function(where: str, function: Mapping[str, Any]) -> None:
    """Refuse a function whose name or schema is not allowed.

    Raises:
        RefusedError: At this place.
    """
    if not NAME.match(function["name"]):
        raise RefusedError(f"Invalid '{where}.name': string does not match pattern. Expected '{NAME.pattern}'.")
    schema = function.get("parameters") or {"type": "object"}
    if schema.get("type") != "object":
        raise RefusedError(
            f"Invalid schema for function '{function['name']}': schema must be a JSON Schema of 'type: \"object\"', "
            f"got 'type: \"{schema.get('type')}\"'."
        )
    if function.get("strict"):
        check_strict(f"Invalid schema for function '{function['name']}'", schema)


def check_format(key: str, form: Mapping[str, Any]) -> None:
    """Refuse a schema for the whole answer that is not allowed.

    Raises:
        RefusedError: For the request's key.
    """
    if not NAME.match(form["name"]):
        raise RefusedError(f"Invalid '{key}.name': string does not match pattern. Expected '{NAME.pattern}'.")
    if form["schema"].get("type") != "object":
        raise RefusedError(f"Invalid schema for {key} '{form['name']}': schema must be of 'type: \"object\"'.")
    if form.get("strict"):
        check_strict(f"Invalid schema for {key} '{form['name']}'", form["schema"])


def check_strict(which: str, schema: Any, place: tuple[str, ...] = ()) -> None:
    """Refuse what structured outputs do not take: open objects, optional fields, defaults, references with neighbours.

    Raises:
        RefusedError: With the place of the first of these.
    """
    context = f"{which}: In context={place!r}, "
    if not schema.keys() & {"type", "anyOf", "$ref", "enum", "const"}:
        raise RefusedError(f"{context}schema must have a 'type' key.")
    if "$ref" in schema and len(schema) > 1:
        raise RefusedError(f"{context}$ref cannot have keywords {schema.keys() - {'$ref'}}.")
    if found := [key for key in NOT_STRICT if key in schema]:
        raise RefusedError(f"{context}'{found[0]}' is not permitted.")
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise RefusedError(f"{context}'additionalProperties' is required to be supplied and to be false.")
        if set(schema.get("required", ())) != schema.get("properties", {}).keys():
            raise RefusedError(
                f"{context}'required' is required to be supplied and to be an array including every key in properties."
            )
    for group in ("properties", "$defs"):
        for name, item in schema.get(group, {}).items():
            check_strict(which, item, (*place, group, name))
    for number, item in enumerate(schema.get("anyOf", ())):
        check_strict(which, item, (*place, "anyOf", str(number)))
    if schema.get("type") == "array":
        if "items" not in schema:
            raise RefusedError(f"{context}array schema missing items.")
        check_strict(which, schema["items"], (*place, "items"))


def _stream(head: Mapping[str, Any], message: Mapping[str, Any], ending: str, usage: Mapping[str, int]) -> Response:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": part} for part in halves(message["content"] or "")]
    for index, call in enumerate(message.get("tool_calls", [])):
        text = call["function"]["arguments"]
        deltas.append({"tool_calls": [{**call, "index": index, "function": {**call["function"], "arguments": ""}}]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in halves(text)]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": ending})
    chunks = [{**head, "choices": [choice], "usage": None} for choice in choices]
    return events(*chunks, {**head, "choices": [], "usage": usage}, end="data: [DONE]\n\n")
