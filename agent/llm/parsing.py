"""One reply of a chat model, and how a filled-in schema is read off it."""

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
"""Most characters that are repaired: the time it takes grows faster than the text."""
CUT_OFF = frozenset({"length", "max_tokens", "model_length", "content_filter"})
"""How providers say that a reply is not whole."""
WRAPPERS = 2
"""How many objects, one in another, may stand around the data."""
CALLED = ("name", "tool", "tool_name", "action")
ARGUMENTS = frozenset({"arguments", "args", "parameters", "input", "tool_input", "action_input"})
"""Under which keys a call that is written out in words has its tool, and its arguments."""


@dataclass(frozen=True)
class Reply:
    """What came back; at most one of `data` and `error` is there."""

    data: dict[str, Any] | None = None
    """The filled-in schema before validation; None when the reply held none."""
    message: AIMessage | None = None
    """The raw reply, with its usage; None when the model gave only the data or nothing."""
    error: Exception | None = None
    """What the model's call raised."""
    objection: str = ""
    """What is wrong with a reply that came but holds no data, in a sentence."""

    @property
    def advice(self) -> str:
        """What the model can do about the objection, where that is not plain from it."""
        return "Be brief." if self.message is not None and _ending(self.message) in CUT_OFF else ""

    @property
    def text(self) -> str:
        """What the model said, for quoting it: text, arguments of a call, or a refusal; empty when it said nothing."""
        if self.message is None or self.message.text:
            return self.message.text if self.message else ""
        calls = [json.dumps(call["args"], ensure_ascii=False) for call in self.message.tool_calls]
        calls += [call["args"] or "" for call in self.message.invalid_tool_calls]
        return "\n".join(calls) or str(self.message.additional_kwargs.get("refusal") or "")


def read_reply(output: Any, schema: type[BaseModel] | dict[str, Any]) -> Reply:
    """Make a reply of what a call gave: `{"raw", "parsed"}`, a message, the bare data, or an exception."""
    parsed = None
    if isinstance(output, Mapping) and "raw" in output and "parsed" in output:
        output, parsed = output["raw"], _plain(output["parsed"])
    if isinstance(output, Exception):
        message = _thrown_away(output)
        if message is None and not isinstance(output, ValidationError | OutputParserException):
            return Reply(error=output)
        objection = f"It cannot be read: {describe_error(output)}"
    else:
        message, objection = output if isinstance(output, AIMessage) else None, ""
    if message is None:
        plain = parsed or _plain(output)
        return Reply(data=plain, objection=objection or ("" if plain else "It is empty."))
    data = read_data(message, schema)
    if data is None and not message.text and not message.tool_calls:
        # A parser of somebody's own found it elsewhere; of text, LangChain's takes the part of a cut-off reply for all.
        data = parsed
    return Reply(data=data, message=message, objection="" if data is not None else _objection(message, schema))


def read_data(message: AIMessage, schema: type[BaseModel] | dict[str, Any]) -> dict[str, Any] | None:
    """Find the filled-in schema in a raw reply: in a tool call's arguments, else in the text, repaired if need be.

    What has no field of the schema, or is the call of another tool, is something else. Of a reply that was cut off only
    what is whole counts: repair would pass a part off as everything.
    """
    form = json_schema_of(schema)
    fields = form.get("properties", {}).keys()
    found = _candidates(message, form.get("title", ""))
    return next((item for item in found if not fields or item.keys() & fields), None)


def json_schema_of(schema: type[BaseModel] | dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a class, not to be changed, or the schema itself."""
    return schema if isinstance(schema, dict) else _json_schema(schema)


@lru_cache(maxsize=64)
def _json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    return schema.model_json_schema()


def _thrown_away(error: Exception) -> AIMessage | None:
    """The reply that OpenAI's client keeps in the exception it raises for one that was cut off."""
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
    """Every object in a reply that may be the data, those inside another one after it."""
    cut_off = _ending(message) in CUT_OFF
    found: list[Any] = [] if cut_off else [c["args"] for c in message.tool_calls if _is_called(c["name"], title)]
    broken = [c["args"] or "" for c in message.invalid_tool_calls if _is_called(c["name"], title)]
    said = re.sub(r"<think>.*?</think>", "", message.text, flags=re.DOTALL)
    for text in [*broken, said]:
        found.append(_first_whole(text))
        # An odd number of quotes means that it breaks off inside a text, which repair would pass off as whole.
        if "{" in text and not cut_off and text.count('"') % 2 == text.count('\\"') % 2:
            repaired = _repaired(text[text.index("{") :])
            found += repaired if isinstance(repaired, list) else [repaired]
    # A schema in a wrapper, and that in another one; or a call in words.
    for _ in range(1 + WRAPPERS):
        outer = [item for item in found if isinstance(item, dict) and item]
        yield from outer
        found = [value for item in outer if _is_called(_name(item), title) for value in item.values()]


def _is_called(name: str | None, title: str) -> bool:
    """Whether a call is meant for the schema of this title; what bears no name may be."""
    if not name or not title:
        return True
    said, meant = (re.sub(r"[\W_]", "", word).casefold() for word in (name.rpartition(".")[2], title))
    return said == meant


def _name(item: dict[str, Any]) -> str | None:
    """The tool an object calls, if it is a call in words."""
    names = (item[key] for key in CALLED if isinstance(item.get(key), str))
    return next(names, None) if ARGUMENTS & item.keys() else None


def _first_whole(text: str) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text[text.index("{") :])[0]
    except (ValueError, RecursionError):
        return None


def _repaired(text: str) -> Any:
    """What repair makes of a text; nothing of one too long or nested too deeply to be an honest mistake."""
    if len(text) > REPAIR_LIMIT:
        return None
    try:
        return repair_json(text, return_objects=True)
    except RecursionError:
        return None


def _ending(message: AIMessage) -> str:
    """Why the model stopped, in its provider's word, small letters."""
    metadata = message.response_metadata
    return str(
        next((metadata[key] for key in ("finish_reason", "stop_reason", "done_reason") if key in metadata), "")
    ).lower()


def _objection(message: AIMessage, schema: type[BaseModel] | dict[str, Any]) -> str:
    """What is wrong with a reply in which no data was found."""
    if refusal := message.additional_kwargs.get("refusal"):
        return f"It is a refusal: {refusal}"
    ending = _ending(message)
    if ending in CUT_OFF:
        return f"It was cut off ({ending})."
    title = json_schema_of(schema).get("title", "")
    if not message.tool_calls:
        return f"It holds no complete JSON object of the schema {title!r}."
    name = message.tool_calls[0]["name"]
    if _is_called(name, title):
        return f"It calls {name!r} with nothing that belongs into that schema."
    return f"It calls {name!r} instead of filling in the schema {title!r}."


def _plain(value: Any) -> dict[str, Any] | None:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value if isinstance(value, dict) else None
