"""One question to a chat model, whose answer is a filled-in schema.

What a role asks is written once, as a generator that yields questions and is sent replies; `ask` and `aask` drive it
with the model's sync or async calls.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from json_repair import repair_json
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """What is sent: messages, and the schema to fill in."""

    model: BaseChatModel
    messages: Sequence[BaseMessage]
    schema: type[BaseModel] | dict[str, Any]
    """A pydantic class, or a JSON schema with a `title`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments for `with_structured_output`."""


@dataclass(frozen=True)
class Reply:
    """What came back; at most one of `data` and `error` is there."""

    data: dict[str, Any] | None = None
    """The filled-in schema before validation; None when the reply held none."""
    message: AIMessage | None = None
    """The raw reply, with its usage; None when the model gave only the data or nothing."""
    error: Exception | None = None
    """What the model's call raised."""


Dialogue = Generator[Question, Reply, T]


def ask(dialogue: Dialogue[T], config: RunnableConfig | None = None) -> T:
    """Hold a dialogue with sync calls and return what it comes to."""
    try:
        question = next(dialogue)
        while True:
            try:
                reply = _read(_runnable(question).invoke(list(question.messages), config))
            except GraphBubbleUp:
                raise
            except Exception as error:
                reply = Reply(error=error)
            question = dialogue.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result


async def aask(dialogue: Dialogue[T], config: RunnableConfig | None = None) -> T:
    """Hold a dialogue with async calls and return what it comes to."""
    try:
        question = next(dialogue)
        while True:
            try:
                reply = _read(await _runnable(question).ainvoke(list(question.messages), config))
            except GraphBubbleUp:
                raise
            except Exception as error:
                reply = Reply(error=error)
            question = dialogue.send(reply)
    except StopIteration as end:
        result: T = end.value
        return result


def read_data(message: AIMessage) -> dict[str, Any] | None:
    """Find the filled-in schema in a raw reply: a tool call's arguments, else JSON in the text, repaired if need be."""
    if message.tool_calls:
        return dict(message.tool_calls[0]["args"])
    texts = [call["args"] or "" for call in message.invalid_tool_calls] + [message.text]
    for text in texts:
        if "{" in text:
            found = repair_json(text[text.index("{") :], return_objects=True)
            if isinstance(found, dict) and found:
                return found
    return None


def _runnable(question: Question) -> Runnable[Any, Any]:
    options = dict(question.options)
    profile = question.model.profile or {}
    options.setdefault("method", "json_schema" if profile.get("structured_output") else "function_calling")
    return question.model.with_structured_output(question.schema, include_raw=True, **options)


def _read(output: Any) -> Reply:
    """Accept `{"raw", "parsed"}`, which is what was asked for, and the bare data, which some models give instead."""
    if isinstance(output, dict) and "raw" in output and "parsed" in output:
        message = output["raw"]
        data = _plain(output["parsed"])
        if data is None and isinstance(message, AIMessage):
            data = read_data(message)
        return Reply(data=data, message=message if isinstance(message, AIMessage) else None)
    return Reply(data=_plain(output))


def _plain(value: Any) -> dict[str, Any] | None:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value if isinstance(value, dict) else None


def as_node(talk: Callable[[Any], Dialogue[T]], name: str) -> RunnableLambda[Any, T]:
    """Make a graph node of a dialogue about the state; it runs in `invoke` and `ainvoke` alike.

    The tag keeps the tokens of what is asked here (JSON, not prose) out of the `messages` stream.
    """

    def run(state: Any, config: RunnableConfig) -> T:
        return ask(talk(state), _hidden(config))

    async def arun(state: Any, config: RunnableConfig) -> T:
        return await aask(talk(state), _hidden(config))

    return RunnableLambda(run, arun, name=name)


def _hidden(config: RunnableConfig) -> RunnableConfig:
    return {**config, "tags": [*(config.get("tags") or []), "nostream"]}
