"""The inquiry: what only a person can say is asked of one, and what he answers lets its milestone be tried again."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from plan_execute.agent.build import Build
from plan_execute.agent.events import log_event
from plan_execute.agent.executor.receipts import call_key, unknown_outcomes
from plan_execute.agent.interrupts import (
    ASK_USER,
    REPEAT_CALL,
    HumanDecision,
    HumanRequest,
    InvalidAnswer,
    interrupt_for_decision,
)
from plan_execute.agent.state import DecisionType, LogEntry, Milestone, RunState
from plan_execute.agent.truncation import truncate_middle

MOST_QUESTIONS = 3
"""How often the user is asked on behalf of one milestone; an executor always finds something more to ask."""
ANSWER_LIMIT = 20_000
"""Most characters of an answer that are kept."""


class OpenQuestion(NamedTuple):
    """A question that is open: which milestone it is about, what is asked, and about which of its calls."""

    milestone: str
    asking: HumanRequest
    question: str
    call: str | None = None


def open_questions(failed: Sequence[Milestone], log: Sequence[LogEntry], *, ask_user: bool) -> list[OpenQuestion]:
    """Find what only a person can say about milestones that failed, and was not asked on their behalf.

    That is whether a call had an effect, where nobody knows, unless he wanted it left at that; and, if the run may ask
    for it, what is missing, unless he said that he does not know it.
    """
    answered = [entry for entry in log if entry["type"] == "user_answered"]
    unknown = {text for text, verdict in _said(log).items() if verdict.type == "reject"}
    left = {entry["call"] for entry in answered if entry.get("call") and entry["rule"] == "reject"}
    found: list[OpenQuestion] = []
    for milestone in failed:
        code = milestone["failure"]["code"] if milestone["failure"] else ""
        own = [entry for entry in answered if entry["milestone"] == milestone["id"]]
        if code == "outcome_unknown":
            told = {entry.get("call") for entry in own if entry["attempt"] == milestone["attempts"]}
            about = (_about_call(milestone, call) for call in unknown_outcomes(milestone["tool_calls"]))
            found += [inquiry for inquiry in about if inquiry.call not in told | left]
        elif code == "missing" and ask_user:
            inquiry = _about_missing(milestone)
            asked = [_folded(entry["question"]) for entry in own if not entry.get("call")]
            if _folded(inquiry.question) not in unknown.union(asked) and len(asked) < MOST_QUESTIONS:
                found.append(inquiry)
    return found


def ask_user(state: RunState, build: Build) -> dict[str, Any]:
    """Ask what is open about the round that has just run, one question after the other, and none twice.

    Where every question about a milestone got an answer to go on with, it is tried again; the gate rules on the rest.

    Returns:
        The state update: milestones to be tried again, and a line in the log for each answer.
    """
    context = build.context(state["settings"])
    keys = state["decision"]["milestones"] if state["decision"] else []
    failed = [m for key in keys if (m := state["milestones"][key])["status"] in {"failed", "blocked"}]
    said, verdicts = _said(state["log"]), []
    for inquiry in open_questions(failed, state["log"], ask_user=context.ask_user):
        text = inquiry.call or _folded(inquiry.question)
        verdict = said.get(text) or interrupt_for_decision(inquiry.asking, _take)
        if not inquiry.call:
            said[text] = verdict
        verdicts.append((inquiry, verdict))
    log = [_note(state, inquiry, verdict) for inquiry, verdict in verdicts]
    refused = {inquiry.milestone for inquiry, verdict in verdicts if verdict.type == "reject"}
    changes: dict[str, Milestone] = {}
    for inquiry, verdict in verdicts:
        key = inquiry.milestone
        if key in refused:
            continue
        before = changes.get(key, state["milestones"][key]).get("answers", {})
        answers = (
            before if inquiry.call else {**before, inquiry.question: truncate_middle(verdict.message, ANSWER_LIMIT)}
        )
        changes[key] = Milestone(status="pending", answers=answers)
    for entry in log:
        if entry["milestone"] in changes:
            entry["changes"] = {entry["milestone"]: Milestone(status="pending")}
    return {"milestones": changes, "log": log}


def _about_missing(milestone: Milestone) -> OpenQuestion:
    report = milestone["report"] or {}
    question = str(report.get("missing") or report.get("result") or milestone["goal"])
    description = f"{milestone['id']} ({milestone['goal']}) needs to know: {question}"
    allowed: tuple[DecisionType, ...] = ("respond", "reject")
    asking = HumanRequest(ASK_USER, {"question": question, "milestone": milestone["goal"]}, description, allowed)
    return OpenQuestion(milestone["id"], asking, question)


def _about_call(milestone: Milestone, call: Mapping[str, Any]) -> OpenQuestion:
    description = (
        f"{milestone['id']} ({milestone['goal']}) called {call['tool']!r}, which changes the world, and got no answer: "
        "nobody knows whether it was done. Approve to have it made again, respond with what came of it if it was done, "
        "reject to leave it at that."
    )
    allowed: tuple[DecisionType, ...] = ("approve", "respond", "reject")
    asking = HumanRequest(REPEAT_CALL, {"tool": call["tool"], "args": call["args"]}, description, allowed)
    return OpenQuestion(milestone["id"], asking, f"Was {call['tool']!r} done?", call_key(call["tool"], call["args"]))


def _take(verdict: HumanDecision) -> HumanDecision | InvalidAnswer:
    if verdict.type == "respond" and not verdict.message.strip():
        return InvalidAnswer("the answer is empty; reject if there is none.")
    return verdict


def _note(state: RunState, inquiry: OpenQuestion, verdict: HumanDecision) -> LogEntry:
    plan, milestone = state["plan"], state["milestones"][inquiry.milestone]
    about = {"call": inquiry.call} if inquiry.call else {}
    return log_event(
        "user_answered",
        revision=plan["revision"] if plan else 0,
        milestone=inquiry.milestone,
        attempt=milestone["attempts"],
        rule=verdict.type,
        reason=f"{inquiry.question} {verdict.message or '(no answer)'}",
        question=inquiry.question,
        answer=truncate_middle(verdict.message, ANSWER_LIMIT),
        **about,
    )


def _said(log: Sequence[LogEntry]) -> dict[str, HumanDecision]:
    """What the user said to questions about what is missing, by the question."""
    return {
        _folded(entry["question"]): HumanDecision.model_validate({"type": entry["rule"], "message": entry["answer"]})
        for entry in log
        if entry["type"] == "user_answered" and not entry.get("call")
    }


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
