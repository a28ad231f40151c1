"""Structured output: a question to a chat model, answered by a filled-in schema.

What a role asks is written once, as a generator that yields questions and receives replies; `ask` and `aask` call the
model in sync and async code.
"""

import math
import re
import time
import weakref
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar, cast, get_args

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage, merge_message_runs
from langchain_core.runnables import Runnable, RunnableConfig, RunnableParallel, RunnableSequence
from langchain_core.runnables.config import merge_configs
from langgraph.errors import GraphBubbleUp
from pydantic import BaseModel

from plan_execute.agent.codes import Role
from plan_execute.agent.context import Context
from plan_execute.agent.events import span_facts
from plan_execute.agent.failures import (
    classify_error,
    describe_error,
    http_status,
    lacks_tools,
    retry_after,
    retry_delay,
)
from plan_execute.agent.llm.calls import Call, NoTimeLeftError, Steps, Wait, adrive, drive
from plan_execute.agent.llm.models import is_blocking
from plan_execute.agent.llm.parsing import Reply, json_schema_of, read_reply
from plan_execute.agent.prompts import in_words

T = TypeVar("T")

Limits = Mapping[str, Mapping[str, Any] | None]
"""Further JSON schema keywords for a field by its place, `Class.field`, or `Class.field[]` for its items. A server that
enforces the schema enforces them. None leaves a field out."""

Method = Literal["json_schema", "function_calling", "prompt"]
"""How a schema is asked for: the provider's native JSON schema, a tool to call, or in the prompt with repair."""

METHODS: tuple[Method, ...] = get_args(Method)
"""Ordered by what they guarantee, the most first."""

BOUNDS = frozenset({"minimum", "maximum", "minItems", "maxItems", "maxLength"})
"""Limits that not every provider supports in its schemas."""
LONGEST_TEXT = 4_000
LONGEST_LIST = 20
"""Most characters of a text, and items of a list, where a server may enforce any schema."""

MOST_NAMES = 200
"""Most names that a schema may list; providers limit them."""

FINAL_CALL_SECONDS = 60.0
"""Seconds that the last model call has when the run's budget of seconds is used up."""

_refused: dict[int, set[Method]] = {}
"""Methods refused so far by the id of a model, because models are not hashable."""


@dataclass(frozen=True)
class Question:
    """What a model is asked: messages, and the schema to fill in."""

    model: BaseChatModel
    messages: Sequence[BaseMessage]
    schema: type[BaseModel] | dict[str, Any]
    """A pydantic class, or a JSON schema with a `title`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments for `with_structured_output`."""
    limits: Limits = field(default_factory=dict)
    """What narrows the schema."""
    method: Method | Literal["auto"] = "auto"
    """How the schema is asked for; `auto` is the best that the model's profile promises and its server accepts."""
    seconds: float | None = None
    """Seconds to wait for the whole reply; a client's own timeout starts again with each byte."""
    patience: float = math.inf
    """Seconds from the first question of a dialogue on in which a failed call may be made again."""


Dialogue = Generator[Question | Call, Any, T]
"""Yields questions, each of which receives a `Reply`, and calls, such as loading a model."""


def ask(dialogue: Dialogue[T], config: RunnableConfig | None = None) -> T:
    """Ask the questions of a dialogue in sync code and return what it returns."""
    return drive(_steps(dialogue, config))


async def aask(dialogue: Dialogue[T], config: RunnableConfig | None = None) -> T:
    """Ask the questions of a dialogue in async code and return what it returns."""
    return await adrive(_steps(dialogue, config))


def ask_once(question: Question) -> Steps[Reply]:
    """Ask one question where calls are made already, such as in a middleware hook."""
    return (yield from _ask(question, set(), set(), None))


def question_options(context: Context, spent: float) -> dict[str, Any]:
    """Return the `method`, the `seconds` and the `patience` of a question.

    Args:
        context: The run's settings.
        spent: Seconds that the run has worked so far.
    """
    seconds, patience = context.milestone_timeout, math.inf
    if context.budget.seconds is not None:
        patience = context.budget.seconds - spent
        seconds = min(seconds, max(patience, FINAL_CALL_SECONDS))
    return {"method": context.structured_output, "seconds": seconds, "patience": patience}


def as_reply(dialogue: Dialogue[dict[str, Any]]) -> Dialogue[Reply]:
    """Return the result of a dialogue as a reply; what it raises is the reply's error."""
    try:
        return Reply(data=(yield from dialogue))
    except GraphBubbleUp:
        raise
    except Exception as error:  # noqa: BLE001 - the caller decides what it means
        return Reply(error=error)


def is_worth_repeating(error: Exception) -> bool:
    """Tell whether asking the same again may get a reply after this error."""
    return not isinstance(error, NoTimeLeftError) and classify_error(error) not in {
        "model_unavailable",
        "limit",
        "refusal",
    }


def may_enforce(model: BaseChatModel, method: Method | Literal["auto"]) -> bool:
    """Tell whether a model of which nothing is known may be on a server that enforces any schema.

    Args:
        model: The model.
        method: The method that is set for all questions.
    """
    if method not in {"auto", "json_schema"} or "json_schema" in _refused_by(model):
        return False
    return not model.profile and _has_native(model)


def refuses_form(error: Exception) -> bool:
    """Tell whether a model or its server does not accept a question in this form, whatever it says."""
    code = classify_error(error)
    if isinstance(error, NotImplementedError) or lacks_tools(error):
        return True
    return code not in {"limit", "refusal", "model_unavailable"} and http_status(error) in {400, 422, 501}


def describe_no_reply(role: Role, model: BaseChatModel, error: Exception) -> str:
    """Say why the model of a role did not reply, in a sentence a person can act on."""
    code = classify_error(error)
    if code == "limit":
        return f"The {role}'s prompt is too long for its model: {describe_error(error)}"
    address = _address(model)
    problem = "cannot be reached"
    if code == "refusal":
        problem = "refuses what was said"
    elif refuses_form(error):
        problem = "does not accept the request"
    elif code == "unknown":
        problem = "returned an error"
    return f"The {role} {problem}{f' at {address}' if address else ''}: {describe_error(error)}"


class DialogueNode(Runnable[Any, Any]):
    """A graph node that asks a model, in `invoke` and `ainvoke` alike.

    Its tag excludes the tokens of the replies (JSON, not prose) from the `messages` stream.
    """

    def __init__(self, dialogue: Callable[[Any], Dialogue[Any]], name: str, role: Role) -> None:
        """Take what to ask, given the state, which returns the state update; the node's name; and who asks."""
        self.dialogue = dialogue
        self.name = name
        self.role = role

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - its name
        """Ask in sync code."""
        return ask(self.dialogue(input), self._config(input, config))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """Ask in async code."""
        return await aask(self.dialogue(input), self._config(input, config))

    def _config(self, state: Any, config: RunnableConfig | None) -> RunnableConfig:
        plan = state.get("plan")
        revision = (plan["revision"] if plan else 0) + (self.role == "planner")  # the one that it makes
        facts = span_facts(self.role, state.get("brief"), revision)
        own: RunnableConfig = {"tags": ["nostream", self.role], "metadata": facts, "run_name": self.role}
        return merge_configs(config, own)


def _steps(dialogue: Dialogue[T], config: RunnableConfig | None) -> Steps[T]:
    """Turn a dialogue into calls, with a pause after a transient failure."""
    refused, ignored = set[Method](), set[Method]()
    failures, pause, began, reply = 0, 0.0, time.monotonic(), Reply()
    advance = partial(dialogue.send, None)
    while True:
        try:
            item = advance()
        except StopIteration as end:
            return cast("T", end.value)
        if isinstance(item, Call):
            try:
                advance = partial(dialogue.send, (yield item))
            except Exception as error:  # noqa: BLE001 - the dialogue decides what it means
                advance = partial(dialogue.throw, error)
            continue
        left = min(item.patience - (time.monotonic() - began), item.seconds or math.inf)
        if pause and pause >= left:
            out = NoTimeLeftError(pause, left, describe_error(reply.error) if reply.error else "")
            advance = partial(dialogue.send, Reply(error=out))
            continue
        if pause:
            yield Wait(pause)
        reply = yield from _ask(item, refused, ignored, config)
        advance = partial(dialogue.send, reply)
        if reply.error is None or classify_error(reply.error) != "transient":
            failures, pause = 0, 0.0
        else:
            failures += 1
            pause = retry_delay(retry_after(reply.error), failures)


def _ask(question: Question, refused: set[Method], ignored: set[Method], config: RunnableConfig | None) -> Steps[Reply]:
    """Ask one question; by the next method where the model or its server refuses this one, or ignores it.

    A refusal does not count as a call: the question reached no model.
    """
    reply = Reply()
    methods, known, before = _methods(question), _refused_by(question.model), set(refused)
    for method in [m for m in methods if m not in refused | known] or methods[-1:]:
        try:
            runnable, messages = _runnable(question, method), _messages(question, method)
        except Exception as error:  # noqa: BLE001 - whatever it raises, the model has no such method
            reply = Reply(error=error)
            refused.add(method)
            continue
        result: Any
        try:
            result = yield Call(
                run=partial(runnable.invoke, messages, config),
                arun=None if is_blocking(question.model) else partial(runnable.ainvoke, messages, config),
                seconds=question.seconds,
            )
        except GraphBubbleUp:
            raise
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            result = error
        reply = read_reply(result, question.schema)
        if reply.error is None or not refuses_form(reply.error):
            break
        refused.add(method)
    if reply.error is None:
        # Only now is it certain that the method was refused, not the messages.
        known |= refused - before
    if reply.ignores_form:
        # A schema is enforced or ignored; prose in place of a tool call may be a lapse, the first time.
        if method != methods[-1] and (ignored or method == "json_schema"):
            refused.add(method)
            if not question.model.profile:  # where the profile promises the form, it was a lapse, too
                known.add(method)
        ignored.add(method)
    return reply


def _refused_by(model: BaseChatModel) -> set[Method]:
    """Return the methods that a model or its server has refused so far; forgotten with the model."""
    key = id(model)
    if key not in _refused:
        _refused[key] = set()
        weakref.finalize(model, _refused.pop, key, None)
    return _refused[key]


def _methods(question: Question) -> Sequence[Method]:
    """Return the method that is set; else those from the best that the model may have down to the prompt."""
    if question.method != "auto":
        return [question.method]
    profile = question.model.profile or {}
    methods: Sequence[Method] = METHODS[2:] if profile.get("tool_calling") is False else METHODS[1:]
    # A model of which nothing is known may be one on a server that enforces schemas, but not calls.
    return (
        ["json_schema", *methods]
        if profile.get("structured_output", not profile and _has_native(question.model))
        else methods
    )


def _has_native(model: BaseChatModel) -> bool:
    """Whether a model's class has more ways to a schema than a tool call, which every class inherits."""
    return type(model).with_structured_output is not BaseChatModel.with_structured_output


def _runnable(question: Question, method: Method) -> Runnable[Any, Any]:
    if method == "prompt":
        return question.model
    # Not the class: LangChain's clients would validate by it, and lose a reply that does not match in an exception;
    # and they would build its JSON schema for each question, which takes milliseconds.
    # Servers that enforce any schema, but are strict about none, serve models of which nothing is known.
    bounded = method == "json_schema" and not question.model.profile
    schema, options = _narrowed(question, set() if bounded else BOUNDS), question.options
    if method == "json_schema":
        schema = _bounded(_strict(schema)) if bounded else _strict(schema)
        if any(kind.__name__ == "BaseChatOpenAI" for kind in type(question.model).__mro__):
            options = {"strict": not bounded, **options}  # other clients are strict by themselves, or warn of it
    try:
        runnable = question.model.with_structured_output(schema, include_raw=True, method=method, **options)
        return _model_of(cast("Runnable[Any, Any]", runnable))
    except TypeError:  # a custom model may take fewer arguments
        return question.model.with_structured_output(schema, **options)


def _model_of(runnable: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """Return the model with the schema bound to it, without LangChain's parser: `read_reply` reads more.

    And a trace has one span for a call and not nine; nor does LangChain's pool, in which it would ask the model, wait
    at the exit for a call that hangs.
    """
    if isinstance(runnable, RunnableSequence) and isinstance(runnable.first, RunnableParallel):
        steps = runnable.first.steps__
        if steps.keys() == {"raw"}:
            return steps["raw"]
    return runnable


def _messages(question: Question, method: Method) -> list[BaseMessage]:
    """Return the messages; for the method `prompt` the first one has the schema, too.

    Several of one role in a row become one: the chat templates of some models take no others.
    """
    messages = merge_message_runs(question.messages, chunk_separator="\n\n")
    if method != "prompt":
        return messages
    schema = in_words(_narrowed(question, BOUNDS | {"enum"}))
    if messages and isinstance(messages[0], SystemMessage):
        return [SystemMessage(f"{messages[0].text}\n\n{schema}"), *messages[1:]]
    return [SystemMessage(schema), *messages]


def _narrowed(question: Question, unsupported: Collection[str]) -> dict[str, Any]:
    """Return the schema of a question with its limits, except for keywords that are not supported."""
    schema = json_schema_of(question.schema)
    if not question.limits:
        return schema
    schema = deepcopy(schema)
    classes = {schema["title"]: schema, **schema.get("$defs", {})}
    for place, keywords in question.limits.items():
        title, name = place.removesuffix("[]").split(".")
        owner = classes[title]
        if keywords is None:
            del owner["properties"][name]
            owner["required"] = [field for field in owner["required"] if field != name]
            continue
        form = owner["properties"][name]["items"] if place.endswith("[]") else owner["properties"][name]
        form |= {key: value for key, value in keywords.items() if key not in unsupported}
    return schema


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema as strict providers require it: every field required, no others allowed, no defaults."""
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


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with limits on texts and lists, which weak models write on and on, and without any need for null.

    What the caller asks for in a form of their own stays as it is.
    """
    bounded: dict[str, Any] = {}
    for key, value in schema.items():
        if key in {"properties", "$defs"}:
            bounded[key] = {
                name: form if name == "structured_response" else _bounded(form) for name, form in value.items()
            }
        elif isinstance(value, list):
            bounded[key] = [_bounded(item) if isinstance(item, dict) else item for item in value]
        else:
            bounded[key] = _bounded(value) if isinstance(value, dict) else value
    if "properties" in bounded:
        bounded["required"] = [name for name, form in bounded["properties"].items() if not _is_nullable(form)]
    if schema.get("type") == "string" and "enum" not in schema:
        bounded.setdefault("maxLength", LONGEST_TEXT)
    if schema.get("type") == "array":
        bounded.setdefault("maxItems", LONGEST_LIST)
    return bounded


def _is_nullable(schema: dict[str, Any]) -> bool:
    return any(option.get("type") == "null" for option in schema.get("anyOf", ()))


def _address(model: BaseChatModel) -> str | None:
    """Return the URL of a model's server, without user name and password; None if the model has none."""
    for holder in (getattr(model, "root_client", None), model):
        if url := getattr(holder, "base_url", None):
            return re.sub(r"//[^/@]*@", "//", str(url))
    return None
