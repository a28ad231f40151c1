"""The approval of a tool call: a person sees its exact arguments before it is made."""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt.tool_node import ToolCallRequest
from pydantic import BaseModel, ValidationError

from plan_execute.agent.executor.receipts import begun_before
from plan_execute.agent.interrupts import Asking, Objection, Verdict, ask_person, was_asked
from plan_execute.agent.truncation import clean, storable


class Ruling(NamedTuple):
    """What is done about a call: the `request` is carried out, or `answer` stands in for it."""

    request: ToolCallRequest
    answer: ToolMessage | None = None
    verdict: str | None = None
    """What a person said to it, if one was asked."""
    note: str = ""
    """What the model is told before the tool's answer."""


def needs_approval(request: ToolCallRequest, tools: Collection[str]) -> bool:
    """Whether a call is to be put before a person: one of these tools, or one that was put before him already."""
    return request.tool_call["name"] in tools or was_asked(_asking(request))


def ask_for_approval(request: ToolCallRequest) -> Ruling:
    """Put a call before a person and do as he says; what he approves is this call with these arguments, once.

    Approved, it is made. Edited, it is made with other arguments of the same tool, and the model is told. Rejected, the
    model is told why. A response stands in for the tool's answer. What was begun before the run was stopped had been
    approved by then, so nobody is asked again whether to begin it.
    """
    if begun := begun_before(request):
        return Ruling(begun, verdict="approve" if begun.tool_call["args"] == request.tool_call["args"] else "edit")

    def take(verdict: Verdict) -> Ruling | Objection:
        match verdict.type:
            case "approve":
                return Ruling(request, verdict="approve")
            case "edit":
                return _edit(request, verdict.edited_action)
            case "respond":
                return Ruling(request, _answer(request, verdict.message, "success"), "respond")
        reason = f": {verdict.message}" if verdict.message else "."
        text = f"Not run: the person who was asked to approve this call refused it{reason}"
        return Ruling(request, _answer(request, text, "error"), "reject")

    return ask_person(_asking(request), take)


def _asking(request: ToolCallRequest) -> Asking:
    call, brief = request.tool_call, request.state["brief"]
    description = f"{brief['id']} ({brief['goal']}) is about to call {call['name']!r}."
    return Asking(call["name"], call["args"], description, ("approve", "edit", "reject", "respond"))


def _edit(request: ToolCallRequest, edited: Mapping[str, Any]) -> Ruling | Objection:
    call, args = request.tool_call, edited.get("args")
    if edited.get("name", call["name"]) != call["name"]:
        return Objection(f"only the arguments of {call['name']!r} can be changed, not the tool.")
    if not isinstance(args, dict):
        return Objection(f"'args' was {str(args)[:100]!r}, expected an object with the arguments of {call['name']!r}.")
    if storable(args) != args:
        return Objection("a number in it is too large to be kept.")
    if misfit := _misfit(request.tool, args):
        return Objection(misfit)
    if args == call["args"]:
        return Ruling(request, verdict="approve")
    note = (
        f"A person changed this call on purpose; it was made with {json.dumps(args, ensure_ascii=False)}. Its answer:\n"
    )
    return Ruling(request.override(tool_call={**call, "args": args}), verdict="edit", note=note)


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
        clean(text), tool_call_id=call["id"], name=call["name"], status=status, additional_kwargs=failure
    )
