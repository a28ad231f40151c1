"""A person reviews the plan before it runs, on every checkpointer."""

import json
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
        **settings: Any,
    ) -> None:
        self.planner = planner
        self.executor = executor or ScriptedModel(diligent)
        self.agent = create_plan_execute_agent(
            planner, self.executor, [look_up], context={"review": review, **settings}, checkpointer=checkpointer
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
    assert {key: (m["goal"], m["status"]) for key, m in output["milestones"].items()} == {
        "m1": ("Find a.", "skipped"),
        "m2": ("Find b.", "completed"),
        "m3": ("Compare.", "completed"),
        "m4": ("Find c.", "completed"),
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
    assert "expected" in session.shown(session.agent.invoke(Command(resume=7), session.config))["description"]
    assert session.executor.asked == []
    assert session.answer("approve")["status"] == "completed"


def test_edit_that_changes_nothing_is_an_approval(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE))
    output = session.edit(**session.begin()["args"])
    assert (output["status"], output["plan"]["revision"]) == ("completed", 1)


def test_plan_rejected_without_a_reason_ends_the_run(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE))
    session.begin()
    output = session.answer("reject", message=" ")
    assert (output["status"], output["error"]["code"]) == ("aborted", "rejected")
    assert output["error"]["message"].startswith("The plan was rejected.")
    assert (len(session.planner.asked), session.executor.asked) == (1, [])


def test_plan_rejected_with_a_reason_is_made_anew_as_often_as_a_run_may_replan(
    checkpointer: BaseCheckpointSaver[Any],
) -> None:
    session = Session(checkpointer, heavy(THREE), max_replans=2)
    session.begin()
    assert session.answer("reject", message="Too expensive.")["name"] == "review_plan"
    assert "Too expensive." in session.planner.asked[-1].text
    assert session.answer("reject", message="Still too expensive.")["name"] == "review_plan"
    output = session.answer("reject", message="No.")
    assert (output["status"], output["error"]["code"], output["error"]["replans"]) == ("aborted", "rejected", 0)
    assert "No." in output["error"]["message"]
    assert (len(session.planner.asked), session.executor.asked) == (3, [])


def test_edit_keeps_the_ids_of_what_it_keeps_and_its_order(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE))
    first, second, last = session.begin()["args"]["milestones"]
    output = session.edit(milestones=[second, {**first, "goal": "Find A."}, last])
    assert [(key, m["goal"]) for key, m in output["milestones"].items()] == [
        ("m2", "Find b."),
        ("m1", "Find A."),
        ("m3", "Compare."),
    ]
    assert output["milestones"]["m3"]["depends_on"] == ["m1", "m2"]
    assert session.goals_run == ["Find b.", "Find A.", "Compare."]


def test_chat_shows_a_plan_as_text_that_can_be_edited(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE), client="chat")
    shown = session.begin()["args"]
    assert shown.keys() == {"plan"}
    assert "strategy: Step by step.\n" in shown["plan"]
    assert "- id: m1\n  goal: Find a.\n  done_when: it is known\n  tools: [look_up]\n  covers: [1]\n" in shown["plan"]
    assert "this is not YAML" in session.edit(plan="milestones: [")["description"]
    assert "unknown tool 'fly'" in session.edit(plan=shown["plan"].replace("look_up", "fly", 1))["description"]
    output = session.edit(plan=shown["plan"].replace("Find b.", "Find B."))
    assert (output["status"], output["plan"]["revision"]) == ("completed", 2)
    assert session.goals_run == ["Find a.", "Find B.", "Compare."]


def test_plan_as_text_that_was_not_changed_is_approved(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE), client="chat")
    output = session.edit(**session.begin()["args"])
    assert (output["status"], output["plan"]["revision"]) == ("completed", 1)


def test_list_that_a_form_made_a_text_of_is_read(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, heavy(THREE))
    args = {
        name: json.dumps(value) if isinstance(value, list) else value for name, value in session.begin()["args"].items()
    }
    output = session.edit(**{**args, "milestones": args["milestones"].replace("Find b.", "Find B.")})
    assert session.goals_run == ["Find a.", "Find B.", "Compare."]
    assert output["status"] == "completed"


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
