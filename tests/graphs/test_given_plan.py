"""A plan can be given instead of asked for; where it pins everything, the run makes no model call at all."""

import json
from typing import Any

import pytest
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from plan_execute.agent.nodes.given_plan import export_plan
from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from tests.fakes import Answer, Asked, ScriptedModel, heavy, milestone, plan, report, synthesis

GIVEN: dict[str, Any] = {
    "strategy": "Count, then report for $input.country.",
    "requirements": ["The number for $input.country is told."],
    "answer": "$input.country has $count.n; $double.n is twice that.",
    "milestones": [
        {
            "id": "count",
            "goal": "Count for $input.country.",
            "calls": [{"tool": "count", "args": {"country": "$input.country", "sql": "c = '$input.country'"}}],
            "yields": [{"name": "n", "kind": "integer", "path": "/0/n"}],
            "covers": [1],
        },
        {
            "id": "double",
            "goal": "Double it.",
            "calls": [{"tool": "double", "args": {"n": "$count.n"}}],
            "yields": [{"name": "n", "kind": "number", "path": ""}],
            "covers": [1],
        },
    ],
}


def tools_of(made: list[Any], **metadata: Any) -> list[BaseTool]:
    def count(country: str, sql: str = "") -> str:
        made.append((country, sql))
        return json.dumps([{"n": 21}])

    def double(n: float) -> str:
        made.append(n)
        return str(2 * n)

    counting = StructuredTool.from_function(
        count, name="count", description="Count.", metadata={"languages": {"sql": "sql"}}
    )
    return [counting, StructuredTool.from_function(double, name="double", description="Double.", metadata=metadata)]


def nobody(asked: Asked) -> Answer:
    raise AssertionError("no model should be asked")


def agent_of(made: list[Any], *, checkpointer: Any = None, metadata: Any = None, **context: Any) -> Any:
    model = ScriptedModel(nobody)
    return create_plan_execute_agent(
        model, model, tools_of(made, **(metadata or {})), context=context, checkpointer=checkpointer
    )


CONFIG: Any = {"configurable": {"thread_id": "1"}}
RUN: dict[str, Any] = {"messages": [], "plan": GIVEN, "inputs": {"country": "Côte d'Ivoire"}}


@pytest.mark.parametrize("request_", [[], [{"role": "user", "content": "How many?"}]])
def test_pinned_plan_runs_without_a_model(request_: list[Any]) -> None:
    made: list[Any] = []
    output = agent_of(made).invoke({**RUN, "messages": request_})
    assert output["status"] == "completed", output["error"]
    assert output["answer"] == "Côte d'Ivoire has 21; 42 is twice that."
    assert output["messages"][-1].text == output["answer"]
    assert made == [("Côte d'Ivoire", "c = 'Côte d''Ivoire'"), 21.0]
    assert sum(usage["calls"] for usage in output["usage"].values()) == 0
    assert output["milestones"]["m1"]["goal"] == "Count for Côte d'Ivoire."
    assert [r["met"] for r in output["plan"]["requirements"]] == [True]
    assert output["plan"]["requirements"][0]["text"] == "The number for Côte d'Ivoire is told."


async def test_it_runs_in_async_code_and_streams_its_answer() -> None:
    made: list[Any] = []
    events = [event async for event in agent_of(made).astream(RUN, stream_mode="custom")]
    assert events[-1]["type"] == "answer"
    assert events[-1]["answer"].startswith("Côte d'Ivoire has 21")


def test_it_needs_no_model_to_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = create_plan_execute_agent("openai:gpt-5", tools=tools_of([]))
    assert agent.invoke(RUN)["status"] == "completed"  # type: ignore[call-overload]


def test_next_request_on_the_thread_is_planned_as_ever() -> None:
    made: list[Any] = []
    saver = InMemorySaver()
    agent_of(made, checkpointer=saver).invoke(RUN, CONFIG)
    planner = heavy(plan(answer="Hello."))
    agent: Any = create_plan_execute_agent(planner, tools=tools_of(made), checkpointer=saver)
    output = agent.invoke({"messages": [{"role": "user", "content": "Hi."}]}, CONFIG)
    assert output["answer"] == "Hello."
    assert len(planner.asked) == 1


BAD: list[tuple[dict[str, Any], str]] = [
    ({"inputs": {}}, "needs the input 'country'"),
    ({"inputs": {"country": "x", "contry": "y"}}, "no input 'contry': did you mean 'country'"),
    ({"plan": {"milestones": []}, "inputs": {}}, "no milestones"),
    ({"plan": "count", "inputs": {}}, "The given plan cannot be used"),
    ({"plan": {"milestones": [{"id": "x"}]}, "inputs": {}}, "milestones.0.goal"),
    ({"plan": {**GIVEN, "answer": "$count.total"}}, "'count' yields: n"),
    ({"inputs": {"country": 5}}, "country"),
    ({"plan": {**GIVEN, "milestones": [{**GIVEN["milestones"][0], "tools": ["fly"]}]}}, "unknown tool 'fly'"),
]


@pytest.mark.parametrize(("wrong", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_plan_or_input_gets_one_sentence(wrong: dict[str, Any], said: str) -> None:
    made: list[Any] = []
    output = agent_of(made).invoke({**RUN, **wrong})
    assert (output["status"], output["error"]["code"]) == ("aborted", "plan_invalid")
    assert said in output["error"]["message"]
    assert made == []


def test_review_and_approval_work_as_ever_and_the_answer_survives_an_edit() -> None:
    made: list[Any] = []
    agent = agent_of(
        made,
        checkpointer=InMemorySaver(),
        metadata={"effect": "effect"},
        review="first",
        approve_tools=("double",),
    )
    waiting = agent.invoke(RUN, CONFIG)["__interrupt__"][0].value["action_requests"][0]
    assert waiting["name"] == "review_plan"
    edited = json.loads(json.dumps(waiting["args"]))
    edited["answer"] = "It is $m1.n."
    edit = {"type": "edit", "edited_action": {"name": "review_plan", "args": edited}}
    asked = agent.invoke(Command(resume={"decisions": [edit]}), CONFIG)["__interrupt__"]
    waiting = asked[0].value["action_requests"][0]
    assert (waiting["name"], waiting["args"]) == ("double", {"n": 21})
    output = agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), CONFIG)
    assert (output["status"], output["answer"]) == ("completed", "It is 21.")


def test_plan_that_fails_is_planned_again() -> None:
    made: list[Any] = []

    def fail(country: str, sql: str = "") -> str:
        raise ValueError("no such table")

    broken = StructuredTool.from_function(fail, name="count", description="Count.")
    planner = heavy(plan(milestone("Look.", tools=["double"]), requirements=[]), end=synthesis("At last."))
    light = ScriptedModel(
        lambda asked: (
            report("done", "failed" if "Count" in asked.text else "succeeded")
            if any(m.type == "tool" for m in asked.messages)
            else report("no", "failed")
            if "Count" in asked.text
            else _double()
        )
    )
    agent: Any = create_plan_execute_agent(planner, light, [broken, tools_of(made)[1]])
    output = agent.invoke(RUN)
    assert output["status"] == "completed", output["error"]
    assert output["answer"] == "At last."
    assert output["plan"]["revision"] == 2


def _double() -> Answer:
    from tests.fakes import tool_call

    return tool_call("double", {"n": 1})


def test_budget_holds_for_a_given_plan() -> None:
    output = agent_of([], budget={"seconds": 1e-9}).invoke(RUN)
    assert (output["status"], output["error"]["code"]) == ("partial", "budget")


def test_exported_plan_can_be_given_again() -> None:
    made: list[Any] = []
    with open_checkpointer("memory") as saver:
        agent = agent_of(made, checkpointer=saver)
        agent.invoke(RUN, CONFIG)
        exported = export_plan(agent.get_state(CONFIG).values)
    assert exported["milestones"][1]["calls"] == [{"tool": "double", "args": {"n": "$m1.n"}}]
    assert exported["milestones"][1]["yields"] == [{"name": "n", "kind": "number", "path": ""}]
    again = agent_of(made).invoke({"plan": exported})
    assert again["answer"] == "Côte d'Ivoire has 21; 42 is twice that."
    assert made[:2] == made[2:]


def test_plan_with_a_milestone_for_a_model_asks_models_for_what_it_needs() -> None:
    given = {**GIVEN, "milestones": [GIVEN["milestones"][0], {"id": "double", "goal": "Say it.", "covers": [1]}]}
    given["answer"] = None
    light = ScriptedModel([report("said")])
    heavy_model = heavy(plan(), end=synthesis("Said."))
    agent: Any = create_plan_execute_agent(heavy_model, light, tools_of([]))
    output = agent.invoke({"plan": given, "inputs": {"country": "x"}})
    assert (output["status"], output["answer"]) == ("completed", "Said.")
    assert [asked.tools for asked in heavy_model.asked] == [["Synthesis"]]
