"""The reply of a chat model, and how the filled-in schema, or a tool call written as text, is read from it.

Nothing is read from a model's thoughts: what it considered there, it may have discarded.
"""

import ast
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from json_repair import repair_json
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, ToolCall
from pydantic import BaseModel, ValidationError

from plan_execute.agent.failures import CONTEXT_USED_UP, describe_error, ending_of, refusal_in
from plan_execute.agent.truncation import json_safe

REPAIR_LIMIT = 200_000
"""Most characters of JSON that are repaired: the time it takes grows faster than the text."""
CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens", "model_length", CONTEXT_USED_UP})
"""Finish reasons by which providers say that a reply is incomplete."""
WRAPPERS = 2
"""How many objects, one inside another, may wrap the data."""
CALLED = ("name", "tool", "tool_name", "function", "action")
ARGUMENTS = ("arguments", "args", "parameters", "input", "tool_input", "action_input")
"""Keys under which a tool call that is written as text has its tool, and its arguments."""
TEXTUAL = "textual_calls"
"""Where the metadata of a message says that its calls were read from text: only weak models write them so."""
MOST_OBJECTS = 200
"""Most opening braces in a text at which a JSON object is looked for."""

_THOUGHTS = r"think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis"
_THOUGHT = re.compile(
    rf"<({_THOUGHTS})\b[^<>]*>.*?</\1\s*>|\[THINK\].*?\[/THINK\]|◁think▷.*?◁/think▷"
    r"|<\|begin_of_thought\|>.*?<\|end_of_thought\|>",
    re.DOTALL | re.IGNORECASE,
)
"""A thought between its tags, of the open-weights models that write them into the text."""
_THOUGHT_END = re.compile(rf"</(?:{_THOUGHTS})\s*>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>", re.IGNORECASE)
_THOUGHT_START = re.compile(rf"<(?:{_THOUGHTS})\b[^<>]*>|\[THINK\]|◁think▷|<\|begin_of_thought\|>", re.IGNORECASE)
_OBJECT_START = re.compile(r"\{\s*(?:[\"'}]|[\w-]+\s*:|\Z)")
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>", re.IGNORECASE)
"""The start of a part of a reply in OpenAI's harmony format; the part named `final` is what the model says."""
_WRAPPING = re.compile(r"```[\w-]*|</?\|?[A-Za-z_][\w.:|-]*\|?>|\[/?TOOL_CALLS?\]|<\|[^<>|]*\|>")
"""What surrounds a tool call written as text: fences, tags, special tokens."""
_BESIDE_CALLS = re.compile(rf"\A(?:{_WRAPPING.pattern}|[\s,;])+")
_END_OF_CALL = re.compile(rf"(?<=[}}\]])\s*(?:{_WRAPPING.pattern})")
_MADE_UP = re.compile(
    r"<(results?|tool_(?:response|result|output)s?|output|observation|response|status|missing|surprise)>"
    r"(?:.*?</\1>|(?!.*</\1>).*\Z)",
    re.DOTALL | re.IGNORECASE,
)
"""What a model writes for the result of a call that it only begins to make, or for the report after it."""
_TAGGED_CALL = re.compile(r"<function=([\w.-]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_TAGGED_ARGUMENT = re.compile(r"<parameter=([\w.-]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
"""A tool call as Qwen3-Coder and Llama models write it, and one of its arguments."""


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
        return "Be brief." if self.is_truncated else ""

    @property
    def is_truncated(self) -> bool:
        """Whether the provider says that the reply is incomplete."""
        return self.message is not None and ending_of(self.message) in CUT_OFF

    @property
    def refusal(self) -> str | None:
        """Why the model or its provider refused to reply; None if it did not."""
        return refusal_in(self.message) if self.message is not None and self.data is None else None

    @property
    def ignores_form(self) -> bool:
        """Whether a model replied in text, and not in the form asked for: its server does not enforce that form."""
        said = self.message is not None and bool(self.message.text.strip()) and not self.message.tool_calls
        return self.error is None and self.data is None and said and not self.is_truncated and not self.refusal

    @property
    def prose(self) -> str:
        """What the model said in place of data, without its thoughts; empty if that is JSON, or part of something."""
        text = without_thoughts(self.message.text).strip() if self.message is not None and self.ignores_form else ""
        return "" if text.startswith(("{", "[", "```", "<")) or text.casefold() in {"null", "none"} else text

    @property
    def text(self) -> str:
        """The reply as text, to quote it: its text, the arguments of its calls, or a refusal; may be empty."""
        if self.message is None or self.message.text:
            return self.message.text if self.message else ""
        calls = [json.dumps(call["args"], ensure_ascii=False) for call in self.message.tool_calls]
        calls += [call["args"] or "" for call in self.message.invalid_tool_calls]
        return "\n".join(calls) or self.refusal or ""


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
        message, objection = json_safe(output) if isinstance(output, AIMessage) else None, ""
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
    candidates = _candidates(message, form.get("title", ""), fields)
    return next((item for item in candidates if not fields or item.keys() & fields), None)


def without_thoughts(text: str) -> str:
    """Remove what a reasoning model writes into its reply before it says something, in the tags that models use.

    A chat template may open the first thought itself, so that only its end is seen; a thought that is not closed is
    all there is. A text that is JSON as a whole has no thoughts, only words about them.
    """
    if channels := list(_CHANNEL.finditer(text)):
        last = channels[-1]
        return re.split(r"<\|(?:end|return|call)\|>", text[last.end() :])[0] if last[1].lower() == "final" else ""
    if "<" not in text and "[" not in text and "◁" not in text:
        return text
    if text.lstrip().startswith("{") and _is_json(text):
        return text
    said = _THOUGHT.sub("", text)
    if ends := list(_THOUGHT_END.finditer(said)):
        said = said[ends[-1].end() :]
    start = _THOUGHT_START.search(said)
    return said[: start.start()] if start else said


def read_textual_calls(message: AIMessage, tools: Collection[str], report: type[BaseModel]) -> AIMessage:
    """Read the tool calls of a message that consists of nothing else, written as text.

    Models without a tool format of their own write them fenced, in tags, or bare. JSON beside prose is not a call: a
    model may quote what a tool or a document says. What a model writes for the result of its call, in tags or as JSON,
    it has made up.

    Args:
        message: The reply of a model.
        tools: Names of the tools it may call.
        report: The schema of the tool that reports; its arguments alone count as its call. A report beside other calls
            is left out, as it was written before their results.

    Returns:
        The message with its calls in place of the text, or the message itself. Of a truncated message, in which a
        model writes call after call, only the first.
    """
    if message.tool_calls or not message.text.strip():
        return message
    said, truncated = without_thoughts(message.text), ending_of(message) in CUT_OFF
    found = _tagged_calls(said) or _written_calls(_MADE_UP.sub("", said), report, truncated=truncated)
    found = found or _written_calls(said, report, truncated=truncated)
    calls: list[ToolCall] = []
    for name, args in found[:1] if truncated else found:
        known = next((tool for tool in (*tools, report.__name__) if _is_called(name, tool)), None)
        if known is None:
            return message
        calls.append(ToolCall(name=known, args=args, id=f"call_{len(calls)}", type="tool_call"))
    calls = [call for call in calls if call["name"] != report.__name__] or calls[:1]
    if not calls:
        return message
    about = {**message.response_metadata, TEXTUAL: True}
    update = {"content": "", "tool_calls": calls, "invalid_tool_calls": [], "response_metadata": about}
    return message.model_copy(update=update)


def json_schema_of(schema: type[BaseModel] | dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a class, or the schema itself: a copy, because clients write into it."""
    return deepcopy(schema if isinstance(schema, dict) else _json_schema(schema))


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


def _candidates(message: AIMessage, title: str, fields: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield every object in a reply that may be the data: calls, then text from its end; outer before inner ones."""
    cut_off = ending_of(message) in CUT_OFF or refusal_in(message) is not None
    objects: list[Any] = [] if cut_off else [c["args"] for c in message.tool_calls if _is_called(c["name"], title)]
    invalid = [c["args"] or "" for c in message.invalid_tool_calls if _is_called(c["name"], title)]
    for text in [*invalid, without_thoughts(message.text)]:
        # The last one counts, for a model may write a draft first; a small part of the schema is rather an example.
        found = [item for item in reversed(_objects(text, cut_off=cut_off)) if isinstance(item, dict)]
        objects += sorted(found, key=lambda item: 2 * len(item.keys() & fields) <= len(item))
    for _ in range(1 + WRAPPERS):
        outer = [item for item in objects if isinstance(item, dict) and item]
        yield from outer
        objects = [value for item in outer if _is_called(_called_name(item), title) for value in item.values()]


def _objects(text: str, *, cut_off: bool) -> list[Any]:
    """Find the JSON objects in a text, in order; one that is malformed is repaired, one that is cut off is not.

    An object that is cut off at the end hides those before it: it is what the model meant, they are drafts.
    """
    objects: list[Any] = []
    decoder, place, tries = json.JSONDecoder(strict=False), text.find("{"), 0
    while place >= 0 and tries < MOST_OBJECTS:
        tries += 1
        try:
            item, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            if text.startswith("{{", place):
                text = text[:place] + text[place:].replace("{{", "{").replace("}}", "}")
                continue
            if _OBJECT_START.match(text, place):
                return _with_repaired(objects, text[place:], cut_off=cut_off)
            place = text.find("{", place + 1)
            continue
        objects.append(item)
        place = text.find("{", place)
    return objects


def _with_repaired(objects: Sequence[Any], text: str, *, cut_off: bool) -> list[Any]:
    # With an odd number of quotes the text breaks off inside a string, which repair would make look complete.
    if cut_off or text.count('"') % 2 != text.count('\\"') % 2:
        return []
    repaired = _repair(text)
    return [*objects, *(repaired if isinstance(repaired, list) else [repaired])]


def _is_called(name: str | None, title: str) -> bool:
    """Tell whether a call is meant for the schema of this title; one without a name may be."""
    if not name or not title:
        return True
    called, expected = (re.sub(r"[\W_]", "", word).casefold() for word in (name.rpartition(".")[2], title))
    return called == expected


def _called_name(item: dict[str, Any]) -> str | None:
    """Return the tool that an object calls, if it is a tool call written as text."""
    names = (item[key] for key in CALLED if isinstance(item.get(key), str))
    return next(names, None) if item.keys() & set(ARGUMENTS) else None


def _written_calls(text: str, report: type[BaseModel], *, truncated: bool) -> list[tuple[str, dict[str, Any]]]:
    """Read the calls in a text of nothing but calls, as JSON or as Python writes them; none if there is more.

    Descriptions of tools, and other JSON after a call, do not count. Of a truncated text, what is complete counts.
    """
    items = _values_in(text, truncated=truncated)
    if items is None:
        return _python_call(_WRAPPING.sub("\n", text).strip())
    calls = [_call_in(item, report) for item in items if not _is_description(item)]
    return [call for call in calls if call is not None] if calls and calls[0] is not None else []


def _values_in(text: str, *, truncated: bool) -> list[Any] | None:
    """Parse a text of nothing but JSON values, and what surrounds calls; None if there is more.

    One that is malformed is repaired, up to what surrounds it; of a truncated text, what is complete counts.
    """
    decoder, values = json.JSONDecoder(strict=False), list[Any]()
    while text := _BESIDE_CALLS.sub("", text, count=1):
        try:
            value, end = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            found = _END_OF_CALL.search(text)
            end = found.start() if found else len(text)
            part = text[:end].rstrip()
            if part.startswith("{{"):
                value = _values_in(part.replace("{{", "{").replace("}}", "}"), truncated=truncated)
            elif truncated:
                return values or None
            else:
                value = _repair(part) if part.endswith("}") and _OBJECT_START.match(part) else None
            if value is None:
                return None
        values += value if isinstance(value, list) else [value]
        text = text[end:]
    return values


def _is_description(item: Any) -> bool:
    """Whether a JSON value describes a tool: models list those they have before they call one."""
    item = _unwrapped(item)
    given = next((item[key] for key in ARGUMENTS if key in item), None) if isinstance(item, dict) else None
    return isinstance(given, dict) and given.get("type") == "object" and isinstance(given.get("properties"), dict)


def _unwrapped(item: Any) -> Any:
    for wrapper in ("function", "tool_call", "function_call"):
        item = item[wrapper] if isinstance(item, dict) and isinstance(item.get(wrapper), dict) else item
    return item


def _call_in(item: Any, report: type[BaseModel]) -> tuple[str, dict[str, Any]] | None:
    """Read a call from a JSON value: the name of its tool and its arguments; None if it is none."""
    item = _unwrapped(item)
    if not isinstance(item, dict):
        return None
    name = next((item[key] for key in CALLED if isinstance(item.get(key), str)), None)
    given = next((item[key] for key in ARGUMENTS if key in item), None)
    args = _object_in(given) if isinstance(given, str) else {} if given is None else given
    if name is not None and isinstance(args, dict) and (given is not None or len(item) == 1):
        return name, args
    is_report = "status" in item and item.keys() <= report.model_fields.keys()
    return (report.__name__, item) if is_report else None


def _tagged_calls(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Read calls in XML-like tags, if a message has nothing else: `<function=name>`, with arguments in tags or JSON."""
    found = [(name, body, dict(_TAGGED_ARGUMENT.findall(body))) for name, body in _TAGGED_CALL.findall(text)]
    if not found or _WRAPPING.sub("", _TAGGED_CALL.sub("", text)).strip():
        return []
    return [(name, args or _object_in(body) or {}) for name, body, args in found]


def _python_call(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Read a call such as `find(query="x")`."""
    try:
        call = ast.parse(text, mode="eval").body if len(text) < REPAIR_LIMIT and text.endswith(")") else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args:
            return [(call.func.id, {word.arg or "": ast.literal_eval(word.value) for word in call.keywords})]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    return []


def _object_in(text: str) -> dict[str, Any] | None:
    """Parse a JSON object written as text; None if it is none."""
    try:
        parsed = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _is_json(text: str) -> bool:
    return _object_in(text) is not None


def _repair(text: str) -> Any:
    """Repair JSON; None for a text that is too long, or nested too deeply."""
    if len(text) > REPAIR_LIMIT:
        return None
    try:
        return repair_json(text, return_objects=True)
    except RecursionError:
        return None


def _objection(message: AIMessage, schema: type[BaseModel] | dict[str, Any]) -> str:
    """Say what is wrong with a reply in which no data was found."""
    if refusal := refusal_in(message):
        return f"It is a refusal: {refusal}"
    ending = ending_of(message)
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
