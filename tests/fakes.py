"""A scripted chat model that remembers what it was asked."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

Answer = AIMessage | Exception | str | dict[str, Any]
"""What a script holds: a message, an error to raise, prose, or the arguments of the schema tool asked for."""


class Asked:
    """One call the model got: its messages and the names of the tools bound to it."""

    def __init__(self, messages: Sequence[BaseMessage], tools: Sequence[str]) -> None:
        self.messages = list(messages)
        self.tools = list(tools)

    @property
    def text(self) -> str:
        """Everything it was told, as one text."""
        return "\n".join(message.text for message in self.messages)


class ScriptedModel(BaseChatModel):
    """Answers from a script, in order; the last answer is repeated. A function may answer by what was asked."""

    reports_usage: bool = True
    tokens: tuple[int, int] = (10, 5)
    """Input and output tokens it reports for each call."""
    copies: bool = True
    """Whether each answer is a message of its own; else the script's very object is given each time."""
    _script: Any = PrivateAttr()
    _asked: list[Asked] = PrivateAttr(default_factory=list)
    _bound: list[str] = PrivateAttr(default_factory=list)

    def __init__(self, script: Iterable[Answer] | Callable[[Asked], Answer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._script = script if callable(script) else list(script)

    @property
    def asked(self) -> list[Asked]:
        """Every call so far."""
        return self._asked

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Remember the tools' names for the next call."""
        names = [convert_to_openai_tool(tool)["function"]["name"] for tool in tools]
        return self.bind(bound=names)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        bound: Sequence[str] = (),
        **kwargs: Any,
    ) -> ChatResult:
        asked = Asked(messages, bound)
        self._asked.append(asked)
        if callable(self._script):
            answer = self._script(asked)
        else:
            answer = self._script[min(len(self._asked), len(self._script)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, dict):
            answer = tool_call(bound[-1], answer)
        if isinstance(answer, str):
            answer = AIMessage(answer)
        given, said = self.tokens
        usage = {"input_tokens": given, "output_tokens": said, "total_tokens": given + said}
        if self.copies:
            answer = answer.model_copy(update={"usage_metadata": usage if self.reports_usage else None})
        return ChatResult(generations=[ChatGeneration(message=answer)])


def tool_call(name: str, args: dict[str, Any], *more: tuple[str, dict[str, Any]]) -> AIMessage:
    """An AI message that calls one tool, or several at once."""
    calls = [(name, args), *more]
    return AIMessage(
        "",
        tool_calls=[
            {"name": called, "args": given, "id": f"call-{called}-{index}-{abs(hash(str(given))) % 10_000}"}
            for index, (called, given) in enumerate(calls)
        ],
    )


def milestone(goal: str, /, **fields: Any) -> dict[str, Any]:
    """A milestone as a planner writes it."""
    return {"goal": goal, "done_when": "it is known", "tools": ["look_up"], "covers": [1], **fields}


def call(name: str, **args: Any) -> dict[str, str]:
    """A pinned call, as a planner writes it."""
    return {"tool": name, "args": json.dumps(args)}


def wanted(name: str, kind: str, path: str | None = None, **fields: Any) -> dict[str, Any]:
    """A value that a milestone yields, as a planner writes it."""
    return {"name": name, "kind": kind, "path": path, **fields}


def direct(goal: str, *calls: dict[str, str], **fields: Any) -> dict[str, Any]:
    """A milestone whose calls are all pinned."""
    return milestone(goal, tools=list(dict.fromkeys(c["tool"] for c in calls)), calls=list(calls), **fields)


def plan(*milestones: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A plan as a planner writes it, with one requirement unless it says otherwise."""
    numbered = [{"id": f"m{number}", **given} for number, given in enumerate(milestones, start=1)]
    return {"strategy": "Step by step.", "requirements": ["Answer it."], "milestones": numbered, **fields}


def report(result: str = "found", status: str = "succeeded", **fields: Any) -> AIMessage:
    """An executor's report."""
    return tool_call("MilestoneReport", {"status": status, "result": result, **fields})


def synthesis(answer: str = "The answer.", met: Sequence[bool] = (True,), **fields: Any) -> dict[str, Any]:
    """A synthesizer's answer with a verdict for each requirement."""
    verdicts = [{"number": number, "met": value} for number, value in enumerate(met, start=1)]
    return {"answer": answer, "requirements": verdicts, **fields}


def diligent(asked: Asked) -> Answer:
    """An executor that uses its first tool once and reports success."""
    if any(message.type == "tool" for message in asked.messages):
        return report(f"result of: {goal_of(asked)}")
    tools = [name for name in asked.tools if name != "MilestoneReport"]
    return tool_call(tools[0], {"subject": "x"}) if tools else report(f"result of: {goal_of(asked)}")


def goal_of(asked: Asked) -> str:
    """The goal an executor was given."""
    return next(line for line in asked.text.splitlines() if line.startswith("Goal: ")).removeprefix("Goal: ")


def heavy(*drafts: Answer, end: Answer | None = None) -> ScriptedModel:
    """A heavy model: these drafts in turn (the last one again and again), and one synthesis whenever asked."""
    left = list(drafts)

    def answer(asked: Asked) -> Answer:
        if asked.tools == ["Synthesis"]:
            return synthesis() if end is None else end
        return left.pop(0) if len(left) > 1 else left[0]

    return ScriptedModel(answer)
