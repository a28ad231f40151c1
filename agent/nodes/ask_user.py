"""The ask_user node: interrupts the run for what only a person knows, so that its milestone can be tried again."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from plan_execute.agent.build import Build
from plan_execute.agent.codes import DecisionType
from plan_execute.agent.events import log_event
from plan_execute.agent.executor.receipts import OUTCOME_UNKNOWN, call_key, unknown_outcomes
from plan_execute.agent.interrupts import (
    ASK_USER,
    REPEAT_CALL,
    HumanDecision,
    HumanRequest,
    InvalidAnswer,
    interrupt_for_decision,
)
from plan_execute.agent.state import LogEntry, Milestone, RunState, RunUpdate, revision_of, with_status
from plan_execute.agent.truncation import fold, truncate_middle

MOST_QUESTIONS = 3
"""How often the user is asked on behalf of one milestone, because an executor always finds something more to ask."""
ANSWER_LIMIT = 20_000
"""Most characters of an answer that are stored."""


class OpenQuestion(NamedTuple):
    """A question that only a person can answer, about missing information or about one call."""

    milestone: str
    request: HumanRequest
    text: str
    call: str | None = None
    """The call it is about, by `receipts.call_key`; None for missing information."""


def open_questions(failed: Sequence[Milestone], log: Sequence[LogEntry], *, ask_user: bool) -> list[OpenQuestion]:
    """Find the questions about failed milestones that no person has answered yet.

    A call of unknown outcome is one, unless a person has rejected it, which leaves it unknown. If the run may ask the
    user, missing information is one, unless the user has said that they do not know it.

    Args:
        failed: The failed milestones.
        log: The run's, with earlier answers.
        ask_user: The setting.
    """
    answered = [entry for entry in log if entry["type"] == "user_answered"]
    unknown = {text for text, decision in _earlier_decisions(log).items() if decision.type == "reject"}
    rejected = {entry["call"] for entry in answered if entry.get("call") and entry["rule"] == "reject"}
    questions: list[OpenQuestion] = []
    for milestone in failed:
        code = milestone["failure"]["code"] if milestone["failure"] else ""
        own = [entry for entry in answered if entry["milestone"] == milestone["id"]]
        if code == OUTCOME_UNKNOWN:
            decided = {entry.get("call") for entry in own if entry["attempt"] == milestone["attempts"]}
            about = (_ask_about_call(milestone, call) for call in unknown_outcomes(milestone["tool_calls"]))
            questions += [question for question in about if question.call not in decided | rejected]
        elif code == "missing" and ask_user:
            question = _ask_for_missing(milestone)
            asked = [fold(entry["question"]) for entry in own if not entry.get("call")]
            if fold(question.text) not in unknown.union(asked) and len(asked) < MOST_QUESTIONS:
                questions.append(question)
    return questions


def ask_user(state: RunState, build: Build) -> RunUpdate:
    """Interrupt for each open question of the last round, one after the other; the same question is asked once.

    A milestone is tried again if none of its questions was rejected; the gate decides about the others.

    Returns:
        The state update: `milestones` to be tried again, and `log` with an entry for each answer.
    """
    context = build.context(state["settings"])
    keys = state["decision"]["milestones"] if state["decision"] else []
    failed = list(with_status({key: state["milestones"][key] for key in keys}, "failed", "blocked").values())
    earlier = _earlier_decisions(state["log"])
    answers: list[tuple[OpenQuestion, HumanDecision]] = []
    for question in open_questions(failed, state["log"], ask_user=context.ask_user):
        decision = earlier.get(question.call or fold(question.text))
        decision = decision or interrupt_for_decision(question.request, _reject_empty)
        if not question.call:
            earlier[fold(question.text)] = decision
        answers.append((question, decision))
    rejected = {question.milestone for question, decision in answers if decision.type == "reject"}
    changes: dict[str, Milestone] = {}
    log = []
    for question, decision in answers:
        key = question.milestone
        entry = _log_answer(state, question, decision)
        log.append(entry)
        if key in rejected:
            continue
        known = changes.get(key, state["milestones"][key]).get("answers", {})
        if not question.call:
            known = {**known, question.text: truncate_middle(decision.message, ANSWER_LIMIT)}
        changes[key] = Milestone(status="pending", answers=known)
        entry["changes"] = {key: Milestone(status="pending")}
    return {"milestones": changes, "log": log}


def _ask_for_missing(milestone: Milestone) -> OpenQuestion:
    report = milestone["report"] or {}
    text = str(report.get("missing") or report.get("result") or milestone["goal"])
    description = f"{milestone['id']} ({milestone['goal']}) needs to know: {text}"
    args = {"question": text, "milestone": milestone["goal"], "answer": ""}
    request = HumanRequest(ASK_USER, args, description, ("respond", "reject"), takes_words=True, answer_field="answer")
    return OpenQuestion(milestone["id"], request, text)


def _ask_about_call(milestone: Milestone, call: Mapping[str, Any]) -> OpenQuestion:
    tool = call["tool"]
    description = (
        f"{milestone['id']} ({milestone['goal']}) called {tool!r}, which changes the world, and got no result: it is "
        "unknown whether it was done. Approve to make the call again, respond with its result if it was done, or "
        "reject to leave it at that."
    )
    allowed: tuple[DecisionType, ...] = ("approve", "respond", "reject")
    args = {"tool": tool, "args": call["args"], "result": ""}
    request = HumanRequest(REPEAT_CALL, args, description, allowed, answer_field="result")
    return OpenQuestion(milestone["id"], request, f"Was {tool!r} done?", call_key(tool, call["args"]))


def _reject_empty(decision: HumanDecision) -> HumanDecision | InvalidAnswer:
    if decision.type == "respond" and not decision.message.strip():
        return InvalidAnswer("the answer is empty; reject if you have none.")
    return decision


def _log_answer(state: RunState, question: OpenQuestion, decision: HumanDecision) -> LogEntry:
    about = {"call": question.call} if question.call else {}
    return log_event(
        "user_answered",
        revision=revision_of(state),
        milestone=question.milestone,
        attempt=state["milestones"][question.milestone]["attempts"],
        rule=decision.type,
        reason=f"{question.text} {decision.message or '(no answer)'}",
        question=question.text,
        answer=truncate_middle(decision.message, ANSWER_LIMIT),
        **about,
    )


def _earlier_decisions(log: Sequence[LogEntry]) -> dict[str, HumanDecision]:
    """Return what the user decided about missing information, by the folded question."""
    return {
        fold(entry["question"]): HumanDecision.model_validate({"type": entry["rule"], "message": entry["answer"]})
        for entry in log
        if entry["type"] == "user_answered" and not entry.get("call")
    }
