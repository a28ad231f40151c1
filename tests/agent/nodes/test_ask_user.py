"""A run that lacks information asks the user for it, on every checkpointer."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from plan_execute.agent.nodes.ask_user import MOST_QUESTIONS
from plan_execute.graphs import create_plan_execute_agent
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import Answer, Asked, ScriptedModel, diligent, goal_of, heavy, milestone, plan, report

ASKED: Any = {"messages": [("user", "Where is my order?")]}
ORDER = plan(milestone("Find the order."), milestone("Tell its state.", depends_on=["m1"]))


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


def lacks(*missing: str) -> Callable[[Asked], Answer]:
    """An executor that, in the milestone that finds the order, lacks one thing after the other."""

    def answer(asked: Asked) -> Answer:
        if goal_of(asked) == "Find the order.":
            for thing in missing:
                if f"\n{thing}\n" not in asked.text:  # as the question stands between its marks
                    return report("", "blocked", missing=thing)
        return diligent(asked)

    return answer


class Session:
    """One thread of a run that may ask; each answer is given to an agent built anew."""

    def __init__(
        self,
        checkpointer: BaseCheckpointSaver[Any],
        light: Callable[[Asked], Answer],
        planner: ScriptedModel | None = None,
        **settings: Any,
    ) -> None:
        self.planner, self.light = planner or heavy(ORDER), ScriptedModel(light)
        self.config: RunnableConfig = {"configurable": {"thread_id": str(uuid.uuid4())}}
        self._checkpointer, self._settings = checkpointer, {"ask_user": True, **settings}

    def go(self, given: Any) -> Any:
        return self._agent().invoke(given, self.config, durability="sync")

    def listen(self, given: Any) -> list[Any]:
        return list(self._agent().stream(given, self.config, stream_mode="custom", durability="sync"))

    def _agent(self) -> PlanExecuteAgent:
        return create_plan_execute_agent(
            self.planner, self.light, [look_up], checkpointer=self._checkpointer, context=self._settings
        )

    def answer(self, kind: str, message: str = "") -> Any:
        return self.go(Command(resume={"decisions": [{"type": kind, "message": message}]}))


def shown(output: Any) -> dict[str, Any]:
    (action,) = output["__interrupt__"][0].value["action_requests"]
    return dict(action)


def test_user_is_asked_for_what_is_missing_and_the_milestone_is_tried_again_with_his_answer(
    checkpointer: BaseCheckpointSaver[Any],
) -> None:
    session = Session(checkpointer, lacks("the order's number"))
    waiting = session.go(ASKED)
    assert shown(waiting)["name"] == "ask_user"
    assert shown(waiting)["args"] == {
        "question": "the order's number",
        "milestone": "Find the order.",
        "answer": "",
    }
    assert waiting["__interrupt__"][0].value["review_configs"][0]["allowed_decisions"] == ["respond", "reject", "edit"]
    output = session.answer("respond", "It is 4711.")
    assert (output["status"], len(session.planner.asked)) == ("completed", 2)
    retried = [asked for asked in session.light.asked if goal_of(asked) == "Find the order."]
    assert "It is 4711." not in retried[0].text
    assert "It is 4711." in retried[1].text
    assert "It is 4711." not in session.light.asked[-1].text
    assert output["milestones"]["m1"]["answers"] == {"the order's number": "It is 4711."}
    assert output["milestones"]["m1"]["attempts"] == 2


def test_each_attempt_is_told_once_although_the_round_is_ruled_on_again(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, lacks("the order's number"), budget={"heavy_calls": 2})
    news: list[dict[str, Any]] = []
    turns: tuple[Any, ...] = (ASKED, Command(resume={"decisions": [{"type": "respond", "message": "It is 4711."}]}))
    for given in turns:
        news += session.listen(given)
    finished = [(event["milestone"], event["status"]) for event in news if event["type"] == "milestone_finished"]
    assert finished == [("m1", "blocked"), ("m1", "completed"), ("m2", "completed")]
    assert news[-1]["status"] == "completed"


@pytest.mark.parametrize("may_ask", [True, False])
def test_planner_knows_whether_the_user_is_asked(checkpointer: BaseCheckpointSaver[Any], may_ask: bool) -> None:
    session = Session(checkpointer, diligent, ask_user=may_ask)
    session.go(ASKED)
    assert ("the user is asked for it" in session.planner.asked[0].text) == may_ask


def test_question_and_answer_stand_in_the_log(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, lacks("the order's number"))
    session.go(ASKED)
    session.answer("respond", "It is 4711.")
    agent = create_plan_execute_agent(session.planner, session.light, [look_up], checkpointer=checkpointer)
    log = agent.get_state(session.config).values["log"]
    (entry,) = [entry for entry in log if entry["type"] == "user_answered"]
    assert (entry["milestone"], entry["rule"]) == ("m1", "respond")
    assert (entry["question"], entry["answer"]) == ("the order's number", "It is 4711.")
    assert [entry["rule"] for entry in log if entry["type"] == "decision"] == [
        "ask",
        "more_to_do",
        "more_to_do",
        "all_done",
    ]


def test_user_who_does_not_know_is_not_asked_again_and_the_planner_takes_over(
    checkpointer: BaseCheckpointSaver[Any],
) -> None:
    another = plan(milestone("Find the order."))
    session = Session(checkpointer, lacks("the order's number"), heavy(ORDER, another), max_replans=1)
    session.go(ASKED)
    output = session.answer("reject", "No idea.")
    assert (output["status"], output["error"]["code"]) == ("aborted", "max_replans")
    assert "the order's number" in session.planner.asked[1].text


def test_what_the_user_answered_is_known_to_a_later_plan(checkpointer: BaseCheckpointSaver[Any]) -> None:
    def answer(asked: Asked) -> Answer:
        if goal_of(asked) == "Tell its state.":
            return report("in vain", "failed")
        return lacks("the order's number")(asked)

    session = Session(checkpointer, answer, heavy(ORDER, plan(milestone("Ask the carrier."))))
    session.go(ASKED)
    assert session.answer("respond", "It is 4711.")["status"] == "completed"
    assert "It is 4711." in session.planner.asked[1].text


def test_empty_answer_and_any_other_verdict_are_asked_for_again(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, lacks("the order's number"))
    session.go(ASKED)
    assert "the answer is empty" in shown(session.answer("respond", " "))["description"]
    assert (
        'expected {"decisions": [{"type": "respond" | "reject" | "edit", ...}]}'
        in shown(session.answer("approve"))["description"]
    )
    assert session.answer("respond", "4711")["status"] == "completed"


def test_questions_about_one_milestone_are_bounded(checkpointer: BaseCheckpointSaver[Any]) -> None:
    endless = lacks(*(f"thing {number}" for number in range(20)))
    session = Session(checkpointer, endless, max_replans=0)
    output, asked = session.go(ASKED), 0
    while "__interrupt__" in output:
        output, asked = session.answer("respond", "here it is"), asked + 1
    assert (asked, output["status"]) == (MOST_QUESTIONS, "aborted")


def test_two_milestones_of_a_round_ask_one_after_the_other(checkpointer: BaseCheckpointSaver[Any]) -> None:
    def answer(asked: Asked) -> Answer:
        thing = f"what {goal_of(asked)} needs"
        return diligent(asked) if thing in asked.text else report("", "blocked", missing=thing)

    draft = plan(milestone("Find a."), milestone("Find b."))
    session = Session(checkpointer, answer, heavy(draft), max_parallel=2)
    assert shown(session.go(ASKED))["args"]["question"] == "what Find a. needs"
    assert shown(session.answer("respond", "A"))["args"]["question"] == "what Find b. needs"
    assert shown(session.go(None))["args"]["question"] == "what Find b. needs"  # A is not the answer to this
    assert session.answer("respond", "B")["status"] == "completed"


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize(("kind", "status"), [("respond", "completed"), ("reject", "aborted")])
def test_what_two_milestones_lack_is_asked_once(
    checkpointer: BaseCheckpointSaver[Any], parallel: int, kind: str, status: str
) -> None:
    def answer(asked: Asked) -> Answer:
        return diligent(asked) if "It is 7." in asked.text else report("", "blocked", missing="the order's number")

    draft = plan(milestone("Find a."), milestone("Find b."))
    session = Session(checkpointer, answer, heavy(draft), max_parallel=parallel, max_replans=0)
    session.go(ASKED)
    assert session.answer(kind, "It is 7." if kind == "respond" else "")["status"] == status


def test_run_that_may_not_ask_plans_again(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(
        checkpointer, lacks("the order's number"), heavy(ORDER, plan(milestone("Find it by name."))), ask_user=False
    )
    output = session.go(ASKED)
    assert (output["status"], len(session.planner.asked)) == ("completed", 3)
