"""The executor's two ends: the brief a milestone starts from, and the judgement of what it reported."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.errors import GraphBubbleUp, GraphRecursionError
from pydantic import TypeAdapter, ValidationError

from plan_execute.agent import prompts
from plan_execute.agent.audit import make_entry
from plan_execute.agent.context import Context
from plan_execute.agent.digest import clip
from plan_execute.agent.effects import unsettled
from plan_execute.agent.errors import ConfigurationError, ModelError
from plan_execute.agent.failures import MEANINGS, FailureCode, classify_error, describe_error, is_of_checkpointer, pause
from plan_execute.agent.models import BEYOND_COMPACT, is_compact, model_for
from plan_execute.agent.plan import Verification
from plan_execute.agent.question import Dialogue, Question, asking, describe_silence
from plan_execute.agent.scratchpad import (
    ScratchpadState,
    has_evidence,
    limit_reached,
    raised_failure,
    raised_message,
    seconds_spent,
    tally_of,
)
from plan_execute.agent.setup import Setup
from plan_execute.agent.state import Brief, ExecutorOutput, Failure, Milestone, RunState, add_usage, new_id, now
from plan_execute.agent.usage import Account, tallied

ARGS_LIMIT = 200
"""Most characters of a call's arguments in a reason."""

_BRIEF = TypeAdapter(Brief)


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
    if answers := milestone.get("answers"):
        brief["answers"] = answers
    if failure:
        brief["hint"] = f"{failure['message']}\n{failure['evidence']}".strip()
        if failure["code"] == "transient":
            brief["wait"] = pause(failure["retry_after"], milestone["attempts"] - 1)
    return brief


def open_scratchpad(state: ExecutorState, setup: Setup) -> dict[str, Any]:
    """Begin a milestone: the brief is completed, and its prompt is all the conversation there is."""
    brief = _complete(state.get("brief"))
    context = _context(state, setup)
    messages = prompts.executor_messages(brief, context.executor_instructions)
    # With ids, or what comes back from the ReAct loop would be added to these instead of replacing them.
    return {"brief": brief, "messages": [m.model_copy(update={"id": new_id()}) for m in messages]}


def as_react_node(react: Runnable[Any, Any], setup: Setup, steps: int) -> RunnableLambda[Any, Any]:
    """Make a node of a ReAct loop; what it raises, as other people's middleware may, is the milestone's failure.

    Of the steps its milestone has left it may take what its model calls need, at most so many `steps` each: a runnable
    is handed LangChain's limit of 25 where the run has none of its own, which is less than a milestone's limits allow.
    Of its messages only those come back by which the report is judged: the rest stays where it was said, stored once.
    """

    def outcome(state: ExecutorState) -> dict[str, Any]:
        messages, kept = state["messages"], {"tally", "structured_response"}
        shown = prompts.evidence_of(messages[:-1]) if _context(state, setup).verify == "model" else []
        return {**{key: value for key, value in state.items() if key in kept}, "messages": [*shown, *messages[-1:]]}

    def limited(state: ExecutorState, config: RunnableConfig) -> RunnableConfig:
        needed = steps * (_context(state, setup).max_model_calls + 1)
        return {**config, "recursion_limit": min(state["remaining_steps"], needed)}

    def run(state: ExecutorState, config: RunnableConfig) -> Any:
        config = limited(state, config)  # out here: settings that will not do are no failure of the milestone
        try:
            return outcome(react.invoke(state, config))
        except GraphBubbleUp:
            raise
        except Exception as error:  # a milestone may fail, a run may not
            if is_of_checkpointer(error):
                raise
            return _raised(error)

    async def arun(state: ExecutorState, config: RunnableConfig) -> Any:
        config = limited(state, config)
        try:
            return outcome(await react.ainvoke(state, config))
        except GraphBubbleUp:
            raise
        except Exception as error:  # a milestone may fail, a run may not
            if is_of_checkpointer(error):
                raise
            return _raised(error)

    return RunnableLambda(run, arun, name="react")


def file_report(state: ExecutorState, setup: Setup) -> Dialogue[ExecutorOutput]:
    """End a milestone: judge what was reported against what was done, by rules and, if asked for, by a model."""
    brief, messages = state["brief"], state["messages"]
    context = _context(state, setup)
    report: dict[str, Any] | None = state.get("structured_response")
    failure = _find_failure(state, report, context)
    account = Account({}, 0.0)
    if failure is None and report is not None and context.verify == "model":
        how = asking(context, seconds_spent(state))
        failure, account = yield from tallied("verifier", context, _verify(brief, report, messages, context, how))
    tally = tally_of(state)
    usage, seconds = add_usage(tally["usage"], account.usage), tally["seconds"] + account.seconds
    milestone = Milestone(
        status="completed" if failure is None else "blocked" if failure["code"] == "missing" else "failed",
        result=report["result"] if report else "",
        values={value["name"]: value["value"] for value in report["values"]} if report else {},
        report=report,
        failure=failure,
        tool_calls=tally["calls"],
        usage=usage,
        finished_at=now(),
    )
    entry = make_entry(
        "milestone_finished",
        revision=brief.get("revision", 0),
        milestone=brief["id"],
        attempt=brief.get("attempt", 1),
        status=milestone["status"],
        code=failure["code"] if failure else None,
        reason=failure["message"] if failure else "",
        result=clip(milestone["result"], prompts.DIGEST_LIMIT),
        tool_calls=tally["calls"],
        changes={brief["id"]: {"status": milestone["status"]}},
    )
    return ExecutorOutput(milestones={brief["id"]: milestone}, usage=usage, seconds=seconds, log=[entry])


def as_callable(tool: BaseTool) -> BaseTool:
    """Make a tool fit for a ReAct loop that ends with a report.

    Its answer always goes back to the model, whatever its `return_direct` says, and one that exists only as a coroutine
    can be called from sync code too, on a loop of its own.
    """
    tool = tool.model_copy(update={"return_direct": False})
    if not isinstance(tool, StructuredTool) or tool.func is not None or tool.coroutine is None:
        return tool
    coroutine = tool.coroutine

    def call(*args: Any, **kwargs: Any) -> Any:
        async def run() -> Any:
            return await coroutine(*args, **kwargs)

        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(copy_context().run, asyncio.run, run()).result()

    return tool.model_copy(update={"func": call})


def _context(state: ExecutorState, setup: Setup) -> Context:
    run = state.get("run")
    return setup.context(run["settings"] if run else None)


def _raised(error: Exception) -> dict[str, Any]:
    if isinstance(error, GraphRecursionError):
        return {"messages": [raised_message("limit", "no steps of LangGraph's are left for it")]}
    return {"messages": [raised_message(classify_error(error), describe_error(error))]}


def _find_failure(state: ExecutorState, report: dict[str, Any] | None, context: Context) -> Failure | None:
    """The first reason, in this order, why a milestone is not done; None if it is."""
    brief, messages, calls = state["brief"], state["messages"], tally_of(state)["calls"]
    failed = [call["error"] or "" for call in calls if not call["ok"]]
    evidence = "\n".join(dict.fromkeys(failed[-3:]))
    last = messages[-1] if messages else None
    code: FailureCode
    if raised := raised_failure(messages):
        return _failure(raised[0], raised[1], evidence, raised[2])
    if isinstance(last, AIMessage) and last.additional_kwargs.get("refusal"):
        return _failure("refusal", str(last.additional_kwargs["refusal"]), evidence)
    if open_calls := unsettled(calls):
        named = ", ".join(f"{call['tool']}({clip(json.dumps(call['args']), ARGS_LIMIT)})" for call in open_calls)
        return _failure("outcome_unknown", named, evidence)
    limit = limit_reached(state, context)
    if report is None:
        rejected = last.additional_kwargs.get("rejected") if isinstance(last, AIMessage) else None
        code = "limit" if limit and not rejected else "no_report"
        return _failure(code, rejected or (last.text if last is not None else ""), evidence)
    said = report["missing"] or report["result"]
    # What a report of failure is down to: the last call, if it failed.
    by_tools = cast("FailureCode", calls[-1]["code"] or "failed") if calls and not calls[-1]["ok"] else "failed"
    if report["status"] == "failed" and not report["missing"]:
        return _failure("limit" if limit and by_tools == "failed" else by_tools, said, evidence)
    if report["status"] in {"failed", "blocked"}:
        code = by_tools if by_tools in {"not_found", "permission", "transient"} else "missing"
        return _failure(code, said, evidence)
    if report["missing"]:
        return _failure("missing", report["missing"], evidence)
    if brief["tools"] and not has_evidence(state):
        return _failure(by_tools if by_tools in {"transient", "timeout"} else "no_evidence", said, evidence)
    return None


def _verify(
    brief: Brief, report: dict[str, Any], messages: Sequence[AnyMessage], context: Context, how: Mapping[str, Any]
) -> Dialogue[Failure | None]:
    """Let the verifier judge `done_when` against the evidence; whatever keeps it from saying yes is a no."""
    try:
        model = model_for("verifier", context)
        if is_compact(model):
            raise ModelError(BEYOND_COMPACT["verifier"])
    except ModelError as error:
        return _failure("unverified", str(error), "")
    question = Question(model, prompts.verifier_messages(brief, report["result"], messages), Verification, **how)
    reply = yield question
    if reply.error is not None and classify_error(reply.error) == "transient":
        reply = yield question
    if reply.error is not None:
        unusable = classify_error(reply.error) == "model_unavailable"
        code: FailureCode = "model_unavailable" if unusable else "unverified"
        return _failure(code, describe_silence("verifier", model, reply.error), "")
    try:
        verdict = Verification.model_validate(reply.data)
    except ValidationError:
        return _failure("unverified", "the verifier gave no verdict", "")
    return None if verdict.done else _failure("unverified", verdict.reason, report["result"])


def _failure(code: FailureCode, said: str, evidence: str, retry_after: float | None = None) -> Failure:
    message = MEANINGS[code]
    if said:
        message += f": {clip(said, prompts.DIGEST_LIMIT)}"
    return Failure(code=code, message=message, evidence=clip(evidence, prompts.RESULT_LIMIT), retry_after=retry_after)


def _complete(given: object) -> Brief:
    """Fill in what a brief written by hand leaves out; only the goal is needed.

    Raises:
        ConfigurationError: It is no brief; one sentence says what is wrong with it.
    """
    try:
        brief = _BRIEF.validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("brief", *first["loc"])))
        raise ConfigurationError(
            f'{place!r} will not do ({first["msg"]}): expected {{"brief": {{"goal": "...", "tools": ["..."]}}}}.'
        ) from None
    if not brief["goal"].strip():
        raise ConfigurationError("'brief.goal' is empty: say what the milestone is to reach.")
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
