"""One turn of an executor's model: what it said is made fit to be stored, and a report is believed or sent back."""

import re
from typing import Any

from langchain.agents.middleware import ModelResponse
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from plan_execute.agent import prompts
from plan_execute.agent.digest import storable
from plan_execute.agent.failures import FailureCode, classify_error, describe_error, retry_after
from plan_execute.agent.plan import MilestoneReport
from plan_execute.agent.scratchpad import REPORT, ScratchpadState, has_evidence, raised_message
from plan_execute.agent.state import new_id
from plan_execute.agent.timeout import CallAbandonedError


def believed(response: ModelResponse[Any], state: ScratchpadState, *, last: bool) -> ModelResponse[Any]:
    """Send back a report that cannot be believed; an accepted one goes on as plain JSON.

    A claim of success without evidence, or with something missing, goes back once; a second one is left to the
    judgement of the report.
    """
    report = response.structured_response
    if not isinstance(report, MilestoneReport):
        return response
    said = next(message for message in reversed(response.result) if isinstance(message, AIMessage))
    objection = None
    if any(call["name"] != REPORT for call in said.tool_calls):
        objection = prompts.REPORT_ALONE
    elif report.status == "succeeded" and not last:
        doubt = prompts.STILL_MISSING if report.missing else None
        if state["brief"]["tools"] and not has_evidence(state):
            doubt = prompts.NO_EVIDENCE
        told = any(isinstance(m, ToolMessage) and m.content == doubt for m in state["messages"])
        objection = None if told else doubt
    if objection is None:
        return ModelResponse(result=response.result, structured_response=report.model_dump(mode="json"))
    return ModelResponse(
        result=[
            m.model_copy(update={"content": objection, "status": "error"})
            if isinstance(m, ToolMessage) and m.name == REPORT
            else m
            for m in response.result
        ]
    )


def renewed(response: ModelResponse[Any], name: str) -> ModelResponse[Any]:
    """Give every message an id of our own, and every call one that no other bears.

    What is counted is counted from the messages, and LangGraph replaces a message by another of its id; models and
    servers repeat ids, or give none.
    """
    result: list[BaseMessage] = []
    ids: list[tuple[str | None, str]] = []
    for message in response.result:
        if isinstance(message, AIMessage):
            calls = [{**call, "id": new_id(), "args": storable(call["args"])} for call in message.tool_calls]
            ids = [(old["id"], new["id"]) for old, new in zip(message.tool_calls, calls, strict=True)]
            metadata = {"model_name": name, **message.response_metadata}
            facts = {"id": new_id(), "tool_calls": calls, "response_metadata": metadata}
            result.append(message.model_copy(update=facts))
        elif isinstance(message, ToolMessage):
            new = next((new for old, new in ids if old == message.tool_call_id), message.tool_call_id)
            result.append(message.model_copy(update={"id": new_id(), "tool_call_id": new}))
        else:
            result.append(message)
    return ModelResponse(result=result, structured_response=response.structured_response)


def without_calls(response: ModelResponse[Any]) -> AIMessage:
    """What was said on the last turn, without the calls that would keep the loop going; why a report was no good."""
    said = response.result[0]
    rejected = [m.text for m in response.result if isinstance(m, ToolMessage) and m.name == REPORT]
    return AIMessage(
        said.text,
        id=said.id,
        additional_kwargs={"rejected": _without_advice(rejected[0])} if rejected else {},
        response_metadata=said.response_metadata,
        usage_metadata=said.usage_metadata if isinstance(said, AIMessage) else None,
    )


def raised(error: Exception) -> ModelResponse[Any]:
    """Stand in for a reply that never came."""
    code: FailureCode = "timeout" if isinstance(error, CallAbandonedError) else classify_error(error)
    advice = " (an executor needs a model that calls tools)" if isinstance(error, NotImplementedError) else ""
    return ModelResponse(result=[raised_message(code, describe_error(error) + advice, retry_after(error))])


def _without_advice(text: str) -> str:
    """LangChain's words about a report that does not fit, less what it says to the model."""
    return re.split(r"\n\s*For further information|\n\s*Please fix", text)[0].removeprefix("Error: ").strip()
