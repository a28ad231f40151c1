"""Google's Gemini API: its rules as documented, in front of `langchain-google-genai`."""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_google_genai import ChatGoogleGenerativeAI
from pydantic import SecretStr

from tests.wires.serving import Asked, RefusedError, Response, Says, Turn, as_object, events, halves, plain

KINDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
REQUEST = {
    *("contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig", "cachedContent"),
    *("labels", "model", "store", "serviceTier"),
}
PARTS = {"text", "thought", "thoughtSignature", "functionCall", "functionResponse", "inlineData", "fileData"}
SCHEMA = {
    *("type", "format", "title", "description", "nullable", "enum", "items", "minItems", "maxItems", "properties"),
    *("required", "minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf"),
    *("propertyOrdering", "default", "minimum", "maximum"),
}
"""What the schema of a function may have."""
JSON_SCHEMA = {
    *("$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems"),
    *("minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties"),
    *("required", "propertyOrdering"),
}
"""What the schema of an answer may have."""


class Gemini:
    """The rules of Google's Gemini API."""

    name = "Gemini"

    def models(self, url: str) -> Mapping[str, Callable[[], BaseChatModel]]:
        """Gemini of two generations: the newer one wants its signatures back."""

        def make(model: str, **options: Any) -> Callable[[], BaseChatModel]:
            return lambda: ChatGoogleGenerativeAI(
                model=model, base_url=url, api_key=SecretStr("key"), max_retries=0, timeout=60, **options
            )

        return {
            "2.5": make("gemini-2.5-flash", temperature=0),
            "3, thoughts": make("gemini-3-pro-preview", include_thoughts=True),
            "3, output v1": make("gemini-3-pro-preview", include_thoughts=True, output_version="v1"),
        }

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        """Read a request, or refuse it."""
        model, operation = path.split("?", maxsplit=1)[0].rsplit("/", maxsplit=1)[1].split(":")
        _check_keys("request", body, REQUEST)
        config = body.get("generationConfig", {})
        functions = [f for tool in body.get("tools", []) for f in tool.get("functionDeclarations", [])]
        for place, function in enumerate(functions):
            _check_schema(
                f"tools[0].function_declarations[{place}].parameters", function.get("parameters", {"type": "OBJECT"})
            )
        if schema := config.get("responseJsonSchema"):
            _check_json_schema(schema)
            if functions:
                raise RefusedError("Function calling with a response mime type: 'application/json' is unsupported")
        names = [function["name"] for function in functions]
        choice = body.get("toolConfig", {}).get("functionCallingConfig", {})
        if unknown := set(choice.get("allowedFunctionNames", [])) - set(names):
            raise RefusedError(f"allowed_function_names: {unknown} are not among the declared functions.")
        contents = body["contents"]
        if not contents:
            raise RefusedError("* GenerateContentRequest.contents: contents is not specified")
        turns = [Turn("system", _text(body.get("systemInstruction", {}).get("parts", [])))]
        for place, content in enumerate(contents):
            turns += _turns(place, content, contents[place - 1] if place else {"role": ""})
        if _calls(contents[-1]):
            raise RefusedError("Please ensure that function call turn is followed by a function response turn.")
        if "gemini-3" in model:
            _check_signatures(contents)
        allowed = choice.get("allowedFunctionNames", [])
        form = "json" if schema else allowed[0] if choice.get("mode") == "ANY" and len(allowed) == 1 else ""
        return Asked(turns, names, form, operation == "streamGenerateContent", body)

    def answer(self, asked: Asked, says: Says, number: int) -> Response:
        """Say something, after a thought where thoughts are asked for; the first call is signed."""
        parts: list[dict[str, Any]] = []
        if asked.body.get("generationConfig", {}).get("thinkingConfig", {}).get("includeThoughts"):
            parts.append({"text": f"Thought number {number}.", "thought": True})
        if says.text:
            parts.append({"text": says.text})
        for place, call in enumerate(says.calls):
            made = {"name": call.tool, "args": as_object(call)}
            signature = {} if place else {"thoughtSignature": _signature(made)}
            parts.append({"functionCall": {**made, "id": f"fc{number:03}{place}"}, **signature})
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
        end = {"usageMetadata": usage, "modelVersion": "gemini", "responseId": f"r{number}"}
        ending = says.ending or "STOP"
        if ending.startswith("BLOCKED:"):
            return self._say({"promptFeedback": {"blockReason": ending.removeprefix("BLOCKED:")}, **end}, asked)
        if not asked.stream:
            candidate = {"content": {"role": "model", "parts": parts}, "finishReason": ending, "index": 0}
            return plain({"candidates": [candidate], **end})
        pieces = [{**part, "text": half} for part in parts if "text" in part for half in halves(part["text"])]
        pieces += [part for part in parts if "text" not in part]
        chunks = [{"candidates": [{"content": {"role": "model", "parts": [piece]}, "index": 0}]} for piece in pieces]
        last = {"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": ending, "index": 0}
        return events(*chunks, {"candidates": [last], **end})

    def _say(self, body: Mapping[str, Any], asked: Asked) -> Response:
        return events(body) if asked.stream else plain(body)

    def error(self, status: int, message: str, **headers: str) -> Response:
        """Make an error; it says in its details, not in a header, how long to wait."""
        error: dict[str, Any] = {"code": status, "message": message, "status": KINDS.get(status, "INTERNAL")}
        if wait := headers.pop("retry_after", ""):
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait}s"}]
        return plain({"error": error}, status, **headers)


def _turns(place: int, content: Mapping[str, Any], before: Mapping[str, Any]) -> list[Turn]:
    if content["role"] not in {"user", "model"}:
        raise RefusedError("Please use a valid role: user, model.")
    if not content.get("parts"):
        raise RefusedError(f"* GenerateContentRequest.contents[{place}].parts: contents.parts must not be empty.")
    for number, part in enumerate(content["parts"]):
        _check_keys(f"contents[{place}].parts[{number}]", part, PARTS)
        if not part.keys() & {"text", "functionCall", "functionResponse", "inlineData", "fileData"}:
            raise RefusedError(
                f"* GenerateContentRequest.contents[{place}].parts[{number}].data: required oneof field 'data' must "
                "have one initialized field"
            )
    calls = _calls(content)
    results = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
    if calls and before["role"] != "user":
        raise RefusedError(
            "Please ensure that function call turn comes immediately after a user turn or after a function response "
            "turn."
        )
    if sorted(call["name"] for call in _calls(before)) != sorted(result["name"] for result in results):
        raise RefusedError(
            "Please ensure that the number of function response parts is equal to the number of function call parts "
            "of the function call turn."
        )
    given = [Turn("tool", json.dumps(result["response"]), result_of=result["name"]) for result in results]
    text = _text(content["parts"])
    role: Any = "assistant" if content["role"] == "model" else "user"
    return given + ([Turn(role, text, [call["name"] for call in calls])] if text or calls else [])


def _calls(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [part["functionCall"] for part in content.get("parts", []) if "functionCall" in part]


def _check_signatures(contents: Sequence[Mapping[str, Any]]) -> None:
    """Refuse first calls of the current turn without their own signature.

    The documented way around the check, for calls that the model never made, is refused too: here it made them all.
    """
    current = [
        place
        for place, content in enumerate(contents)
        if content["role"] == "user" and any("text" in part for part in content["parts"])
    ]
    for content in contents[current[-1] if current else 0 :]:
        signed = [part for part in content["parts"] if "functionCall" in part][:1]
        for part in signed:
            call = part["functionCall"]
            if "thoughtSignature" not in part:
                raise RefusedError(
                    f"Function call `{call['name']}` is missing a thought_signature in functionCall parts."
                )
            if part["thoughtSignature"] != _signature(call):
                raise RefusedError("Thought signature is not valid.")


def _signature(call: Mapping[str, Any]) -> str:
    return b64encode(json.dumps([call["name"], call["args"]], sort_keys=True).encode()).decode()


def _check_keys(where: str, value: Mapping[str, Any], known: set[str]) -> None:
    if unknown := value.keys() - known:
        raise RefusedError(
            f"Invalid JSON payload received. Unknown name \"{unknown.pop()}\" at '{where}': Cannot find field."
        )


def _check_schema(where: str, schema: Mapping[str, Any]) -> None:
    _check_keys(where, schema, SCHEMA)
    if "anyOf" in schema and schema.keys() - {"anyOf", "description", "nullable", "title"}:
        raise RefusedError(f"* GenerateContentRequest.{where}: when using any_of, it must be the only field set")
    if schema.get("enum") and schema.get("type", "").upper() != "STRING":
        raise RefusedError(f"* GenerateContentRequest.{where}.enum: only allowed for STRING type")
    if schema.get("type", "").upper() == "ARRAY" and "items" not in schema:
        raise RefusedError(f"* GenerateContentRequest.{where}.items: missing field.")
    if unknown := set(schema.get("required", ())) - schema.get("properties", {}).keys():
        raise RefusedError(f"* GenerateContentRequest.{where}.required: property {unknown} is not defined")
    for name, item in schema.get("properties", {}).items():
        _check_schema(f"{where}.properties[{name}]", item)
    for item in [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())]:
        _check_schema(f"{where}.items", item)


def _check_json_schema(schema: Mapping[str, Any]) -> None:
    _check_keys("generation_config.response_json_schema", schema, JSON_SCHEMA)
    if "$ref" in schema and any(not key.startswith("$") for key in schema):
        raise RefusedError("generation_config.response_json_schema: $ref may only stand beside keys that start with $.")
    for group in ("properties", "$defs"):
        for item in schema.get(group, {}).values():
            _check_json_schema(item)
    items = schema.get("items")
    for item in [*schema.get("anyOf", ()), *([items] if isinstance(items, Mapping) else ())]:
        _check_json_schema(item)


def _text(parts: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
