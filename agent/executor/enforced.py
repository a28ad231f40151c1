"""What an executor is asked for in a form that its model's server enforces, when it does not call a tool by itself."""

from collections.abc import Sequence
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolCall
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, create_model

from plan_execute.agent import prompts
from plan_execute.agent.executor.pinned import asked_values
from plan_execute.agent.executor.scratchpad import REPORT, Scratchpad
from plan_execute.agent.llm.calls import Steps
from plan_execute.agent.llm.structured_output import Question, ask_once, may_enforce, refuses_form
from plan_execute.agent.schemas import MilestoneReport, ReportedValue
from plan_execute.agent.state import Brief, new_id

REPORT_TOOL = convert_to_openai_tool(MilestoneReport)
"""The report as a model is offered it that has no values to pass on."""


def report_schema(brief: Brief) -> type[MilestoneReport]:
    """Return the schema of the report on a milestone, with the values that its model has to pass on by name."""
    wanted = asked_values(brief)
    if not wanted:
        return MilestoneReport
    names: Any = Literal[tuple(value["name"] for value in wanted)]
    value = create_model("ReportedValue", __base__=ReportedValue, name=(names, ReportedValue.model_fields["name"]))
    about = Field(description="Each value that the brief asks for, once.")
    return create_model(
        REPORT,
        __base__=MilestoneReport,
        __doc__=MilestoneReport.__doc__,
        values=(list[value], about),  # type: ignore[valid-type]
    )


def report_tool(brief: Brief) -> dict[str, Any]:
    """Return the report as the model of a milestone is offered it."""
    return convert_to_openai_tool(report_schema(brief)) if asked_values(brief) else REPORT_TOOL


def ask_for_report(model: BaseChatModel, pad: Scratchpad, said: str, seconds: float) -> Steps[AIMessage]:
    """Ask for the report in the best form that the model's server enforces, after the model has told it in prose.

    Args:
        model: The executor's.
        pad: The scratchpad with the tool results.
        said: The prose.
        seconds: How long to wait for the reply.

    Returns:
        The report as a tool call, or what the model said instead.
    """
    messages = prompts.report_messages(pad.brief, pad.messages, said)
    question = Question(
        model, messages, report_schema(pad.brief), method=pad.context.structured_output, seconds=seconds
    )
    reply = yield from ask_once(question)
    if reply.error is not None:
        raise reply.error
    message = reply.message or AIMessage("")
    return message if reply.data is None else _calling(REPORT, reply.data, message)


def ask_for_call(
    model: BaseChatModel, pad: Scratchpad, tools: Sequence[BaseTool | dict[str, Any]], seconds: float
) -> Steps[AIMessage | None]:
    """Ask for the next tool call, or the report, in a schema, after the model has made no call although it was told to.

    Args:
        model: The executor's.
        pad: The scratchpad with the tool results.
        tools: The tools of the milestone.
        seconds: How long to wait for the reply.

    Returns:
        The tool call, or what the model said instead; None if its server is known to enforce no schema, or refuses it.
    """
    if not may_enforce(model, pad.context.structured_output):
        return None
    offered = [tool for tool in tools if isinstance(tool, BaseTool)]
    messages = prompts.call_messages(pad.brief, pad.context.executor_instructions, pad.messages, offered)
    schema = call_schema([*offered, report_tool(pad.brief)])
    reply = yield from ask_once(Question(model, messages, schema, method="json_schema", seconds=seconds))
    if reply.error is not None:
        if refuses_form(reply.error):
            return None
        raise reply.error
    message, call = reply.message or AIMessage(""), (reply.data or {}).get("call")
    if not isinstance(call, dict) or not isinstance(call.get("args"), dict):
        return message
    return _calling(str(call.get("tool")), call["args"], message)


def call_schema(tools: Sequence[BaseTool | dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON schema of a call of one of these tools: `{"call": {"tool": name, "args": {...}}}`."""
    calls = []
    for tool in tools:
        function = convert_to_openai_tool(tool)["function"]
        properties = {"tool": {"type": "string", "enum": [function["name"]]}, "args": function["parameters"]}
        calls.append({"type": "object", "properties": properties, "required": list(properties)})
    return {"title": "NextCall", "type": "object", "properties": {"call": {"anyOf": calls}}, "required": ["call"]}


def _calling(name: str, args: dict[str, Any], reply: AIMessage) -> AIMessage:
    """Turn a form that was filled in into a tool call; it costs what the reply that holds the form did."""
    calls = [ToolCall(name=name, args=args, id=new_id(), type="tool_call")]
    return AIMessage(
        "", tool_calls=calls, usage_metadata=reply.usage_metadata, response_metadata=reply.response_metadata
    )
