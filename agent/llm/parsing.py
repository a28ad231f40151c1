"""The reply of a chat model, and how the filled-in schema is parsed from it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from json_repair import repair_json
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ValidationError

from plan_execute.agent.failures import describe_error

REPAIR_LIMIT = 200_000
"""Most characters of JSON that are repaired: the time it takes grows faster than the text."""
CUT_OFF = frozenset({"length", "max_tokens", "model_length", "content_filter"})
"""Finish reasons by which providers say that a reply is incomplete."""
WRAPPERS = 2
"""How many objects, one inside another, may wrap the data."""
CALLED = ("name", "tool", "tool_name", "action")
ARGUMENTS = frozenset({"arguments", "args", "parameters", "input", "tool_input", "action_input"})
"""Keys under which a tool call that is written as text has its tool, and its arguments."""


@dataclass(frozen=True)
class Reply:
    """What a model call came back with; at most one of `data` and `error` is set."""

    data: dict[str, Any] | None = None
    """The filled-in schema before validation; None when the reply has none."""
    message: AIMessage | None = None
    """The raw reply, with its usage; None when the model returned only the data, or nothing."""
    error: Exception | None = None
    """What the model call raised."""
    objection: str = ""
    """What is wrong with a reply without data, in a sentence."""

    @property
    def advice(self) -> str:
        """What the model should do about the objection, where the objection does not say so."""
        return "Be brief." if self.message is not None and _ending(self.message) in CUT_OFF else ""

    @property
    def text(self) -> str:
        """The reply as text, to quote it: its text, the arguments of its calls, or a refusal; may be empty."""
        if self.message is None or self.message.text:
            return self.message.text if self.message else ""
        calls = [json.dumps(call["args"], ensure_ascii=False) for call in self.message.tool_calls]
        calls += [call["args"] or "" for call in self.message.invalid_tool_calls]
        return "\n".join(calls) or str(self.message.additional_kwargs.get("refusal") or "")


def read_reply(output: Any, schema: type[BaseModel] | dict[str, Any]) -> Reply:
    """Make a reply of what a model call returned or raised.

    Args:
        output: `{"raw", "parsed"}`, a message, the bare data, or an exception.
        schema: The schema to fill in.
    """
    parsed = None
    if isinstance(output, Mapping) and "raw" in output and "parsed" in output:
        output, parsed = output["raw"], _plain(output["parsed"])
    if isinstance(output, Exception):
        message = _discarded_reply(output)
        if message is None and not isinstance(output, ValidationError | OutputParserException):
            return Reply(error=output)
        objection = f"It cannot be parsed: {describe_error(output)}"
    else:
        message, objection = output if isinstance(output, AIMessage) else None, ""
    if message is None:
        plain = parsed or _plain(output)
        return Reply(data=plain, objection=objection or ("" if plain else "It is empty."))
    data = read_data(message, schema)
    if data is None and not message.text and not message.tool_calls:
        # A custom parser found it elsewhere; in text, LangChain's parser would accept part of a truncated reply.
        data = parsed
    return Reply(data=data, message=message, objection="" if data is not None else _objection(message, schema))


def read_data(message: AIMessage, schema: type[BaseModel] | dict[str, Any]) -> dict[str, Any] | None:
    """Find the filled-in schema in a raw reply: in the arguments of a tool call, else in the text, repaired if needed.

    An object without any field of the schema, or the call of another tool, is not the data. Truncated replies are not
    repaired: that would make a part look like the whole.
    """
    form = json_schema_of(schema)
    fields = form.get("properties", {}).keys()
    candidates = _candidates(message, form.get("title", ""))
    return next((item for item in candidates if not fields or item.keys() & fields), None)


def json_schema_of(schema: type[BaseModel] | dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a class, cached and not to be changed, or the schema itself."""
    return schema if isinstance(schema, dict) else _json_schema(schema)


@lru_cache(maxsize=64)
def _json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    return schema.model_json_schema()


def _discarded_reply(error: Exception) -> AIMessage | None:
    """Restore the reply from the exception that OpenAI's client raises for a truncated one."""
    completion: Any = getattr(error, "completion", None)
    if not getattr(completion, "choices", None):
        return None
    choice, used = completion.choices[0], completion.usage
    tokens = (used.prompt_tokens, used.completion_tokens) if used else (0, 0)
    return AIMessage(
        choice.message.content or "",
        response_metadata={"finish_reason": choice.finish_reason, "model_name": completion.model},
        usage_metadata={"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)},
    )


def _candidates(message: AIMessage, title: str) -> Iterator[dict[str, Any]]:
    """Yield every object in a reply that may be the data, an outer one before those inside it."""
    cut_off = _ending(message) in CUT_OFF
    objects: list[Any] = [] if cut_off else [c["args"] for c in message.tool_calls if _is_called(c["name"], title)]
    invalid = [c["args"] or "" for c in message.invalid_tool_calls if _is_called(c["name"], title)]
    prose = re.sub(r"<think>.*?</think>", "", message.text, flags=re.DOTALL)
    for text in [*invalid, prose]:
        objects.append(_first_object(text))
        # With an odd number of quotes the text breaks off inside a string, which repair would make look complete.
        if "{" in text and not cut_off and text.count('"') % 2 == text.count('\\"') % 2:
            repaired = _repair(text[text.index("{") :])
            objects += repaired if isinstance(repaired, list) else [repaired]
    for _ in range(1 + WRAPPERS):
        outer = [item for item in objects if isinstance(item, dict) and item]
        yield from outer
        objects = [value for item in outer if _is_called(_called_name(item), title) for value in item.values()]


def _is_called(name: str | None, title: str) -> bool:
    """Tell whether a call is meant for the schema of this title; one without a name may be."""
    if not name or not title:
        return True
    called, expected = (re.sub(r"[\W_]", "", word).casefold() for word in (name.rpartition(".")[2], title))
    return called == expected


def _called_name(item: dict[str, Any]) -> str | None:
    """Return the tool that an object calls, if it is a tool call written as text."""
    names = (item[key] for key in CALLED if isinstance(item.get(key), str))
    return next(names, None) if ARGUMENTS & item.keys() else None


def _first_object(text: str) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text[text.index("{") :])[0]
    except (ValueError, RecursionError):
        return None


def _repair(text: str) -> Any:
    """Repair JSON; None for a text that is too long, or nested too deeply."""
    if len(text) > REPAIR_LIMIT:
        return None
    try:
        return repair_json(text, return_objects=True)
    except RecursionError:
        return None


def _ending(message: AIMessage) -> str:
    """Return the finish reason of the provider, in lower case; empty if it gives none."""
    metadata = message.response_metadata
    return str(
        next((metadata[key] for key in ("finish_reason", "stop_reason", "done_reason") if key in metadata), "")
    ).lower()


def _objection(message: AIMessage, schema: type[BaseModel] | dict[str, Any]) -> str:
    """Say what is wrong with a reply in which no data was found."""
    if refusal := message.additional_kwargs.get("refusal"):
        return f"It is a refusal: {refusal}"
    ending = _ending(message)
    if ending in CUT_OFF:
        return f"It was truncated ({ending})."
    title = json_schema_of(schema).get("title", "")
    if not message.tool_calls:
        return f"It has no complete JSON object of the schema {title!r}."
    name = message.tool_calls[0]["name"]
    if _is_called(name, title):
        return f"It calls {name!r} with no field of that schema."
    return f"It calls {name!r} instead of filling in the schema {title!r}."


def _plain(value: Any) -> dict[str, Any] | None:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value if isinstance(value, dict) else None
