"""A chat model on this machine, without a key and without a server to start: `local:smollm2` or `local:<path>.gguf`.

Tool calls and structured output are asked for as answers constrained to a JSON schema, so that any GGUF model can give
them, however small.
"""

import json
import queue
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Literal

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.json_schema import dereference_refs
from pydantic import BaseModel, Field, model_validator

from plan_execute.agent.small_models.engine import (
    CONTEXT_TOKENS,
    EMBEDDED_NAME,
    Completion,
    engine_for,
    find_weights,
)
from plan_execute.agent.small_models.option_scoring import choose_option

ANSWER = "answer"
"""The key under which a model that may also use tools answers in words."""

STRING_LIMIT = 400
ITEMS_LIMIT = 8
"""What a schema that sets no bounds gets: a small model otherwise does not find the end of a string or a list."""


class LocalChatModel(BaseChatModel):
    """A GGUF model run by llama.cpp inside this process.

    The weights are loaded on the first call, once for all instances; an instance holds only their name, so it pickles
    and copies. With `temperature=0` the same question gets the same answer.

    Besides what every chat model can do, `with_structured_output` and `bind` take `neutral`: lists of messages that ask
    the same without the content. The single enum of the schema is then decided by comparing, for each option, the
    log-probability of its tokens with that after the neutral messages, which takes out the model's taste for certain
    words (contextual calibration, Zhao et al. 2021). The messages are then one plain text that the option continues.
    """

    model: str = EMBEDDED_NAME
    """`smollm2` or the path of a GGUF file."""
    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = 512
    """The most tokens one answer may have."""
    profile: Any = Field(
        default_factory=lambda: {
            "structured_output": True,
            "tool_calling": True,
            "max_input_tokens": CONTEXT_TOKENS,
        }
    )

    @model_validator(mode="after")
    def _ask_for_compact_forms(self) -> "LocalChatModel":
        if self.model == EMBEDDED_NAME:
            self.metadata = {"compact": True, **(self.metadata or {})}
        return self

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
            tool_choice: "auto" or None (a call or an answer in words), "none", "any", "required" or True (some call),
                or a tool's name.
            kwargs: Passed on with each call; options of other providers, such as `strict`, are without effect.

        Raises:
            ValueError: `tool_choice` names a tool that is not among the tools.
        """
        specs = [convert_to_openai_tool(tool)["function"] for tool in tools]
        return self.bind(tools=specs, tool_choice=_read_tool_choice(tool_choice, specs), **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Have the model fill in a schema; what comes out always has its form unless the token limit cuts it off.

        Args:
            schema: A pydantic class, or anything LangChain can turn into a JSON schema.
            include_raw: Return `{"raw", "parsed", "parsing_error"}` and raise nothing.
            method: Accepted for the sake of callers; every method is the same constrained answer here.
            strict: Accepted likewise.
            kwargs: Passed on with each call, for example `neutral` or `max_tokens`.
        """
        del method, strict
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
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del run_manager
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages, stop, kwargs))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if kwargs.get("neutral") is not None or _offered(kwargs):
            chunks: Iterator[AIMessageChunk] = iter([_as_chunk(self._answer(messages, stop, kwargs))])
        else:
            chunks = self._stream_text(self._request(messages, stop, kwargs))
        for message in chunks:
            chunk = ChatGenerationChunk(message=message)
            if run_manager is not None:
                run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk

    def _answer(self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> AIMessage:
        if kwargs.get("neutral") is not None:
            return self._choose(messages, kwargs["neutral"], kwargs["response_schema"])
        engine = engine_for(find_weights(self.model))
        return self._message(engine.complete(self._request(messages, stop, kwargs)), kwargs)

    def _stream_text(self, request: dict[str, Any]) -> Iterator[AIMessageChunk]:
        """Hand on each piece of text as it comes; whoever stops listening stops the call."""
        engine = engine_for(find_weights(self.model))
        pieces: queue.SimpleQueue[str | Completion | Exception] = queue.SimpleQueue()
        abandoned = threading.Event()

        def take(text: str) -> bool:
            pieces.put(text)
            return abandoned.is_set()

        def run() -> None:
            try:
                pieces.put(engine.complete(request, take))
            except Exception as error:  # noqa: BLE001 - raised again in the thread that listens
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

    def _request(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        tools = _offered(kwargs)
        request: dict[str, Any] = {
            "messages": _as_chat(messages, _describe_tools(tools, kwargs["tool_choice"]) if tools else ""),
            "temperature": kwargs.get("temperature", self.temperature),
            "seed": kwargs.get("seed", self.seed),
            "max_tokens": kwargs.get("max_tokens", self.max_tokens),
        }
        if stop:
            request["stop"] = stop
        schema = kwargs.get("response_schema") or (_call_schema(tools, kwargs["tool_choice"]) if tools else None)
        if schema is not None:
            request["response_format"] = {"type": "json_schema", "json_schema": {"schema": _bounded(schema)}}
        return request

    def _message(self, completion: Completion, kwargs: dict[str, Any]) -> AIMessage:
        facts = self._facts(completion)
        if not _offered(kwargs) or kwargs.get("response_schema"):
            return AIMessage(completion.text, **facts)
        try:
            data = json.loads(completion.text)
        except ValueError:
            return AIMessage(completion.text, **facts)
        if ANSWER in data:
            return AIMessage(data[ANSWER], **facts)
        call = ToolCall(name=data["name"], args=data["arguments"], id=f"call_{uuid.uuid4().hex[:12]}")
        return AIMessage("", tool_calls=[call], **facts)

    def _facts(self, completion: Completion) -> dict[str, Any]:
        """What goes with a message besides its content."""
        return {
            "usage_metadata": _usage(completion.input_tokens, completion.output_tokens),
            "response_metadata": {
                "model_name": self.model,
                "model_provider": "local",
                "finish_reason": completion.finish_reason,
            },
        }

    def _choose(
        self, messages: Sequence[BaseMessage], neutral: Sequence[Sequence[BaseMessage]], schema: dict[str, Any]
    ) -> AIMessage:
        engine = engine_for(find_weights(self.model))
        choice = choose_option(engine, _as_text(messages), [_as_text(each) for each in neutral], schema)
        facts = self._facts(choice.spent)
        facts["response_metadata"]["scores"] = choice.scores
        return AIMessage(json.dumps({choice.property: choice.option}), **facts)


def _read_tool_choice(choice: str | dict[str, Any] | bool | None, specs: Sequence[dict[str, Any]]) -> str:  # noqa: FBT001 - LangChain's own
    if isinstance(choice, dict):
        choice = str(choice.get("function", choice).get("name"))
    if choice is None or choice is False:
        return "auto"
    if choice is True or choice == "required":
        return "any"
    names = [spec["name"] for spec in specs]
    if choice not in {"auto", "any", "none", *names}:
        raise ValueError(f"Unknown tool {choice!r} in tool_choice: expected 'auto', 'any', 'none' or one of {names}.")
    return choice


def _offered(kwargs: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools that may be called, given the tool choice."""
    tools: list[dict[str, Any]] = kwargs.get("tools") or []
    choice = kwargs.get("tool_choice", "auto")
    if choice == "none":
        return []
    return tools if choice in {"auto", "any"} else [tool for tool in tools if tool["name"] == choice]


def _call_schema(tools: Sequence[dict[str, Any]], choice: str) -> dict[str, Any]:
    """A call of one of the tools, or, where that is allowed, an answer in words."""
    forms = [_object(name={"const": tool["name"]}, arguments=tool.get("parameters") or _object()) for tool in tools]
    if choice == "auto":
        forms.append(_object(**{ANSWER: {"type": "string"}}))
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _describe_tools(tools: Sequence[dict[str, Any]], choice: str) -> str:
    lines = ["You can use these tools:"]
    for tool in tools:
        arguments = ", ".join((tool.get("parameters") or {}).get("properties", {})) or "none"
        lines.append(f"- {tool['name']} (arguments: {arguments}): {tool.get('description', '')}")
    lines.append('To use one, reply {"name": its name, "arguments": {...}}.')
    if choice == "auto":
        lines.append(f'When you know the answer, reply {{"{ANSWER}": the answer}}.')
    return "\n".join(lines)


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without references, and with an end to every text and list."""
    bounded: dict[str, Any] = _bound(dereference_refs(schema))
    bounded.pop("$defs", None)
    return bounded


def _bound(node: Any) -> Any:
    if isinstance(node, list):
        return [_bound(item) for item in node]
    if not isinstance(node, dict):
        return node
    bounded = {key: value if key in {"enum", "const", "required"} else _bound(value) for key, value in node.items()}
    if node.get("type") == "string" and not {"enum", "const", "format"} & node.keys():
        bounded.setdefault("maxLength", STRING_LIMIT)
        if not re.fullmatch(r"\^[^(]*\$", str(node.get("pattern", "^$"))):
            del bounded["pattern"]  # the grammar cannot express it and would complain on stderr
    if node.get("type") == "array":
        bounded.setdefault("maxItems", ITEMS_LIMIT)
    return bounded


def _as_chat(messages: Sequence[BaseMessage], tools: str = "") -> list[dict[str, str]]:
    """Messages as any chat template takes them: the system message first, then user and assistant in turn."""
    chat: list[dict[str, str]] = []
    system = [message.text for message in messages[:1] if isinstance(message, SystemMessage)]
    if instructions := [text for text in (*system, tools) if text]:
        chat.append({"role": "system", "content": "\n\n".join(instructions)})
    for message in messages[len(system) :]:
        role, content = ("assistant", _said(message)) if isinstance(message, AIMessage) else ("user", message.text)
        if isinstance(message, ToolMessage):
            content = f"Result of {message.name or 'the tool'}: {content}"
        if chat and chat[-1]["role"] == role:
            chat[-1]["content"] += f"\n\n{content}"
        else:
            chat.append({"role": role, "content": content})
    return chat


def _as_text(messages: Sequence[BaseMessage]) -> str:
    """Messages as plain text to be continued: small models continue a pattern better than they follow an order."""
    return "\n\n".join(message.text for message in messages)


def _said(message: AIMessage) -> str:
    calls = [json.dumps({"name": call["name"], "arguments": call["args"]}) for call in message.tool_calls]
    return "\n".join(text for text in (message.text, *calls) if text)


def _as_chunk(message: AIMessage) -> AIMessageChunk:
    """A whole message as the one chunk of its stream."""
    calls: list[ToolCallChunk] = [
        tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=index)
        for index, call in enumerate(message.tool_calls)
    ]
    return AIMessageChunk(
        content=message.content,
        tool_call_chunks=calls,
        usage_metadata=message.usage_metadata,
        response_metadata=message.response_metadata,
        chunk_position="last",
    )


def _usage(input_tokens: int, output_tokens: int) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=input_tokens + output_tokens
    )
