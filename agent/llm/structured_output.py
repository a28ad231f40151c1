"""One question to a chat model, whose answer is a filled-in schema.

What a role asks is written once, as a generator that yields questions and is sent replies; `ask` and `aask` drive it
with the model's sync or async calls.
"""

import asyncio
import re
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.config import merge_configs
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel

from plan_execute.agent.context import Context
from plan_execute.agent.failures import classify_error, describe_error, http_status, retry_after, retry_delay
from plan_execute.agent.llm.parsing import Reply, json_schema_of, read_reply
from plan_execute.agent.llm.timeout import acall_within, call_within
from plan_execute.agent.prompts import in_words
from plan_execute.agent.state import Role

S = TypeVar("S")
T = TypeVar("T")

Method = Literal["json_schema", "function_calling", "prompt"]
"""How a schema is asked for: the provider's native JSON schema, a tool to call, or in words with repair."""

METHODS: tuple[Method, ...] = get_args(Method)
"""In the order of what a provider guarantees."""

FINAL_CALL_SECONDS = 60.0
"""Seconds that a model has for what it says last, when a run's budget of seconds is used up."""

_refused: dict[int, set[Method]] = {}
"""By the id of a model, since models have no hash."""


@dataclass(frozen=True)
class Question:
    """What is sent: messages, and the schema to fill in."""

    model: BaseChatModel
    messages: Sequence[BaseMessage]
    schema: type[BaseModel] | dict[str, Any]
    """A pydantic class, or a JSON schema with a `title`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments for `with_structured_output`."""
    method: Method | Literal["auto"] = "auto"
    """How the schema is asked for; `auto` is the best that the model's profile promises and its server takes."""
    seconds: float | None = None
    """How long to wait for a reply, bytes that trickle in or not: a client times out only between two of them."""


Dialogue = Generator[Question, Reply, T]


def ask(dialogue: Dialogue[T], config: RunnableConfig | None = None) -> T:
    """Hold a dialogue with sync calls and return what it comes to."""
    steps = _steps(dialogue)
    try:
        step = next(steps)
        while True:
            step = steps.send(_take(step, config))
    except StopIteration as end:
        result: T = end.value
        return result


async def aask(dialogue: Dialogue[T], config: RunnableConfig | None = None) -> T:
    """Hold a dialogue with async calls and return what it comes to."""
    steps = _steps(dialogue)
    step = await advance(steps, None)
    while not isinstance(step, Ended):
        step = await advance(steps, await _atake(step, config))
    return step.value


@dataclass(frozen=True)
class Ended(Generic[T]):
    """What a generator came to."""

    value: T


async def advance(steps: Generator[S, Any, T], sent: Any) -> S | Ended[T]:
    """Take a generator to its next step, or its end, outside the event loop.

    Between its steps it may find a model, which reads files: a provider's package, or weights.
    """

    def send() -> S | Ended[T]:
        try:
            return steps.send(sent)
        except StopIteration as end:
            return Ended(end.value)

    return await asyncio.to_thread(send)


def question_options(context: Context, spent: float) -> dict[str, Any]:
    """How the questions of a run that has worked for so many seconds are put: by which method, with how much time."""
    left = max(context.seconds_left(spent), FINAL_CALL_SECONDS)
    return {"method": context.structured_output, "seconds": min(context.milestone_timeout, left)}


def as_reply(dialogue: Dialogue[dict[str, Any]]) -> Dialogue[Reply]:
    """What a dialogue comes to as one reply; what it raises is the reply's error."""
    try:
        return Reply(data=(yield from dialogue))
    except GraphBubbleUp:
        raise
    except Exception as error:  # noqa: BLE001 - whoever asked decides what it means
        return Reply(error=error)


def is_worth_repeating(error: Exception) -> bool:
    """Whether asking the same again may bring a reply after this error."""
    return not isinstance(error, ContextOverflowError) and classify_error(error) != "model_unavailable"


def describe_no_reply(role: Role, model: BaseChatModel, error: Exception) -> str:
    """Say why the model of a role gave no reply, in a sentence a person can act on."""
    if isinstance(error, ContextOverflowError):
        return f"The {role}'s prompt is too long for its model: {describe_error(error)}"
    address = _address(model)
    happened = "cannot be reached"
    if _is_rejected(error):
        happened = "does not take the request"
    elif classify_error(error) == "unknown":
        happened = "gave an error"
    return f"The {role} {happened}{f' at {address}' if address else ''}: {describe_error(error)}"


def dialogue_node(
    talk: Callable[[Any], Dialogue[T]], name: str, listener: Callable[[Any], BaseCallbackHandler] | None = None
) -> RunnableLambda[Any, T]:
    """Make a graph node of a dialogue about the state; it runs in `invoke` and `ainvoke` alike.

    The tag keeps the tokens of what is asked here (JSON, not prose) out of the `messages` stream; a listener, made for
    the state, hears them.
    """

    def quietly(state: Any, config: RunnableConfig) -> RunnableConfig:
        return merge_configs(config, {"tags": ["nostream"], "callbacks": [listener(state)] if listener else None})

    def run(state: Any, config: RunnableConfig) -> T:
        return ask(talk(state), quietly(state, config))

    async def arun(state: Any, config: RunnableConfig) -> T:
        return await aask(talk(state), quietly(state, config))

    return RunnableLambda(run, arun, name=name)


class _Call(NamedTuple):
    """One call of a model, and the seconds there are for it."""

    runnable: Runnable[Any, Any]
    messages: list[BaseMessage]
    seconds: float | None


class _Wait(NamedTuple):
    """So many seconds before going on."""

    seconds: float


def _steps(dialogue: Dialogue[T]) -> Generator[_Call | _Wait, Any, T]:
    """A dialogue as single calls; what fails for a passing reason is given time before the next question."""
    try:
        question = next(dialogue)
        failures = 0
        refused: set[Method] = set()
        while True:
            reply = yield from _put(question, refused)
            question = dialogue.send(reply)
            passing = reply.error is not None and classify_error(reply.error) == "transient"
            failures = failures + 1 if passing else 0
            if passing and reply.error:
                yield _Wait(retry_delay(retry_after(reply.error), failures))
    except StopIteration as end:
        result: T = end.value
        return result


def _put(question: Question, refused: set[Method]) -> Generator[_Call | _Wait, Any, Reply]:
    """Put one question; by the next method where the model or its server does not take this one, now or before.

    What is refused counts as no call: the question reached no model.
    """
    reply = Reply()
    methods, known, before = _methods(question), _refused_by(question.model), set(refused)
    for method in [m for m in methods if m not in refused | known] or methods[-1:]:
        try:
            call = _Call(_runnable(question, method), _messages(question, method), question.seconds)
        except Exception as error:  # noqa: BLE001 - no model takes every form, and this one was not even asked
            reply = Reply(error=error)
        else:
            reply = read_reply((yield call), question.schema)
            if not _is_rejected(reply.error):
                break
        refused.add(method)
    if reply.error is None:
        # Only now is it certain that the form was refused, not what was said in it.
        known |= refused - before
    return reply


def _refused_by(model: BaseChatModel) -> set[Method]:
    """The methods that a model or its server has refused so far; kept as long as the model is."""
    key = id(model)
    if key not in _refused:
        _refused[key] = set()
        weakref.finalize(model, _refused.pop, key, None)
    return _refused[key]


def _take(step: _Call | _Wait, config: RunnableConfig | None) -> Any:
    """Do a step in sync; what a call raises is its outcome."""
    if isinstance(step, _Wait):
        return time.sleep(step.seconds)
    try:
        if step.seconds is None:
            return step.runnable.invoke(step.messages, config)
        return call_within(step.seconds, lambda: step.runnable.invoke(step.messages, config))
    except GraphBubbleUp:
        raise
    except Exception as error:  # noqa: BLE001 - a provider may raise anything; it is the outcome
        return error


async def _atake(step: _Call | _Wait, config: RunnableConfig | None) -> Any:
    """Do a step in async."""
    if isinstance(step, _Wait):
        return await asyncio.sleep(step.seconds)
    try:
        if step.seconds is None:
            return await step.runnable.ainvoke(step.messages, config)
        return await acall_within(step.seconds, step.runnable.ainvoke(step.messages, config))
    except GraphBubbleUp:
        raise
    except Exception as error:  # noqa: BLE001 - see `_take`
        return error


def _methods(question: Question) -> Sequence[Method]:
    """The method that is set; else from the best that the profile promises down to plain words."""
    if question.method != "auto":
        return [question.method]
    profile = question.model.profile or {}
    if profile.get("structured_output"):
        return METHODS
    return METHODS[2:] if profile.get("tool_calling") is False else METHODS[1:]


def _is_rejected(error: Exception | None) -> bool:
    """Whether a model or its server does not take a question in this form."""
    if error is None or isinstance(error, ContextOverflowError):
        return False
    return isinstance(error, NotImplementedError) or http_status(error) in {400, 422, 501}


def _runnable(question: Question, method: Method) -> Runnable[Any, Any]:
    if method == "prompt":
        return question.model
    schema, options = question.schema, dict(question.options)
    if method == "json_schema":
        # Not the class: by a class OpenAI's client validates, and a reply that does not fit is lost in its exception.
        schema, options = _strict(json_schema_of(schema)), {"strict": True, **options}
    try:
        return question.model.with_structured_output(schema, include_raw=True, method=method, **options)
    except TypeError:  # a model of somebody's own may take fewer words
        return question.model.with_structured_output(schema, **options)


def _messages(question: Question, method: Method) -> list[BaseMessage]:
    """The messages; for a model that only has words, the first one also says which form the answer takes."""
    messages = list(question.messages)
    if method != "prompt":
        return messages
    asked = in_words(json_schema_of(question.schema))
    if messages and isinstance(messages[0], SystemMessage):
        return [SystemMessage(f"{messages[0].text}\n\n{asked}"), *messages[1:]]
    return [SystemMessage(asked), *messages]


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as strict providers want it: every field required, no others allowed, no defaults."""
    strict: dict[str, Any] = {}
    for key, value in schema.items():
        if key in {"properties", "$defs"}:
            strict[key] = {name: _strict(field) for name, field in value.items()}
        elif isinstance(value, list):
            strict[key] = [_strict(item) if isinstance(item, dict) else item for item in value]
        elif key != "default":
            strict[key] = _strict(value) if isinstance(value, dict) else value
    if "properties" in strict:
        strict |= {"required": list(strict["properties"]), "additionalProperties": False}
    return strict


def _address(model: BaseChatModel) -> str | None:
    """Where a model's server is, without what a URL may hold of a user's name and password."""
    for holder in (getattr(model, "root_client", None), model):
        if url := getattr(holder, "base_url", None):
            return re.sub(r"//[^/@]*@", "//", str(url))
    return None
