"""The report: whether a milestone is done, judged by comparing what it reports with what it did."""

import json
from typing import Any

from langchain_core.messages import AIMessage
from pydantic import ValidationError

from plan_execute.agent import prompts
from plan_execute.agent.build import Build
from plan_execute.agent.codes import FailureCode
from plan_execute.agent.errors import ModelError
from plan_execute.agent.events import make_log_entry, now
from plan_execute.agent.executor.brief import ExecutorState
from plan_execute.agent.executor.pinned import is_direct, is_milestone_tainted
from plan_execute.agent.executor.receipts import unknown_outcomes
from plan_execute.agent.executor.scratchpad import Scratchpad, raised_failure
from plan_execute.agent.failures import CONTEXT_USED_UP, MEANINGS, classify_error, ending_of, refusal_in
from plan_execute.agent.llm.models import BEYOND_COMPACT, find_model, is_compact
from plan_execute.agent.llm.structured_output import Dialogue, Question, describe_no_reply, question_options
from plan_execute.agent.llm.usage import measured
from plan_execute.agent.schemas import Verification
from plan_execute.agent.state import ExecutorOutput, Failure, Milestone, Spent
from plan_execute.agent.truncation import truncate_middle

ARGS_LIMIT = 200
"""Most characters of a call's arguments in the message of a failure."""


def judge_report(state: ExecutorState, build: Build) -> Dialogue[ExecutorOutput]:
    """End a milestone whose report passed all rules, as the verifier judges it."""
    pad = Scratchpad(state, build)
    spent = spent_on(pad)
    failure: Failure | None = None
    if pad.context.verify == "model":  # a resume may have lifted it
        failure = yield from measured("verifier", pad.context, _verify(pad), spent)
    return end_milestone(pad, failure, spent)


def spent_on(pad: Scratchpad) -> Spent:
    """Return what a milestone has cost so far."""
    return Spent(usage=pad.tally["usage"], seconds=pad.tally["seconds"])


def end_milestone(pad: Scratchpad, failure: Failure | None, spent: Spent) -> ExecutorOutput:
    """Write the outcome of a milestone.

    Args:
        pad: Its scratchpad, with the report where there is one.
        failure: Why it is not done; None if it is.
        spent: What it cost.

    Returns:
        The output of the executor.
    """
    brief, report, calls = pad.brief, pad.report, pad.tally["calls"]
    milestone = Milestone(
        status="completed" if failure is None else "blocked" if failure["code"] == "missing" else "failed",
        result=report["result"] if report else "",
        values=_values(pad),
        tainted=is_milestone_tainted(pad),
        report=report,
        failure=failure,
        tool_calls=calls,
        usage=spent["usage"],
        finished_at=now(),
    )
    entry = make_log_entry(
        "milestone_finished",
        revision=brief.get("revision", 0),
        milestone=brief["id"],
        attempt=brief.get("attempt", 1),
        status=milestone["status"],
        code=failure["code"] if failure else None,
        reason=failure["message"] if failure else "",
        result=truncate_middle(milestone["result"], prompts.DIGEST_LIMIT),
        tool_calls=calls,
        changes={brief["id"]: {"status": milestone["status"]}},
    )
    return ExecutorOutput(milestones={brief["id"]: milestone}, **spent, log=[entry])


def judge_by_rules(pad: Scratchpad) -> Failure | None:
    """Find the first reason, in this order, why a milestone is not done; None if it is."""
    report = pad.report
    messages, calls = pad.messages, pad.tally["calls"]
    failed = [call["error"] or "" for call in calls if not call["ok"]]
    evidence = "\n".join(dict.fromkeys(failed[-3:]))
    last = messages[-1] if messages else None
    code: FailureCode
    if raised := raised_failure(messages):
        return _failure(raised[0], raised[1], _findings(pad) if raised[0] == "limit" else evidence, raised[2])
    if report is None and isinstance(last, AIMessage) and (refusal := refusal_in(last)):
        return _failure("refusal", refusal, evidence)
    if open_calls := unknown_outcomes(calls):
        named = ", ".join(
            f"{call['tool']}({truncate_middle(json.dumps(call['args']), ARGS_LIMIT)})" for call in open_calls
        )
        return _failure("outcome_unknown", named, evidence)
    limit = pad.limit_reached()
    if report is None and isinstance(last, AIMessage) and ending_of(last) == CONTEXT_USED_UP:
        return _failure("limit", ending_of(last), _findings(pad))
    if report is None:
        rejected = last.additional_kwargs.get("rejected") if isinstance(last, AIMessage) else None
        code = "limit" if limit and not rejected else "no_report"
        return _failure(code, rejected or (last.text if last is not None else ""), evidence)
    detail = report["missing"] or report["result"]
    # A report of failure is put down to the last call, if that failed.
    last_call = next((call for call in reversed(calls) if not call["ok"]), None) if is_direct(_last(pad)) else None
    last_call = last_call or (calls[-1] if calls else None)
    by_tools = (last_call["code"] or "failed") if last_call and not last_call["ok"] else "failed"
    if report["status"] == "failed" and not report["missing"]:
        return _failure("limit" if limit and by_tools == "failed" else by_tools, detail, evidence)
    if report["status"] in {"failed", "blocked"}:
        code = by_tools if by_tools in {"not_found", "permission", "transient"} else "missing"
        return _failure(code, detail, evidence)
    if report["missing"]:
        return _failure("missing", report["missing"], evidence)
    if not pad.may_report:
        return _failure(by_tools if by_tools in {"transient", "timeout"} else "no_evidence", detail, evidence)
    if pad.writes_calls_as_text and (figures := pad.ungrounded_figures(report["result"])):
        return _failure("no_evidence", prompts.ungrounded(", ".join(figures)), evidence)
    missing = [wanted["name"] for wanted in pad.brief.get("yields", ()) if wanted["name"] not in _values(pad)]
    if missing and pad.context.trust == "strict":
        return _failure("no_value", ", ".join(missing), evidence)
    return None


def _values(pad: Scratchpad) -> dict[str, Any]:
    """Return the values that were passed on; a report in a checkpoint of an older release may have others."""
    wanted = {value["name"] for value in pad.brief.get("yields", ())}
    reported = pad.report["values"] if pad.report else ()
    return {value["name"]: value["value"] for value in reported if value["name"] in wanted}


def _last(pad: Scratchpad) -> AIMessage | None:
    return next((message for message in reversed(pad.messages) if isinstance(message, AIMessage)), None)


def _verify(pad: Scratchpad) -> Dialogue[Failure | None]:
    """Let the verifier judge `done_when` by the evidence; a milestone that it cannot verify is not done."""
    context, result = pad.context, pad.report["result"] if pad.report else ""
    try:
        model = yield from find_model("verifier", context)
        if is_compact(model):
            raise ModelError(BEYOND_COMPACT["verifier"])
    except ModelError as error:
        return _failure("unverified", str(error), "")
    messages = prompts.verifier_messages(pad.brief, result, pad.messages)
    question = Question(model, messages, Verification, **question_options(context, pad.seconds_spent))
    reply = yield question
    if reply.error is not None and classify_error(reply.error) == "transient":
        reply = yield question
    if reply.error is not None:
        unusable = classify_error(reply.error) == "model_unavailable"
        code: FailureCode = "model_unavailable" if unusable else "unverified"
        return _failure(code, describe_no_reply("verifier", model, reply.error), "")
    try:
        verification = Verification.model_validate(reply.data)
    except ValidationError:
        return _failure("unverified", "the verifier gave no usable answer", "")
    return None if verification.done else _failure("unverified", verification.reason, result)


def _findings(pad: Scratchpad) -> str:
    """Return what the tools returned, shortened, so that a milestone that was too broad leaves what it found."""
    found = prompts.evidence_of(pad.messages)
    share = prompts.RESULT_LIMIT // max(len(found), 1)
    return "\n".join(f"{message.name}: {truncate_middle(message.text, share)}" for message in found)


def _failure(code: FailureCode, detail: str, evidence: str, retry_after: float | None = None) -> Failure:
    message = MEANINGS[code]
    if detail:
        message += f": {truncate_middle(detail, prompts.DIGEST_LIMIT)}"
    return Failure(
        code=code, message=message, evidence=truncate_middle(evidence, prompts.RESULT_LIMIT), retry_after=retry_after
    )
