"""Models that break the rules of the protocol: ids repeated or missing, the same object again, odd overrides."""

from typing import Any

import pytest
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, RemoveMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from plan_execute.agent.state import Brief, PlanExecuteInput
from plan_execute.graphs import create_executor, create_plan_execute_agent
from tests.fakes import (
    Answer,
    Asked,
    ScriptedModel,
    diligent,
    goal_of,
    heavy,
    milestone,
    plan,
    report,
    synthesis,
    tool_call,
)

ASKED: PlanExecuteInput = {"messages": [{"role": "user", "content": "Do it."}]}
ran: list[str] = []


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    ran.append(subject)
    return f"about {subject}"


def carry_out(model: ScriptedModel, **context: Any) -> dict[str, Any]:
    ran.clear()
    executor = create_executor(model, [look_up], context=context)
    outcome: dict[str, Any] = executor.invoke({"brief": Brief(goal="Find x.", tools=["look_up"])})["milestones"]["m1"]
    return outcome


def call(identity: str | None, **args: Any) -> Any:
    return {"name": "look_up", "args": args, "id": identity}


def test_message_with_the_same_id_each_time_does_not_fool_the_limits() -> None:
    model = ScriptedModel([AIMessage("", id="1", tool_calls=[call("call_0", subject="x")])], copies=False)
    outcome = carry_out(model, max_model_calls=6)
    assert outcome["failure"]["code"] == "limit"
    assert len(model.asked) <= 6
    assert ran == ["x"] * 3


def test_middleware_that_takes_messages_away_does_not_reset_the_limits() -> None:
    class Forget(AgentMiddleware[Any, Any]):
        """Keeps the brief and the last exchange."""

        def before_model(self, state: Any, runtime: Any) -> dict[str, Any]:
            return {"messages": [RemoveMessage(m.id) for m in state["messages"][2:-2]]}

    model = ScriptedModel(lambda asked: tool_call("look_up", {"subject": str(len(model.asked))}))
    executor = create_executor(model, [look_up], context={"max_model_calls": 6}, middleware=[Forget()])
    outcome = executor.invoke({"brief": Brief(goal="Find x.", tools=["look_up"])})["milestones"]["m1"]
    assert outcome["status"] == "failed"
    assert len(model.asked) <= 6


def test_calls_with_one_id_do_not_fool_the_limits() -> None:
    many = AIMessage("", tool_calls=[call("x", subject=str(n)) for n in range(9)])
    carry_out(ScriptedModel([many, report("read")]), max_tool_calls=3)
    assert len(ran) == 3


def test_call_without_an_id_is_answered() -> None:
    assert (
        carry_out(ScriptedModel([AIMessage("", tool_calls=[call(None, subject="x")]), report("read")]))["result"]
        == "read"
    )


def test_integers_beyond_64_bits_can_be_stored() -> None:
    huge = AIMessage("", tool_calls=[call("1", subject="x", more=10**30)])
    agent = create_plan_execute_agent(
        heavy(plan(milestone("a"))), ScriptedModel([huge, report("read")]), [look_up], checkpointer=InMemorySaver()
    )
    assert agent.invoke(ASKED, {"configurable": {"thread_id": "1"}})["status"] == "completed"


@pytest.mark.parametrize("steps", [25, 40])
def test_recursion_limit_inside_a_milestone_ends_in_a_status(steps: int) -> None:
    def endless(asked: Asked) -> Answer:
        if asked.tools == ["MilestoneReport"]:
            return report("so far", "failed")
        return tool_call("look_up", {"subject": str(len(asked.messages))})

    agent = create_plan_execute_agent(
        heavy(plan(milestone("a"))), ScriptedModel(endless), [look_up], context={"max_tool_calls": 50, "max_replans": 0}
    )
    assert agent.invoke(ASKED, {"recursion_limit": steps})["status"] in {"partial", "aborted"}


@pytest.mark.parametrize("said", ['{"a":' * 5_000, '{"strategy": [' * 500, "x{" * 200_000])
def test_text_nested_beyond_reason_is_no_plan(said: str) -> None:
    output = create_plan_execute_agent(heavy(said), heavy(said)).invoke(ASKED)
    assert (output["status"], output["error"]["code"]) == ("aborted", "plan_unparsable")


def test_thoughts_are_no_plan() -> None:
    thought = (
        '<think>maybe {"answer": "draft"}</think>{"strategy": "s", "milestones": [{"goal": "a", "tools": ["look_up"]}]}'
    )
    agent = create_plan_execute_agent(heavy(thought), ScriptedModel(diligent), [look_up])
    assert agent.invoke(ASKED)["milestones"]["m1"]["status"] == "completed"


@pytest.mark.parametrize("answer", ["", "  ", "null", "None"])
def test_answer_that_says_nothing_is_no_answer(answer: str) -> None:
    output = create_plan_execute_agent(heavy({"answer": answer, "strategy": "s"}), heavy("")).invoke(ASKED)
    assert (output["status"], output["error"]["code"]) == ("aborted", "plan_invalid")
    output = create_plan_execute_agent(
        heavy(plan(milestone("a")), end=synthesis(" ")), ScriptedModel(diligent), [look_up]
    ).invoke(ASKED)
    assert output["error"]["code"] == "synthesis_failed"


def test_worse_of_two_verdicts_counts() -> None:
    verdicts = [{"number": 1, "met": False}, {"number": 1, "met": True}]
    planner = heavy(plan(milestone("a")), end={"answer": "Yes.", "requirements": verdicts})
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up], context={"max_replans": 0})
    assert agent.invoke(ASKED)["status"] == "partial"


class OwnWords(ScriptedModel):
    """Structured output of somebody's own: it takes a schema and gives the data."""

    def __init__(self) -> None:
        super().__init__([])

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise TypeError("unexpected keyword")
        return RunnableLambda(lambda _: plan(milestone("a")) if schema.__name__ == "PlanDraft" else synthesis())


def test_structured_output_of_somebodys_own_is_taken() -> None:
    agent = create_plan_execute_agent(OwnWords(), ScriptedModel(diligent), [look_up])
    assert agent.invoke(ASKED)["status"] == "completed"


def test_surprise_beside_a_transient_failure_is_not_lost() -> None:
    tries: list[str] = []

    def answer(asked: Asked) -> Answer:
        goal = goal_of(asked)
        if goal == "b" and not tries:
            tries.append(goal)
            return TimeoutError("slow")
        if goal == "a" and any(message.type == "tool" for message in asked.messages):
            return report("found", surprise="the shop has closed")
        return diligent(asked)

    planner = heavy(plan(milestone("a"), milestone("b"), milestone("c")), plan(milestone("d"), requirements=[]))
    agent = create_plan_execute_agent(planner, ScriptedModel(answer), [look_up], context={"max_parallel": 2})
    assert agent.invoke(ASKED)["status"] == "completed"
    assert any("the shop has closed" in asked.text for asked in planner.asked)


def test_partial_end_names_what_is_unmet() -> None:
    draft = plan(milestone("a", covers=[1]), milestone("b", covers=[2]), requirements=["One.", "Two."])
    executor = ScriptedModel(lambda asked: report("no", "failed") if goal_of(asked) == "b" else diligent(asked))
    output = create_plan_execute_agent(heavy(draft, "I cannot."), executor, [look_up]).invoke(ASKED)
    assert (output["status"], output["error"]["code"]) == ("partial", "plan_unparsable")
    assert "Unmet: 2. Two." in output["error"]["message"]
