"""A LangChain chat model on this machine, without a key or a server to start: `local:smollm2`, or any GGUF model.

A GGUF model gets tools, calls and results in the form of its own chat template. Structured output, and the call of the
only tool where one has to be made, are answers constrained to a JSON schema. The bundled model, whose template knows no
tools, is told of them in words.
"""

import itertools
import json
import queue
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Literal

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    convert_to_openai_messages,
    merge_message_runs,
)
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.json_schema import dereference_refs
from pydantic import BaseModel, model_validator

from plan_execute.agent.events import now, stream_writer
from plan_execute.agent.llm.gguf_files import BUNDLED_NAME, find_weights
from plan_execute.agent.small_models.engine import Completion, Engine, engine_for
from plan_execute.agent.small_models.option_scoring import choose_option

ANSWER = "answer"
"""The key under which a model that may also call tools answers in text."""

STRING_LIMIT = 400
ITEMS_LIMIT = 8
"""Bounds of the bundled model for a schema that sets none: it might not find the end of a string or a list."""
MOST_ITEMS = 100
"""The same of lists for other models, which have been seen to count to their limit of tokens."""
BLANK_LINES = "\n" * 5
"""Where a free answer ends: a small model writes blank lines behind it up to its limit of tokens."""
PROGRESS_SECONDS = 1.0
"""How often a call tells how far it is."""


class LocalChatModel(BaseChatModel):
    """A GGUF model run by llama.cpp inside this process.

    The weights are loaded on the first call, once for all instances; an instance holds only their name, so it can be
    pickled and copied. With `temperature=0` the same question gets the same answer.

    Besides what every chat model can do, `with_structured_output` and `bind` take `neutral`: lists of messages that ask
    the same without the content. The single enum of the schema is then decided by comparing, for each option, the
    log-probability of its tokens with that after the neutral messages, which takes out the model's preference for
    certain words (contextual calibration, Zhao et al. 2021). The messages are then one plain text, continued by the
    option.
    """

    model: str = BUNDLED_NAME
    """`smollm2`, the path of a GGUF file, or the owner/repository of one on the Hugging Face hub."""
    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = 4096
    """The most tokens one answer may have; 512 for the bundled model, where nothing is given."""
    context_tokens: int = 16_384
    """The most tokens of a question and its answer; 4096 for the bundled model. More takes more memory."""
    threads: int = 0
    """On how many cores it thinks; 0 to read on all that this process may use and leave one of them while it writes.

    The bundled model thinks on one.
    """

    @model_validator(mode="after")
    def _adapt_to_model(self) -> "LocalChatModel":
        if self.is_bundled:
            self.metadata = {"compact": True, **(self.metadata or {})}
            # More threads were up to ten times slower wherever something else was running.
            for name, value in {"max_tokens": 512, "context_tokens": 4096, "threads": 1}.items():
                if name not in self.model_fields_set:
                    setattr(self, name, value)
        self.profile = self.profile or {
            "structured_output": True,
            "tool_calling": True,
            "max_input_tokens": self.context_tokens,
        }
        return self

    @property
    def is_bundled(self) -> bool:
        """Whether it is the model that comes with this project."""
        return self.model == BUNDLED_NAME

    @property
    def _llm_type(self) -> str:
        return "local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "temperature": self.temperature, "seed": self.seed, "max_tokens": self.max_tokens}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call tools, one at a time.

        Args:
            tools: Tools in any form LangChain knows.
            tool_choice: "auto" or None (a call or an answer in text), "none", "any", "required" or True (some call),
                or a tool's name.
            kwargs: Passed on with each call; options of other providers, such as `strict`, have no effect.

        Returns:
            The model with the tools bound.

        Raises:
            ValueError: `tool_choice` names a tool that is not among the tools.
        """
        specs = [convert_to_openai_tool(tool)["function"] for tool in tools]
        choice = (
            str(tool_choice.get("function", tool_choice).get("name")) if isinstance(tool_choice, dict) else tool_choice
        )
        choice = {None: "auto", False: "auto", True: "any", "required": "any"}.get(choice, choice)
        names = [spec["name"] for spec in specs]
        if choice not in {"auto", "any", "none", *names}:
            raise ValueError(
                f"Unknown tool {choice!r} in tool_choice: expected 'auto', 'any', 'none' or one of {names}."
            )
        offered = specs if choice in {"auto", "any"} else [spec for spec in specs if spec["name"] == choice]
        return self.bind(tools=offered, tool_choice=choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Have the model fill in a schema; the output always fits it unless the token limit cuts it off.

        Args:
            schema: A pydantic class, or anything LangChain can turn into a JSON schema.
            include_raw: Return `{"raw", "parsed", "parsing_error"}` and raise nothing.
            method: Accepted for compatibility; every method is the same constrained answer here.
            strict: Accepted for compatibility.
            kwargs: Passed on with each call, for example `neutral` or `max_tokens`.

        Returns:
            A runnable that gives an instance of a pydantic class, else a dict.
        """
        parser: JsonOutputParser | PydanticOutputParser[Any] = JsonOutputParser()
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            parser = PydanticOutputParser(pydantic_object=schema)
        function = convert_to_openai_tool(schema)["function"]
        asked = self.bind(response_schema=function["parameters"], **kwargs)
        if not include_raw:
            return asked | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=asked) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, *_: Any, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages, stop, kwargs))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if kwargs.get("neutral") is not None or kwargs.get("tools"):
            chunks: Iterator[AIMessageChunk] = iter([_as_chunk(self._answer(messages, stop, kwargs))])
        else:
            chunks = self._stream_text(self._request(messages, stop, kwargs))
        for message in chunks:
            chunk = ChatGenerationChunk(message=message)
            if run_manager is not None:
                run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk

    def _answer(self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> AIMessage:
        engine = self._engine()
        if (neutral := kwargs.get("neutral")) is not None:
            prompt, *without_content = ("\n\n".join(m.text for m in asked) for asked in (messages, *neutral))
            choice = choose_option(engine, prompt, without_content, kwargs["response_schema"])
            facts = self._facts(choice.usage, scores=choice.scores)
            return AIMessage(json.dumps({choice.property: choice.option}), **facts)
        request = self._request(messages, stop, kwargs)
        completion = engine.complete(request, self._tell_progress())
        facts = self._facts(completion)
        calls = kwargs.get("tools") and not kwargs.get("response_schema") and "response_format" in request
        try:
            data = json.loads(completion.text) if calls else None
        except ValueError:
            data = None  # cut off by the token limit
        if data is None:
            return AIMessage(completion.text, **_read_calls(completion), **facts)
        if ANSWER in data:
            return AIMessage(data[ANSWER], **facts)
        call = ToolCall(name=data["name"], args=data["arguments"], id=f"call_{uuid.uuid4().hex[:12]}")
        return AIMessage("", tool_calls=[call], **facts)

    def _stream_text(self, request: dict[str, Any]) -> Iterator[AIMessageChunk]:
        """Yield each piece of text as it comes; a caller that stops iterating ends the call."""
        engine = self._engine()
        pieces: queue.SimpleQueue[str | Completion | Exception] = queue.SimpleQueue()
        abandoned = threading.Event()

        tell = self._tell_progress()

        def take(text: str) -> bool:
            tell(text)
            if text:
                pieces.put(text)
            return abandoned.is_set()

        def run() -> None:
            try:
                pieces.put(engine.complete(request, take))
            except Exception as error:  # noqa: BLE001 - raised again in the thread that iterates
                pieces.put(error)

        threading.Thread(target=run, daemon=True).start()
        try:
            while isinstance(piece := pieces.get(), str):
                yield AIMessageChunk(content=piece)
            if isinstance(piece, Exception):
                raise piece
            yield _as_chunk(AIMessage("", **self._facts(piece)))
        finally:
            abandoned.set()

    def _engine(self) -> Engine:
        return engine_for(find_weights(self.model), self.context_tokens, self.threads)

    def _tell_progress(self) -> Callable[[str], bool]:
        """Make what counts the pieces of an answer and sends an event about it now and then; it ends no call."""
        writer = stream_writer()
        tokens, told = 0, time.monotonic()

        def take(_: str) -> bool:
            nonlocal tokens, told
            tokens += 1
            if writer is not None and time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                writer({"type": "model_progress", "at": now(), "model": self.model, "tokens": tokens})
            return False

        return take

    def _request(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        tools, may_answer = kwargs.get("tools"), kwargs.get("tool_choice") == "auto"
        schema = kwargs.get("response_schema")
        request = {key: kwargs.get(key, getattr(self, key)) for key in ("temperature", "seed", "max_tokens")}
        if self.is_bundled:
            request["messages"] = _as_chat(messages, _describe_tools(tools, may_answer=may_answer) if tools else "")
        else:
            request["messages"] = convert_to_openai_messages(merge_message_runs(messages))
            request |= {"tools": [{"type": "function", "function": tool} for tool in tools]} if tools else {}
        # Between several, a model decides better in the form that it was trained on: constrained, it reports at once.
        if tools and not schema and (self.is_bundled or (len(tools) == 1 and not may_answer)):
            schema = _call_schema(tools, may_answer=may_answer)
        stop = [*(stop or ()), *([] if schema or self.is_bundled else [BLANK_LINES])]
        if stop:
            request["stop"] = stop
        if schema:
            limits = (STRING_LIMIT, ITEMS_LIMIT) if self.is_bundled else (None, MOST_ITEMS)
            request["response_format"] = {"type": "json_schema", "json_schema": {"schema": _bounded(schema, limits)}}
        return request

    def _facts(self, completion: Completion, **metadata: Any) -> dict[str, Any]:
        """The fields of a message besides its content."""
        tokens = {"input_tokens": completion.input_tokens, "output_tokens": completion.output_tokens}
        metadata |= {"model_name": self.model, "model_provider": "local", "finish_reason": completion.finish_reason}
        return {"usage_metadata": {**tokens, "total_tokens": sum(tokens.values())}, "response_metadata": metadata}


def _call_schema(tools: Sequence[dict[str, Any]], *, may_answer: bool) -> dict[str, Any]:
    """A call of one of the tools or, where that is allowed, an answer in text."""
    forms = [_object(name={"const": tool["name"]}, arguments=tool.get("parameters") or _object()) for tool in tools]
    if may_answer:
        forms.append(_object(**{ANSWER: {"type": "string"}}))
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _describe_tools(tools: Sequence[dict[str, Any]], *, may_answer: bool) -> str:
    lines = ["You can use these tools:"]
    for tool in tools:
        arguments = ", ".join((tool.get("parameters") or {}).get("properties", {})) or "none"
        lines.append(f"- {tool['name']} (arguments: {arguments}): {tool.get('description', '')}")
    lines.append('To use one, reply {"name": its name, "arguments": {...}}.')
    if may_answer:
        lines.append(f'When you know the answer, reply {{"{ANSWER}": the answer}}.')
    return "\n".join(lines)


def _read_calls(completion: Completion) -> dict[str, Any]:
    """The fields of a message for its tool calls and its thoughts; what cannot be read as a call is kept as invalid."""
    fields: dict[str, Any] = {"tool_calls": [], "invalid_tool_calls": []}
    for raw in completion.tool_calls.values():
        raw["id"] = raw["id"] or f"call_{uuid.uuid4().hex[:12]}"
        try:
            fields["tool_calls"].append(parse_tool_call(raw, return_id=True))
        except OutputParserException as error:
            fields["invalid_tool_calls"].append(make_invalid_tool_call(raw, str(error)))
    return fields | ({"additional_kwargs": {"reasoning_content": completion.reasoning}} if completion.reasoning else {})


def _bounded(schema: dict[str, Any], limits: tuple[int | None, int]) -> dict[str, Any]:
    """The schema without references, and with a limit to every list and, where there is one, to every string."""
    bounded: dict[str, Any] = _bound(dereference_refs(schema), limits)
    bounded.pop("$defs", None)
    return bounded


def _bound(node: Any, limits: tuple[int | None, int]) -> Any:
    if isinstance(node, list):
        return [_bound(item, limits) for item in node]
    if not isinstance(node, dict):
        return node
    verbatim = {"enum", "const", "required"}
    bounded = {key: value if key in verbatim else _bound(value, limits) for key, value in node.items()}
    if node.get("type") == "string" and not {"enum", "const", "format"} & node.keys():
        if limits[0]:
            bounded.setdefault("maxLength", limits[0])
        if not re.fullmatch(r"\^[^(]*\$", str(node.get("pattern", "^$"))):
            del bounded["pattern"]  # the grammar cannot express it and would complain on stderr
    if node.get("type") == "array":
        bounded.setdefault("maxItems", limits[1])
    return bounded


def _as_chat(messages: Sequence[BaseMessage], tools: str = "") -> list[dict[str, str]]:
    """Messages as any chat template takes them: the system message first, then user and assistant in turn."""
    system = [message.text for message in messages[:1] if isinstance(message, SystemMessage)]
    instructions = [("system", text) for text in (*system, tools) if text]
    turns = itertools.groupby([*instructions, *map(_as_turn, messages[len(system) :])], key=itemgetter(0))
    return [{"role": role, "content": "\n\n".join(text for _, text in turn)} for role, turn in turns]


def _as_turn(message: BaseMessage) -> tuple[str, str]:
    """Role and text of a message, with its tool calls or as a tool's result."""
    if isinstance(message, AIMessage):
        calls = [json.dumps({"name": call["name"], "arguments": call["args"]}) for call in message.tool_calls]
        return "assistant", "\n".join(text for text in (message.text, *calls) if text)
    result = f"Result of {message.name or 'the tool'}: " if isinstance(message, ToolMessage) else ""
    return "user", f"{result}{message.text}"


def _as_chunk(message: AIMessage) -> AIMessageChunk:
    """A whole message as the only or the last chunk of its stream."""
    return AIMessageChunk(**message.model_dump(exclude={"type"}), chunk_position="last")
