"""What a person decided is understood, however their client says it."""

from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from plan_execute.agent.interrupts import HumanDecision, HumanRequest, InvalidAnswer, read_decision
from plan_execute.graphs import create_plan_execute_agent
from tests.fakes import ScriptedModel, heavy, milestone, plan, report

REVIEW = HumanRequest("review_plan", {"plan": "a"}, "", ("approve", "edit", "reject", "respond"), takes_words=True)
CALL = HumanRequest("send", {"to": "a", "copies": 2}, "", ("approve", "edit", "reject", "respond"))
QUESTION = HumanRequest("ask_user", {"question": "?", "answer": ""}, "", ("respond", "reject"), True, "answer")


def edited(name: str, **args: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": name, "args": args}}


@pytest.mark.parametrize(
    ("answer", "request_", "type_", "message"),
    [
        (True, CALL, "approve", ""),
        (False, CALL, "reject", ""),
        ("Approve", CALL, "approve", ""),
        ("yes!", REVIEW, "approve", ""),
        ("No.", CALL, "reject", ""),
        ("reject: too many", CALL, "reject", "too many"),
        ("Make it two steps", REVIEW, "respond", "Make it two steps"),
        ("Yes", QUESTION, "respond", "Yes"),
        ("4711", QUESTION, "respond", "4711"),
        ("reject", QUESTION, "reject", ""),
        ('{"decisions": [{"type": "approve"}]}', CALL, "approve", ""),
        ("true", REVIEW, "approve", ""),
        ({"decisions": ["approve"]}, CALL, "approve", ""),
        ([{"type": "accept", "args": None}], CALL, "approve", ""),
        ([{"type": "ignore", "args": None}], CALL, "reject", ""),
        ([{"type": "response", "args": "4711"}], QUESTION, "respond", "4711"),
        ({"type": "response", "args": "It is sent."}, CALL, "respond", "It is sent."),
        ({"answer": "4711"}, QUESTION, "respond", "4711"),
        ({"answer": 4711}, QUESTION, "respond", "4711"),
        (edited("ask_user", question="?", answer="4711"), QUESTION, "respond", "4711"),
        ({"decisions": [edited("ask_user", answer="")]}, QUESTION, "respond", ""),
    ],
)
def test_answer_is_understood(answer: Any, request_: HumanRequest, type_: str, message: str) -> None:
    decision = read_decision(answer, request_)
    assert isinstance(decision, HumanDecision), decision
    assert (decision.type, decision.message) == (type_, message)


@pytest.mark.parametrize(
    ("answer", "args"),
    [
        (edited("send", to="b", copies="3"), {"to": "b", "copies": 3}),
        (edited("send", to="3", copies="three"), {"to": "3", "copies": "three"}),
        ([{"type": "edit", "args": {"action": "send", "args": {"to": "b", "copies": 2}}}], {"to": "b", "copies": 2}),
        ({"to": "b"}, {"to": "b"}),
    ],
)
def test_edit_is_understood(answer: Any, args: dict[str, Any]) -> None:
    decision = read_decision(answer, CALL)
    assert isinstance(decision, HumanDecision), decision
    assert (decision.type, decision.edited_action) == ("edit", {"name": "send", "args": args})


@pytest.mark.parametrize(
    "answer", [None, 7, "", "perhaps", "yes, but only two", [], {}, {"type": "fly"}, {"other": 1}, "[", "{" * 5_000]
)
def test_what_may_mean_anything_decides_nothing(answer: Any) -> None:
    decision = read_decision(answer, CALL)
    assert isinstance(decision, InvalidAnswer)
    assert 'expected {"decisions": [{"type": "approve" | "edit" | "reject" | "respond", ...}]}' in decision.text


def test_every_question_says_what_answers_it(checkpointer: BaseCheckpointSaver[Any]) -> None:
    @tool
    def look_up(subject: str) -> str:
        """Look a subject up."""
        return subject

    executor = ScriptedModel([report("", "blocked", missing="which one")])
    agent = create_plan_execute_agent(
        heavy(plan(milestone("Find it."))),
        executor,
        [look_up],
        context={"review": "first", "ask_user": True, "max_replans": 0},
        checkpointer=checkpointer,
    )
    config: Any = {"configurable": {"thread_id": "schemas"}}
    asked: Any = {"messages": [("user", "Find it.")]}
    for name, types in [("review_plan", "approve edit reject respond"), ("ask_user", "respond reject edit")]:
        (waiting,) = agent.invoke(asked, config)["__interrupt__"]
        decision = waiting.response_schema["properties"]["decisions"]["items"]["properties"]
        assert decision["type"]["enum"] == types.split()
        assert decision["edited_action"]["properties"]["name"] == {"const": name}
        assert waiting.value["review_configs"][0]["allowed_decisions"] == types.split()
        asked = Command(resume=True)
