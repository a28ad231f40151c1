"""The approval of a tool call: a person sees its exact arguments before it is made."""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt.tool_node import ToolCallRequest
from pydantic import BaseModel, ValidationError

from plan_execute.agent.executor.receipts import started_call
from plan_execute.agent.interrupts import (
    HumanDecision,
    HumanRequest,
    InvalidAnswer,
    interrupt_for_decision,
    was_interrupted_for,
)
from plan_execute.agent.state import DecisionType
from plan_execute.agent.truncation import json_safe, sanitize


class CallDecision(NamedTuple):
    """What is done about a call: the `request` is carried out, or `answer` stands in for it."""

    request: ToolCallRequest
    answer: ToolMessage | None = None
    verdict: DecisionType | None = None
    """What a person said to it, if one was asked."""
    note: str = ""
    """What the model is told before the tool's answer."""


def decide_call(request: ToolCallRequest, tools: Collection[str]) -> CallDecision:
    """Ask a person to approve a call of one of these tools, or one that they were asked about before a resume.

    They approve this call with these arguments, once. Approved, it is made. Edited, it is made with other arguments of
    the same tool, and the model is told. Rejected, the model is told why. A response stands in for the tool's answer. A
    call that was begun before the run was stopped had been approved by then, so nobody is asked about it again.

    It reads the checkpointer.
    """
    if request.tool_call["name"] not in tools and not was_interrupted_for(_asking(request)):
        return CallDecision(request)
    if begun := started_call(request):
        return CallDecision(
            begun, verdict="approve" if begun.tool_call["args"] == request.tool_call["args"] else "edit"
        )

    def take(verdict: HumanDecision) -> CallDecision | InvalidAnswer:
        match verdict.type:
            case "approve":
                return CallDecision(request, verdict="approve")
            case "edit":
                return _edit(request, verdict.edited_action)
            case "respond":
                return CallDecision(request, _answer(request, verdict.message, "success"), "respond")
        reason = f": {verdict.message}" if verdict.message else "."
        text = f"Not run: the person who was asked to approve this call refused it{reason}"
        return CallDecision(request, _answer(request, text, "error"), "reject")

    return interrupt_for_decision(_asking(request), take)


def _asking(request: ToolCallRequest) -> HumanRequest:
    call, brief = request.tool_call, request.state["brief"]
    description = f"{brief['id']} ({brief['goal']}) is about to call {call['name']!r}."
    return HumanRequest(call["name"], call["args"], description, ("approve", "edit", "reject", "respond"))


def _edit(request: ToolCallRequest, edited: Mapping[str, Any]) -> CallDecision | InvalidAnswer:
    call, args = request.tool_call, edited.get("args")
    if edited.get("name", call["name"]) != call["name"]:
        return InvalidAnswer(f"only the arguments of {call['name']!r} can be changed, not the tool.")
    if not isinstance(args, dict):
        return InvalidAnswer(
            f"'args' was {str(args)[:100]!r}, expected an object with the arguments of {call['name']!r}."
        )
    if json_safe(args) != args:
        return InvalidAnswer("a number in it is too large to be kept.")
    if misfit := _misfit(request.tool, args):
        return InvalidAnswer(misfit)
    if args == call["args"]:
        return CallDecision(request, verdict="approve")
    note = (
        f"A person changed this call on purpose; it was made with {json.dumps(args, ensure_ascii=False)}. Its answer:\n"
    )
    return CallDecision(request.override(tool_call={**call, "args": args}), verdict="edit", note=note)


def _misfit(tool: BaseTool | None, args: dict[str, Any]) -> str | None:
    """Why these arguments will not do; None if they will, or if the tool's schema is not one that checks."""
    schema = tool.tool_call_schema if tool else None
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return None
    unknown = sorted(args.keys() - schema.model_fields.keys())
    if unknown:
        return f"there is no argument {unknown[0]!r}; there are: {', '.join(schema.model_fields) or 'none'}."
    try:
        schema.model_validate(args)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'the arguments'}: {first['msg']}."
    return None


def _answer(request: ToolCallRequest, text: str, status: Any) -> ToolMessage:
    call = request.tool_call
    failure = {"failure": "permission"} if status == "error" else {}
    return ToolMessage(
        sanitize(text), tool_call_id=call["id"], name=call["name"], status=status, additional_kwargs=failure
    )
