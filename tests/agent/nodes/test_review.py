"""A person reviews the plan before it runs, on every checkpointer."""

import uuid
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from plan_execute.graphs import create_plan_execute_agent
from tests.fakes import (
    Answer,
    Asked,
    ScriptedModel,
    call,
    diligent,
    direct,
    goal_of,
    heavy,
    milestone,
    plan,
    report,
    wanted,
)

ASKED: Any = {"messages": [("user", "What do a and b have in common?")]}
THREE = plan(milestone("Find a."), milestone("Find b."), milestone("Compare.", depends_on=["m1", "m2"]))


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


class Session:
    """One thread of a reviewed run."""

    def __init__(
        self,
        checkpointer: BaseCheckpointSaver[Any],
        planner: ScriptedModel,
        executor: ScriptedModel | None = None,
        review: str = "first",
    ) -> None:
        self.planner = planner
        self.executor = executor or ScriptedModel(diligent)
        self.agent = create_plan_execute_agent(
            planner, self.executor, [look_up], context={"review": review}, checkpointer=checkpointer
        )
        self.config: RunnableConfig = {"configurable": {"thread_id": str(uuid.uuid4())}}

    def begin(self) -> dict[str, Any]:
        """Ask; what comes back is what the person is shown."""
        return self.shown(self.agent.invoke(ASKED, self.config, durability="sync"))

    def answer(self, kind: str, **more: Any) -> dict[str, Any]:
        """Answer; what comes back is the output, or what the person is shown next."""
        given: Any = Command(resume={"decisions": [{"type": kind, **more}]})
        return self.shown(self.agent.invoke(given, self.config, durability="sync"))

    def edit(self, **changes: Any) -> dict[str, Any]:
        """Answer with an edited plan."""
        return self.answer("edit", edited_action={"name": "review_plan", "args": changes})

    @staticmethod
    def shown(output: Any) -> dict[str, Any]:
        waits = output.get("__interrupt__")
        shown: dict[str, Any] = waits[0].value["action_requests"][0] if waits else output
        return shown

    @property
    def goals_run(self) -> list[str]:
        """Goals in the order their first call was made."""
        return list(dict.fromkeys(goal_of(asked) for asked in self.executor.asked))


def test_nothing_runs_before_the_plan_is_approved(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE))
    shown = session.begin()
    assert shown["name"] == "review_plan"
    assert [m["goal"] for m in shown["args"]["milestones"]] == ["Find a.", "Find b.", "Compare."]
    assert session.executor.asked == []
    output = session.answer("approve")
    assert output["status"] == "completed"
    assert session.goals_run == ["Find a.", "Find b.", "Compare."]
    assert len(session.planner.asked) == 2


def test_question_has_the_shape_that_agent_chat_ui_shows_as_a_form(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE))
    session.begin()
    (waiting,) = session.agent.get_state(session.config).interrupts
    assert waiting.value["review_configs"] == [
        {"action_name": "review_plan", "allowed_decisions": ["approve", "edit", "reject", "respond"]}
    ]
    assert waiting.value["action_requests"][0].keys() == {"name", "args", "description"}


def test_edited_plan_is_what_runs(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE))
    first, second, last = session.begin()["args"]["milestones"]
    added = {"id": "new", "goal": "Find c.", "done_when": "", "tools": ["look_up"], "covers": [1]}
    output = session.edit(milestones=[second, {**last, "depends_on": [second["id"], "new"]}, added])
    assert output["status"] == "completed"
    assert session.goals_run == ["Find b.", "Find c.", "Compare."]
    assert {m["goal"]: m["status"] for m in output["milestones"].values() if m["status"] == "skipped"} == {
        "Find a.": "skipped",
        "Find b.": "skipped",
        "Compare.": "skipped",
    }
    assert output["plan"]["revision"] == 2
    assert len(session.planner.asked) == 2
    assert first["goal"] == "Find a."


def test_edit_that_will_not_do_is_asked_for_again_with_the_reason(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE))
    milestones = session.begin()["args"]["milestones"]
    wrong = [{**milestones[0], "tools": ["fly"]}]
    assert "unknown tool 'fly'" in session.edit(milestones=wrong)["description"]
    assert "at least one milestone" in session.edit(milestones=[])["description"]
    assert "expected" in session.shown(session.agent.invoke(Command(resume="yes, go"), session.config))["description"]
    assert session.executor.asked == []
    assert session.answer("approve")["status"] == "completed"


def test_edit_that_changes_nothing_is_an_approval(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE))
    output = session.edit(**session.begin()["args"])
    assert (output["status"], output["plan"]["revision"]) == ("completed", 1)


def test_rejected_plan_ends_the_run_with_the_reason(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE))
    session.begin()
    output = session.answer("reject", message="Too expensive.")
    assert (output["status"], output["error"]["code"]) == ("aborted", "rejected")
    assert "Too expensive." in output["error"]["message"]
    assert session.executor.asked == []


def test_comment_goes_back_to_the_planner_and_its_next_plan_is_shown(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE, plan(milestone("Find only b."))))
    session.begin()
    shown = session.answer("respond", message="Leave a out.")
    assert "Leave a out." in session.planner.asked[1].text
    assert [m["goal"] for m in shown["args"]["milestones"]] == ["Find only b."]
    output = session.answer("approve")
    assert (output["status"], session.goals_run) == ("completed", ["Find only b."])
    assert output["error"] is None


def failing_once() -> ScriptedModel:
    def answer(asked: Asked) -> Answer:
        return report("in vain", "failed") if goal_of(asked) == "Find b." else diligent(asked)

    return ScriptedModel(answer)


@pytest.mark.parametrize(("review", "questions"), [("never", 0), ("first", 1), ("every", 2)])
def test_revision_is_new_evidence(checkpointer: BaseCheckpointSaver[Any], review: str, questions: int) -> None:
    session = Session(checkpointer, heavy(THREE, plan(milestone("Guess b."))), failing_once(), review)
    output, asked = session.begin(), 0
    while "args" in output:
        output, asked = session.answer("approve"), asked + 1
    assert (output["status"], asked) == ("completed", questions)


def test_work_that_was_approved_as_it_is_is_not_asked_about_again(checkpointer: BaseCheckpointSaver[Any]) -> None:
    attempts = []

    def failing_at_first(asked: Asked) -> Answer:
        attempts.append(asked)
        return report("in vain", "failed") if len(attempts) == 1 else diligent(asked)

    same = plan(milestone("Find b."))
    session = Session(checkpointer, heavy(same, same), ScriptedModel(failing_at_first), review="every")
    session.begin()
    output = session.answer("approve")
    assert (output["status"], output["plan"]["revision"]) == ("completed", 2)
    log = session.agent.get_state(session.config).values["log"]
    assert [entry["reason"] for entry in log if entry["type"] == "plan_reviewed"] == ["approved", "approved before"]


@pytest.mark.parametrize(
    "changed", [{"calls": [call("look_up", subject="b")]}, {"yields": [wanted("x", "number", "/0")]}], ids=str
)
def test_plan_that_changes_only_what_is_pinned_is_asked_about_again(
    checkpointer: BaseCheckpointSaver[Any], changed: dict[str, Any]
) -> None:
    first = direct("Find b.", call("look_up", subject="a"), yields=[wanted("x", "text", "/0")])
    failing = ScriptedModel([report("in vain", "failed")])
    session = Session(checkpointer, heavy(plan(first), plan({**first, **changed})), failing, review="every")
    assert "look_up({" in session.begin()["description"]
    assert session.answer("approve").get("name") == "review_plan"


def test_edit_that_leaves_only_finished_work_goes_to_the_answer(checkpointer: BaseCheckpointSaver[Any]) -> None:
    def fails_at_b(asked: Asked) -> Answer:
        return report("in vain", "failed") if goal_of(asked) == "Find b." else diligent(asked)

    planner = heavy(THREE, plan(milestone("Find c.")))
    session = Session(checkpointer, planner, ScriptedModel(fails_at_b), review="every")
    session.begin()
    session.answer("approve")
    output = session.edit(milestones=[milestone("Find a.", id="m1")])
    assert (output["status"], output["answer"]) == ("completed", "The answer.")
    assert session.goals_run == ["Find a.", "Find b."]
