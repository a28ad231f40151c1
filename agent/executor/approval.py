"""Tool approval: a person sees the exact arguments of a call before it is made."""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from langchain_core.messages import ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest

from plan_execute.agent.codes import DecisionType
from plan_execute.agent.executor.receipts import started_call
from plan_execute.agent.executor.scratchpad import tool_message
from plan_execute.agent.interrupts import (
    HumanDecision,
    HumanRequest,
    InvalidAnswer,
    interrupt_for_decision,
    was_interrupted_for,
)
from plan_execute.agent.truncation import json_safe, sanitize
from plan_execute.agent.trust.arguments import argument_problem


class CallDecision(NamedTuple):
    """What to do with a tool call: make the call in `request`, or take `result` in its place."""

    request: ToolCallRequest
    result: ToolMessage | None = None
    type: DecisionType | None = None
    """What the person decided, if one was asked."""
    note: str = ""
    """What the model is told before the tool's result."""


def decide_call(request: ToolCallRequest, tools: Collection[str]) -> CallDecision:
    """Interrupt for approval of a call of one of these tools, or of one for which the run was interrupted before.

    A person approves this call with these arguments, once. Approved, it is made. Edited, it is made with other
    arguments of the same tool, and the model is told. Rejected, the model is told why. A response stands in for the
    tool's result. A call that was started before the run stopped had been approved, so no person is asked again.

    It reads the checkpointer, and so may block.

    Args:
        request: The call.
        tools: Names of the tools to approve.
    """
    approval = _approval_request(request)
    if request.tool_call["name"] not in tools and not was_interrupted_for(approval):
        return CallDecision(request)
    if started := started_call(request):
        unchanged = started.tool_call["args"] == request.tool_call["args"]
        return CallDecision(started, type="approve" if unchanged else "edit")

    def handle(decision: HumanDecision) -> CallDecision | InvalidAnswer:
        match decision.type:
            case "approve":
                return CallDecision(request, type="approve")
            case "edit":
                return _edit(request, decision.edited_action)
            case "respond":
                return CallDecision(request, tool_message(request.tool_call, sanitize(decision.message)), "respond")
        reason = f": {decision.message}" if decision.message else "."
        text = sanitize(f"Not run: the person who was asked to approve this call rejected it{reason}")
        return CallDecision(request, tool_message(request.tool_call, text, "permission"), "reject")

    return interrupt_for_decision(approval, handle)


def _approval_request(request: ToolCallRequest) -> HumanRequest:
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
        return InvalidAnswer("a number in it is too large to be stored.")
    if problem := argument_problem(request.tool, args):
        return InvalidAnswer(problem)
    if args == call["args"]:
        return CallDecision(request, type="approve")
    made = json.dumps(args, ensure_ascii=False)
    note = f"A person changed this call on purpose; it was made with {made}. Its result:\n"
    return CallDecision(request.override(tool_call={**call, "args": args}), type="edit", note=note)
