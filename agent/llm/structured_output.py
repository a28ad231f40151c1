"""One question to a chat model, whose answer is a filled-in schema.

What a role asks is written once, as a generator that yields questions and receives replies; `ask` and `aask` put them
to the model in sync and async code.
"""

import re
import weakref
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar, cast, get_args

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel

from plan_execute.agent.context import Context
from plan_execute.agent.failures import classify_error, describe_error, http_status, retry_after, retry_delay
from plan_execute.agent.llm.calls import Call, Steps, Wait, adrive, drive
from plan_execute.agent.llm.parsing import Reply, json_schema_of, read_reply
from plan_execute.agent.prompts import in_words
from plan_execute.agent.state import Role

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


Dialogue = Generator[Question | Call, Any, T]
"""Yields questions, each of which is answered by a `Reply`, and calls, such as loading a model."""


def ask(dialogue: Dialogue[T], config: RunnableConfig | None = None) -> T:
    """Put the questions of a dialogue in sync code and return what it returns."""
    return drive(_steps(dialogue, config))


async def aask(dialogue: Dialogue[T], config: RunnableConfig | None = None) -> T:
    """Put the questions of a dialogue in async code and return what it returns."""
    return await adrive(_steps(dialogue, config))


def question_options(context: Context, spent: float) -> dict[str, Any]:
    """How the questions of a run that has worked for so many seconds are put: by which method, with how much time."""
    seconds = context.milestone_timeout
    if context.budget.seconds is not None:
        seconds = min(seconds, max(context.budget.seconds - spent, FINAL_CALL_SECONDS))
    return {"method": context.structured_output, "seconds": seconds}


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


class DialogueNode(Runnable[Any, Any]):
    """A graph node that asks a model; it runs in `invoke` and `ainvoke` alike.

    The tag keeps the tokens of what is asked here (JSON, not prose) out of the `messages` stream; a listener, made for
    the state, hears them.
    """

    def __init__(
        self,
        dialogue: Callable[[Any], Dialogue[Any]],
        name: str,
        listener: Callable[[Any], BaseCallbackHandler] | None = None,
    ) -> None:
        """Take what to ask, given the state."""
        self.dialogue = dialogue
        self.name = name
        self.listener = listener

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - its name
        """Ask in sync code."""
        return ask(self.dialogue(input), self._quietly(input, config))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Ask in async code."""
        return await aask(self.dialogue(input), self._quietly(input, config))

    def _quietly(self, state: Any, config: RunnableConfig | None) -> RunnableConfig:
        callbacks = [self.listener(state)] if self.listener else None
        return merge_configs(config, {"tags": ["nostream"], "callbacks": callbacks})


def _steps(dialogue: Dialogue[T], config: RunnableConfig | None) -> Steps[T]:
    """A dialogue as single calls; what fails for a passing reason is given time before the next question."""
    refused: set[Method] = set()
    failures = 0
    answer: Any = None
    while True:
        try:
            item = dialogue.send(answer)
        except StopIteration as end:
            return cast("T", end.value)
        if isinstance(item, Call):
            answer = yield item
            continue
        answer = reply = yield from _put(item, refused, config)
        if reply.error is None or classify_error(reply.error) != "transient":
            failures = 0
        else:
            failures += 1
            yield Wait(retry_delay(retry_after(reply.error), failures))


def _put(question: Question, refused: set[Method], config: RunnableConfig | None) -> Steps[Reply]:
    """Put one question; by the next method where the model or its server does not take this one, now or before.

    What is refused counts as no call: the question reached no model.
    """
    reply = Reply()
    methods, known, before = _methods(question), _refused_by(question.model), set(refused)
    for method in [m for m in methods if m not in refused | known] or methods[-1:]:
        result: Any
        try:
            messages, runnable = _messages(question, method), _runnable(question, method)
        except Exception as error:  # noqa: BLE001 - whatever it raises, the model has no such method
            reply = Reply(error=error)
        else:
            try:
                result = yield Call(
                    run=partial(runnable.invoke, messages, config),
                    arun=partial(runnable.ainvoke, messages, config),
                    seconds=question.seconds,
                )
            except GraphBubbleUp:
                raise
            except Exception as error:  # noqa: BLE001 - a provider may raise anything
                result = error
            reply = read_reply(result, question.schema)
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
    # Not the class: by a class LangChain's clients validate, and a reply that does not fit is lost in an exception;
    # and its JSON schema would be built anew for each question, which takes milliseconds.
    schema, options = json_schema_of(question.schema), question.options
    if method == "json_schema":
        schema, options = _strict(schema), {"strict": True, **options}
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
