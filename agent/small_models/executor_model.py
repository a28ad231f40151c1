"""The executor in compact form: a chat model whose turns in the ReAct loop are put together from choices."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool

from plan_execute.agent.llm.structured_output import Dialogue, aask, ask
from plan_execute.agent.schemas import MilestoneReport
from plan_execute.agent.small_models.sql import LOOKUP, has_value, lookup_query, read_lookup, read_rows, unknown_names
from plan_execute.agent.small_models.tool_use import (
    able_tools,
    argument_of,
    choose_tool,
    fitting_tools,
    form_arguments,
    language_of,
    schema_of,
)
from plan_execute.agent.small_models.words import UnsupportedGoalError, answering_sentences, refers_back
from plan_execute.agent.state import Brief

REPORT = MilestoneReport.__name__
"""The tool call that ends a milestone."""

NO_CONVERSATION = (
    "A model in compact form does not chat and does not see earlier turns: "
    "it answers a complete request with the tools it has."
)
"""The reply to small talk, and to a request that makes no sense without the turns before it."""

MOST_ROWS = 20
"""Most rows of a database that a report lists."""
_QUIET: RunnableConfig = {"tags": ["nostream"]}


class CompactExecutor(BaseChatModel):
    """Takes the place of a small model for one milestone: same messages, same tools, same kind of reply."""

    model: BaseChatModel
    brief: Brief
    tools: Sequence[Any] = ()

    @property
    def _llm_type(self) -> str:
        return "compact-executor"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Return a copy that may use these tools in its next turn."""
        return self.model_copy(update={"tools": [t for t in tools if isinstance(t, BaseTool) and t.name != REPORT]})

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        message = ask(next_turn(self.model, self.brief, self.tools, messages), _QUIET)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        message = await aask(next_turn(self.model, self.brief, self.tools, messages), _QUIET)
        return ChatResult(generations=[ChatGeneration(message=message)])


def next_turn(
    model: BaseChatModel, brief: Brief, tools: Sequence[BaseTool], scratchpad: Sequence[BaseMessage]
) -> Dialogue[AIMessage]:
    """Make the next message of a milestone: a tool call, or the report once a tool has given a result.

    Args:
        model: The executor's model.
        brief: The milestone.
        tools: What it may use now; with none it has to report.
        scratchpad: The messages so far.

    Returns:
        A message with one call and the usage of all questions; `response_metadata["unasked"]` if there were none.
    """
    usage = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)
    dialogue = _next_call(model, brief, tools, scratchpad)
    try:
        question = next(dialogue)
        while True:
            reply = yield question
            if reply.message is not None:
                usage = add_usage(usage, reply.message.usage_metadata)
            question = dialogue.send(reply)
    except StopIteration as end:
        metadata = {"unasked": not usage["total_tokens"]}
        return AIMessage("", tool_calls=[end.value], usage_metadata=usage, response_metadata=metadata)


def _next_call(
    model: BaseChatModel, brief: Brief, tools: Sequence[BaseTool], scratchpad: Sequence[BaseMessage]
) -> Dialogue[ToolCall]:
    """A database is queried twice: first for stored texts that the goal names, then for what the goal asks."""
    goal, inputs = brief["goal"], brief["inputs"]
    results = [m for m in scratchpad if isinstance(m, ToolMessage) and m.name != REPORT]
    calls = {call["id"]: str(call["args"]) for m in scratchpad if isinstance(m, AIMessage) for call in m.tool_calls}
    lookups = [m for m in results if LOOKUP in calls.get(m.tool_call_id, "")]
    if good := [m for m in results if m not in lookups and m.status != "error"]:
        kind = next((language_of(tool) for tool in tools if tool.name == good[-1].name), None)
        return _report_result(goal, good[-1].text, kind)
    if results and results[-1].status == "error":
        return _report("failed", results[-1].text)
    able = able_tools(tools, goal, follows=bool(inputs))
    if not able:
        is_follow_up = refers_back(goal) and not inputs
        return _report("blocked", missing=NO_CONVERSATION if is_follow_up else f"A tool for: {goal}")
    tool = yield from choose_tool(model, goal, fitting_tools(able, goal, inputs) or able)
    values: dict[str, list[str]] = {}
    if language_of(tool) == "sql":
        schema = schema_of(tool)
        lookup = lookup_query(goal, schema)
        if not lookups and lookup is not None:
            return _call(tool.name, {argument_of(tool, "sql"): lookup})
        values = read_lookup(goal, lookups[-1].text, schema) if lookups else {}
        if unknown := unknown_names(goal, values, schema):
            return _report("blocked", missing=f"The database has no {' and no '.join(unknown)}.")
    try:
        return _call(tool.name, (yield from form_arguments(model, tool, goal, inputs, values)))
    except UnsupportedGoalError as error:
        return _report("blocked", missing=str(error))


def _report_result(goal: str, result: str, kind: str | None) -> ToolCall:
    """Report a tool's result: copied or shortened, never rewritten; a failure where it does not answer the goal."""
    if kind == "sql":
        if not has_value(result):
            return _report("failed", "The database has nothing that answers it.")
        if rows := read_rows(result):
            more = f"; and {len(rows) - MOST_ROWS} more" if len(rows) > MOST_ROWS else ""
            return _report("succeeded", "; ".join(_as_line(row) for row in rows[:MOST_ROWS]) + more)
    if kind == "keywords":
        found = answering_sentences(goal, result)
        if len(found) > 1:
            return _report("blocked", missing="Several sentences that were found may answer it.")
        return (
            _report("succeeded", found[0])
            if found
            else _report("failed", "The texts that were found do not answer it.")
        )
    return _report("succeeded", result.strip()[:1_000])


def _as_line(row: Mapping[str, Any]) -> str:
    shown = {column: f"{value:.15g}" if isinstance(value, float) else str(value) for column, value in row.items()}
    return (
        next(iter(shown.values())) if len(row) == 1 else ", ".join(f"{name}: {value}" for name, value in shown.items())
    )


def _report(status: str, result: str = "", missing: str | None = None) -> ToolCall:
    return _call(REPORT, {"status": status, "result": result, "missing": missing, "surprise": None, "values": []})


def _call(name: str, arguments: dict[str, Any]) -> ToolCall:
    return ToolCall(name=name, args=arguments, id=f"call_{uuid.uuid4().hex[:12]}")
