"""OpenAI's Responses API: its rules as documented, in front of `langchain-openai` in each output version."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from openai.types.responses import EasyInputMessageParam, ResponseFunctionToolCallParam, ResponseReasoningItemParam
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from openai.types.responses.response_input_param import FunctionCallOutput
from pydantic import SecretStr, TypeAdapter

from tests.wires.openai_rules import check_format, check_function, check_reasoning, error
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

PREFIXES = {"message": "msg", "function_call": "fc", "reasoning": "rs"}
CALL_ID = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_request: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)
_input: Mapping[str, TypeAdapter[Any]] = {
    "message": TypeAdapter(EasyInputMessageParam),
    "function_call": TypeAdapter(ResponseFunctionToolCallParam),
    "function_call_output": TypeAdapter(FunctionCallOutput),
    "reasoning": TypeAdapter(ResponseReasoningItemParam),
}


class OpenAIResponses:
    """The rules of OpenAI's Responses API."""

    name = "OpenAI Responses"

    def __init__(self) -> None:
        self._numbers = count(1)
        self._stored: dict[str, list[dict[str, Any]]] = {}
        """The conversation that each response ended, by its id."""
        self._items: dict[str, dict[str, Any]] = {}
        """What was ever answered, by id."""
        self._thought_before: dict[str, str] = {}
        """The thought that has to stand before an item."""

    def models(self, url: str) -> Mapping[str, Callable[[], BaseChatModel]]:
        """Reasoning models in each output version, with conversations kept by the service or not, and a plain one."""

        def make(model: str, **options: Any) -> Callable[[], BaseChatModel]:
            return lambda: ChatOpenAI(
                model=model,
                base_url=url,
                api_key=SecretStr("key"),
                max_retries=0,
                timeout=60,
                use_responses_api=True,
                **options,
            )

        thinking: Any = {"reasoning": {"effort": "low", "summary": "auto"}}
        versions = {
            version: make("gpt-5", output_version=version, **thinking) for version in ("v0", "responses/v1", "v1")
        }
        stateless = {"store": False, "include": ["reasoning.encrypted_content"], **thinking}
        return {
            "": make("gpt-4.1", temperature=0),
            **versions,
            "stateless": make("gpt-5", **stateless),
            "stateless, v1": make("gpt-5", output_version="v1", **stateless),
            "by previous response": make("gpt-5", use_previous_response_id=True, **thinking),
        }

    def read(self, path: str, body: Mapping[str, Any]) -> Asked:
        """Read a request, or refuse it."""
        assert path == "/responses", path
        if unknown := body.keys() - ResponseCreateParamsNonStreaming.__annotations__.keys() - {"stream"}:
            raise RefusedError(f"Unknown parameter: '{unknown.pop()}'.")
        tools = [{"strict": None, **tool} for tool in body.get("tools", [])]  # the service fills it in
        check_types(_request, {**body, "tools": tools, "input": "", "stream": False})
        if body["model"].startswith("gpt-5"):
            check_reasoning(body)
        elif "reasoning" in body:
            raise RefusedError("Unsupported parameter: 'reasoning.effort' is not supported with this model.")
        for place, tool in enumerate(body.get("tools", [])):
            check_function(f"tools[{place}]", tool)
        if (form := body.get("text", {}).get("format", {})).get("type") == "json_schema":
            check_format("text.format", form)
        self._check_items(body)
        turns = [turn for item in self._conversation(body) for turn in _turns(item)]
        check_pairs(
            list(_merged(turns)),
            unanswered="No tool output found for function call {ids}.",
            unasked="No tool call found for function call output with call_id {ids}.",
        )
        choice = body.get("tool_choice")
        forced = choice["name"] if isinstance(choice, dict) else "json" if form.get("type") == "json_schema" else ""
        return Asked(turns, [tool["name"] for tool in body.get("tools", [])], forced, bool(body.get("stream")), body)

    def _conversation(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        items = [{"type": "message", **item} for item in body["input"]]
        if (previous := body.get("previous_response_id")) is None:
            return items
        if previous not in self._stored:
            raise RefusedError(f"Previous response with id '{previous}' not found.")
        return [*self._stored[previous], *items]

    def _check_items(self, body: Mapping[str, Any]) -> None:
        items, seen = body["input"], set[str]()
        for place, item in enumerate(items):
            kind, key = item.get("type", "message"), item.get("id")
            if kind not in _input:
                raise RefusedError(
                    f"Invalid value: '{kind}'. Supported values are: {', '.join(_input)}. (input[{place}])"
                )
            if item.get("role") == "assistant":
                for part in item["content"]:
                    if part["type"] not in {"output_text", "refusal"}:
                        raise RefusedError(f"Invalid value: '{part['type']}'. Supported values are: 'output_text'.")
            else:
                check_types(_input[kind], item)
            if kind == "message" and not item.get("content"):
                raise RefusedError(f"Invalid 'input[{place}].content': empty array.")
            if not CALL_ID.match(item.get("call_id", "none")):
                raise RefusedError(f"Invalid 'input[{place}].call_id': expected to match '{CALL_ID.pattern}'.")
            if kind == "reasoning" and not _is_followed(items[place + 1 :]):
                raise RefusedError(
                    f"Item '{key}' of type 'reasoning' was provided without its required following item."
                )
            if key is None:
                continue
            if not key.startswith(PREFIXES[kind]):
                raise RefusedError(f"Invalid 'input[{place}].id': '{key}'. Expected an ID that begins with '{kind}'.")
            if key in seen:
                raise RefusedError(f"Duplicate item found with id {key}. Remove duplicate items from your input.")
            seen.add(key)
            self._check_known(item, kind, kept=body.get("store") is not False)
            if (thought := self._thought_before.get(key)) and thought not in seen:
                raise RefusedError(
                    f"Item '{key}' of type '{kind}' was provided without its required 'reasoning' item: '{thought}'."
                )

    def _check_known(self, item: Mapping[str, Any], kind: str, *, kept: bool) -> None:
        key, known = item["id"], self._items.get(item["id"])
        if kind == "reasoning" and "encrypted_content" in item:
            if item["encrypted_content"] != f"encrypted:{key}":
                raise RefusedError(f"The encrypted content for item {key} could not be verified.")
        elif kind == "reasoning" and not kept:
            raise RefusedError(f"Item with id '{key}' not found. Items are not persisted when `store` is set to false.")
        if known is None:
            raise RefusedError(f"Item with id '{key}' not found.", 404)

    def answer(self, asked: Asked, says: Says, number: int) -> Response:
        """Say something, after a thought where the model reasons; items have ids of their own, always new ones."""
        unique, body = next(self._numbers), asked.body
        output: list[dict[str, Any]] = []
        if "reasoning" in body:
            key = f"rs_{unique}"
            summary = [{"type": "summary_text", "text": f"Thought number {unique}."}]
            output.append({"id": key, "type": "reasoning", "summary": summary})
            if "include" in body:
                output[0]["encrypted_content"] = f"encrypted:{key}"
        if says.text:
            content = [{"type": "output_text", "text": says.text, "annotations": []}]
            item = {"type": "message", "role": "assistant", "status": "completed", "content": content}
            output.append({"id": f"msg_{unique}", **item})
        number = unique if "previous_response_id" in body else number
        for place, call in enumerate(says.calls):
            item = {"type": "function_call", "status": "completed", "call_id": f"call_{number:03}{place}"}
            output.append(
                {**item, "id": f"fc_{unique:03}{place}", "name": call.tool, "arguments": arguments(call)},
            )
        response = {
            "id": f"resp_{unique}",
            "object": "response",
            "created_at": 0,
            "model": body["model"],
            "status": "incomplete" if says.ending else "completed",
            "incomplete_details": {"reason": says.ending} if says.ending else None,
            "error": None,
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": 10,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": 5,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 15,
            },
        }
        self._remember(body, response)
        return events(*_stream(response)) if asked.stream else plain(response)

    def _remember(self, body: Mapping[str, Any], response: Mapping[str, Any]) -> None:
        output = response["output"]
        self._stored[response["id"]] = [*self._conversation(body), *output]
        self._items |= {item["id"]: item for item in output}
        if "reasoning" in body and len(output) > 1:
            self._thought_before[output[1]["id"]] = output[0]["id"]

    def error(self, status: int, message: str, **headers: str) -> Response:
        """Make an error."""
        return error(status, message, **headers)


def _is_followed(rest: Sequence[Mapping[str, Any]]) -> bool:
    return bool(rest) and (rest[0].get("role") == "assistant" or rest[0].get("type") in {"function_call", "reasoning"})


def _turns(item: Mapping[str, Any]) -> list[Turn]:
    kind = item["type"]
    if kind == "function_call":
        return [Turn("assistant", calls=[item["call_id"]])]
    if kind == "function_call_output":
        return [Turn("tool", _text(item["output"]), result_of=item["call_id"])]
    if kind == "reasoning":
        return []
    role = {"developer": "system"}.get(item["role"], item["role"])
    return [Turn(role, _text(item["content"]))]


def _merged(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Take calls that stand one after another for those of one turn."""
    calls: list[str] = []
    for turn in turns:
        if turn.calls:
            calls += turn.calls
            continue
        if calls:
            yield Turn("assistant", calls=calls)
            calls = []
        yield turn
    if calls:
        yield Turn("assistant", calls=calls)


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def _stream(response: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    parts: list[tuple[str, dict[str, Any]]] = []
    start = {**response, "status": "in_progress", "output": [], "usage": None}
    parts.append(("response.created", {"response": start}))
    for index, item in enumerate(response["output"]):
        kind, where = item["type"], {"output_index": index, "item_id": item["id"]}
        empty: Any = {"message": {"content": []}, "function_call": {"arguments": ""}, "reasoning": {"summary": []}}[
            kind
        ]
        parts.append(("response.output_item.added", {"output_index": index, "item": {**item, **empty}}))
        if kind == "message":
            part, text = {**where, "content_index": 0}, item["content"][0]["text"]
            parts += [
                ("response.output_text.delta", {**part, "delta": delta, "logprobs": []}) for delta in halves(text)
            ]
            parts.append(("response.output_text.done", {**part, "text": text, "logprobs": []}))
        elif kind == "function_call":
            parts += [
                ("response.function_call_arguments.delta", {**where, "delta": delta})
                for delta in halves(item["arguments"])
            ]
        else:
            part, text = {**where, "summary_index": 0}, item["summary"][0]["text"]
            nothing = {"type": "summary_text", "text": ""}
            parts.append(("response.reasoning_summary_part.added", {**part, "part": nothing}))
            parts += [("response.reasoning_summary_text.delta", {**part, "delta": delta}) for delta in halves(text)]
        parts.append(("response.output_item.done", {"output_index": index, "item": item}))
    parts.append((f"response.{response['status']}", {"response": response}))
    for number, (name, data) in enumerate(parts):
        yield name, {"type": name, "sequence_number": number, **data}
