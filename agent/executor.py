"""The executor's two ends: the brief a milestone starts from, and the judgement of what it reported."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import BaseTool, StructuredTool
from plan_execute.agent import prompts
from plan_execute.agent.audit import record
from plan_execute.agent.context import Context
from plan_execute.agent.failures import MEANINGS, FailureCode
from plan_execute.agent.guard import is_last_call
from plan_execute.agent.scratchpad import ScratchpadState, call_records, raised_failure, tool_failures
from plan_execute.agent.setup import Setup
from plan_execute.agent.state import Brief, ExecutorOutput, Failure, Milestone, RunState, now
from plan_execute.agent.usage import count_call, sum_usage


class ExecutorState(ScratchpadState, ExecutorOutput):
    """The executor graph's whole state."""


def make_brief(state: RunState, key: str) -> Brief:
    """Everything the executor of milestone `key` gets to see: the milestone, and the results it depends on."""
    milestone = state["milestones"][key]
    plan, failure = state["plan"], milestone["failure"]
    brief = Brief(
        id=key,
        goal=milestone["goal"],
        done_when=milestone["done_when"],
        pitfalls=milestone["pitfalls"],
        tools=milestone["tools"],
        calls=milestone["calls"],
        yields=milestone["yields"],
        inputs={needed: state["milestones"][needed]["result"] for needed in milestone["depends_on"]},
        revision=plan["revision"] if plan else 0,
        attempt=milestone["attempts"],
    )
    if failure:
        brief["hint"] = f"{failure['message']}\n{failure['evidence']}".strip()
    return brief


def open_scratchpad(state: ExecutorState, setup: Setup) -> dict[str, Any]:
    """Begin a milestone: the brief is completed, and its prompt is all the conversation there is."""
    brief = _complete(state["brief"])
    context = setup.context(state.get("settings"))
    return {"brief": brief, "messages": prompts.executor_messages(brief, context.executor_instructions)}


def file_report(state: ExecutorState, setup: Setup) -> ExecutorOutput:
    """End a milestone: judge what was reported against what was done."""
    brief, messages = state["brief"], state["messages"]
    report: dict[str, Any] | None = state.get("structured_response")
    calls = call_records(messages)
    failure = _find_failure(brief, report, messages, setup.context(state.get("settings")))
    account = sum_usage(
        count_call("executor", None, message)
        for message in messages
        if isinstance(message, AIMessage) and "raised" not in message.additional_kwargs
    )
    milestone = Milestone(
        status="completed" if failure is None else "blocked" if failure["code"] == "missing" else "failed",
        result=report["result"] if report else "",
        values={value["name"]: value["value"] for value in report["values"]} if report else {},
        report=report,
        failure=failure,
        tool_calls=calls,
        usage=account,
        finished_at=now(),
    )
    entry = record(
        "milestone_finished",
        revision=brief.get("revision", 0),
        milestone=brief["id"],
        attempt=brief.get("attempt", 1),
        status=milestone["status"],
        code=failure["code"] if failure else None,
        reason=failure["message"] if failure else "",
        tool_calls=calls,
        changes={brief["id"]: {"status": milestone["status"]}},
    )
    return ExecutorOutput(milestones={brief["id"]: milestone}, usage=account, log=[entry])


def with_sync(tool: BaseTool) -> BaseTool:
    """Let a tool that exists only as a coroutine be called from sync code too, on a loop of its own."""
    if not isinstance(tool, StructuredTool) or tool.func is not None or tool.coroutine is None:
        return tool
    coroutine = tool.coroutine

    def call(*args: Any, **kwargs: Any) -> Any:
        async def run() -> Any:
            return await coroutine(*args, **kwargs)

        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(asyncio.run, run()).result()

    return tool.model_copy(update={"func": call})


def _find_failure(
    brief: Brief, report: dict[str, Any] | None, messages: Sequence[AnyMessage], context: Context
) -> Failure | None:
    """The first reason, in this order, why a milestone is not done; None if it is."""
    failures = tool_failures(messages)
    evidence = "\n".join(dict.fromkeys(text for _, text in failures[-3:]))
    transient = bool(failures) and failures[-1][0] == "transient"
    if raised := raised_failure(messages):
        return _failure(raised[0], raised[1], evidence)
    if report is None:
        last = messages[-1] if messages else None
        if isinstance(last, AIMessage) and last.additional_kwargs.get("refusal"):
            return _failure("refusal", str(last.additional_kwargs["refusal"]), evidence)
        code: FailureCode = "limit" if is_last_call(messages, context) else "no_report"
        return _failure(code, last.text if last is not None else "", evidence)
    said = report["missing"] or report["result"]
    if report["status"] == "blocked" or (report["status"] == "failed" and report["missing"]):
        return _failure("missing", said, evidence)
    if report["status"] == "failed":
        code = "transient" if transient else "limit" if is_last_call(messages, context) else "failed"
        return _failure(code, said, evidence)
    if brief["tools"] and not any(record["ok"] for record in call_records(messages)):
        return _failure("transient" if transient else "no_evidence", said, evidence)
    return None


def _failure(code: FailureCode, said: str, evidence: str) -> Failure:
    message = MEANINGS[code]
    if said:
        message += f": {prompts.clip(said, prompts.DIGEST_LIMIT)}"
    return Failure(code=code, message=message, evidence=prompts.clip(evidence, prompts.RESULT_LIMIT))


def _complete(brief: Brief) -> Brief:
    """Fill in what a brief written by hand leaves out; only the goal is needed."""
    return {
        "id": "m1",
        "done_when": "",
        "pitfalls": [],
        "tools": [],
        "calls": [],
        "yields": [],
        "inputs": {},
        **brief,
    }
