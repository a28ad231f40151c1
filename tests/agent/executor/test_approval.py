"""A person approves single tool calls, each with its exact arguments, on every checkpointer."""

import threading
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command

from plan_execute.agent import ConfigurationError
from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.fakes import Answer, Asked, ScriptedModel, diligent, goal_of, heavy, milestone, plan, report, tool_call

ASKED: Any = {"messages": [("user", "Pay what is due.")]}
TWO = plan(milestone("Pay a.", tools=["pay"]), milestone("Pay b.", tools=["pay"]))
CALL = {"payee": "a", "dollars": 10}


class Session:
    """One thread of a run in which every payment is approved; each answer is given to an agent built anew."""

    def __init__(self, checkpointer: BaseCheckpointSaver[Any], draft: dict[str, Any], **settings: Any) -> None:
        self.paid: list[tuple[str, int]] = []
        self.light = ScriptedModel(
            lambda asked: report() if asked.messages[-1].type == "tool" else tool_call("pay", CALL)
        )
        self.config: RunnableConfig = {"configurable": {"thread_id": str(uuid.uuid4())}}
        self._built = (heavy(draft), checkpointer, {"approve_tools": ["pay"], **settings})

    def go(self, given: Any, **more: Any) -> Any:
        return self._agent().invoke(given, self.config, durability="sync", **more)

    async def ago(self, given: Any, **more: Any) -> Any:
        return await self._agent().ainvoke(given, self.config, durability="sync", **more)

    def answer(self, kind: str, **more: Any) -> Any:
        return self.go(Command(resume={"decisions": [{"type": kind, **more}]}))

    def _agent(self) -> PlanExecuteAgent:
        planner, checkpointer, settings = self._built
        return create_plan_execute_agent(
            planner, self.light, [self._tool()], checkpointer=checkpointer, context=settings
        )

    def _tool(self) -> BaseTool:
        @tool
        def pay(payee: str, dollars: int) -> str:
            """Pay somebody."""
            self.paid.append((payee, dollars))
            return f"paid {payee}"

        pay.metadata = {"effect": "effect"}
        return pay


ONE = plan(milestone("Pay a.", tools=["pay"]))


def shown(output: Any) -> dict[str, Any]:
    """The action a person is asked to judge."""
    (action,) = output["__interrupt__"][0].value["action_requests"]
    return dict(action)


def test_nothing_is_called_before_it_is_approved(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, ONE)
    waiting = session.go(ASKED)
    assert (shown(waiting)["name"], shown(waiting)["args"]) == ("pay", CALL)
    assert "Pay a." in shown(waiting)["description"]
    assert waiting["__interrupt__"][0].value["review_configs"] == [
        {"action_name": "pay", "allowed_decisions": ["approve", "edit", "reject", "respond"]}
    ]
    assert session.paid == []
    output = session.answer("approve")
    assert (output["status"], session.paid) == ("completed", [("a", 10)])
    assert output["milestones"]["m1"]["tool_calls"][0]["verdict"] == "approve"


def test_every_call_is_approved_by_itself(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, TWO)
    session.go(ASKED)
    waiting = session.answer("approve")
    assert session.paid == [("a", 10)]
    assert "Pay b." in shown(waiting)["description"]
    assert session.answer("approve")["status"] == "completed"
    assert session.paid == [("a", 10), ("a", 10)]


def pays_twice(asked: Asked) -> Answer:
    """An executor that pays a, then b."""
    paid = sum(message.type == "tool" for message in asked.messages)
    return report() if paid == 2 else tool_call("pay", {"payee": "ab"[paid], "dollars": 10})


def test_approval_is_used_up_by_its_call(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, ONE)
    session.light = ScriptedModel(pays_twice)
    session.go(ASKED)
    assert shown(session.answer("approve"))["args"]["payee"] == "b"
    assert shown(session.go(None))["args"]["payee"] == "b"
    assert session.paid == [("a", 10)]
    assert session.answer("approve")["status"] == "completed"
    assert session.paid == [("a", 10), ("b", 10)]


async def test_approval_is_used_up_by_its_call_in_async_too(threads_url: str) -> None:
    async with open_checkpointer(threads_url) as saver:
        session = Session(saver, ONE)
        session.light = ScriptedModel(pays_twice)
        await session.ago(ASKED)
        await session.ago(Command(resume={"decisions": [{"type": "approve"}]}))
        assert shown(await session.ago(None))["args"]["payee"] == "b"
        assert session.paid == [("a", 10)]


class Watched(InMemorySaver):
    """A checkpointer that tells when a question to a person has been kept."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        super().put_writes(config, writes, task_id, task_path)
        if any(channel == "__interrupt__" for channel, _ in writes):
            self.asked.set()


@pytest.mark.parametrize("_chance", range(8))  # which of the two comes first is not ours to say
def test_answer_to_one_milestone_is_not_taken_by_another_that_had_not_asked(_chance: int) -> None:
    saver, control = Watched(), RunControl()
    session = Session(saver, TWO, max_parallel=2)

    def pay(asked: Asked) -> Answer:
        payee = goal_of(asked)[4]
        if payee == "a":
            assert saver.asked.wait(60)  # until b waits; then the run stops before a is to be paid
            control.request_drain()
        return report() if asked.messages[-1].type == "tool" else tool_call("pay", {"payee": payee, "dollars": 10})

    session.light = ScriptedModel(pay)
    with pytest.raises(GraphDrained):
        session.go(ASKED, control=control)
    output = session.answer("approve")
    assert session.paid == [("b", 10)]
    assert shown(output)["args"]["payee"] == "a"


@pytest.mark.parametrize("given", [Command(resume={"decisions": [{"type": "reject"}]}), None])
def test_question_stands_when_the_setting_behind_it_is_gone(
    checkpointer: BaseCheckpointSaver[Any], given: Command[Any] | None
) -> None:
    session, control = Session(checkpointer, ONE, approve_tools=[], max_replans=0), RunControl()

    def pay_and_stop(asked: Asked) -> Answer:
        control.request_drain()
        return report() if asked.messages[-1].type == "tool" else tool_call("pay", CALL)

    session.light = ScriptedModel(pay_and_stop)
    with pytest.raises(GraphDrained):
        session.go(ASKED, control=control)
    assert shown(session.go(None, context={"approve_tools": ["pay"]}))["args"] == CALL
    output = session.go(given)
    assert session.paid == []
    if given is None:
        assert shown(output)["args"] == CALL
    else:
        assert output["milestones"]["m1"]["tool_calls"][0]["verdict"] == "reject"


def test_edited_call_is_made_as_edited_and_the_model_is_told(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, ONE)
    session.go(ASKED)
    output = session.answer("edit", edited_action={"name": "pay", "args": {"payee": "b", "dollars": 5}})
    assert (output["status"], session.paid) == ("completed", [("b", 5)])
    told = session.light.asked[-1].messages[-1].text
    assert 'A person changed this call on purpose; it was made with {"payee": "b", "dollars": 5}.' in told
    assert "paid b" in told
    (call,) = output["milestones"]["m1"]["tool_calls"]
    assert (call["args"], call["verdict"]) == ({"payee": "b", "dollars": 5}, "edit")


@pytest.mark.parametrize(
    ("edited", "why"),
    [
        ({"name": "pay", "args": {"payee": "b", "dollars": "many"}}, "dollars: Input should be a valid integer"),
        ({"name": "pay", "args": {"payee": "b", "dollars": 5, "euros": 5}}, "there is no argument 'euros'"),
        ({"name": "pay", "args": {"payee": "b"}}, "dollars: Field required"),
        ({"name": "pay", "args": "b, 5"}, "'args' was 'b, 5'"),
        ({"name": "refund", "args": CALL}, "not the tool"),
    ],
)
def test_edit_that_will_not_do_is_asked_for_again_with_the_reason(
    checkpointer: BaseCheckpointSaver[Any], edited: dict[str, Any], why: str
) -> None:
    session = Session(checkpointer, ONE)
    session.go(ASKED)
    waiting = session.answer("edit", edited_action=edited)
    assert why in shown(waiting)["description"]
    assert shown(waiting)["args"] == CALL
    assert session.paid == []
    assert session.answer("approve")["status"] == "completed"


def test_rejected_call_is_not_made_and_the_model_hears_why(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, ONE, max_replans=0)
    session.go(ASKED)
    output = session.answer("reject", message="He is paid already.")
    assert session.paid == []
    assert "rejected it: He is paid already." in session.light.asked[1].messages[-1].text
    assert output["status"] == "aborted"
    (call,) = output["milestones"]["m1"]["tool_calls"]
    assert (call["ok"], call["code"], call["verdict"]) == (False, "permission", "reject")


def test_response_stands_in_for_the_tools_answer(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, ONE)
    session.go(ASKED)
    output = session.answer("respond", message="I paid him in cash.")
    assert session.paid == []
    assert session.light.asked[-1].messages[-1].text == "I paid him in cash."
    assert output["status"] == "completed"


def test_calls_of_milestones_side_by_side_are_approved_each_by_its_id(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, TWO, max_parallel=2)
    waiting = session.go(ASKED)["__interrupt__"]
    assert len(waiting) == 2
    first, second = ({"decisions": [{"type": kind}]} for kind in ("approve", "reject"))
    by_goal = {w.value["action_requests"][0]["description"].split("(")[1][:6]: w.id for w in waiting}
    session.go(Command(resume={by_goal["Pay a."]: first, by_goal["Pay b."]: second}))
    assert session.paid == [("a", 10)]


def test_other_tools_are_not_asked_about(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, ONE, approve_tools=[])
    assert session.go(ASKED)["status"] == "completed"


def test_unknown_tool_to_approve_is_refused_before_anything_runs(checkpointer: BaseCheckpointSaver[Any]) -> None:
    session = Session(checkpointer, ONE, approve_tools=["pya"])
    with pytest.raises(ConfigurationError, match="Unknown tool 'pya' in 'approve_tools': did you mean 'pay'"):
        session.go(ASKED)
    assert session.light.asked == []


async def test_unknown_tool_named_on_a_resume_leaves_the_run_waiting(threads_url: str) -> None:
    async with open_checkpointer(threads_url) as saver:
        session = Session(saver, ONE)
        await session.ago(ASKED)
        with pytest.raises(ConfigurationError, match="Unknown tool 'pya'"):
            await session.ago(None, context={"approve_tools": ["pya"]})
        assert shown(await session.ago(None))["description"].startswith("m1 (Pay a.)")
        session = Session(InMemorySaver(), ONE)
        session.go(ASKED)
        with pytest.raises(ConfigurationError, match="Unknown tool 'pya'"):
            session.go(None, context={"approve_tools": ["pya"]})
        assert shown(session.go(None))["description"].startswith("m1 (Pay a.)")


@pytest.mark.parametrize("settings", [{"review": "first"}, {"approve_tools": ["look_up"]}, {"ask_user": True}])
def test_asking_a_person_needs_a_checkpointer(settings: dict[str, Any]) -> None:
    @tool
    def look_up(subject: str) -> str:
        """Look a subject up."""
        return subject

    planner = heavy(plan(milestone("Find a.")))
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up], context=settings)
    with pytest.raises(ConfigurationError, match=f"'{next(iter(settings))}' needs a checkpointer"):
        agent.invoke(ASKED)
    assert planner.asked == []
