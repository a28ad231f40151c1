"""Milestones whose calls the plan pins are run by code; what a plan pins and yields holds."""

import asyncio
import json
import threading
from typing import Any

import pytest
from langchain_core.tools import BaseTool, StructuredTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from plan_execute.agent.state import Brief, PlanExecuteInput
from plan_execute.graphs import create_executor, create_plan_execute_agent
from tests.fakes import Answer, Asked, ScriptedModel, call, direct, heavy, milestone, plan, report, tool_call, wanted

ASKED: PlanExecuteInput = {"messages": [{"role": "user", "content": "Pay what we owe."}]}
ROWS = [{"total": 52.5, "name": "Ada O'Hara"}, {"total": 7, "name": "Max"}]


@tool
def query(sql: str) -> str:
    """Query the table of bills."""
    return json.dumps(ROWS)


query.metadata = {"languages": {"sql": "sql"}}


def recorder(made: list[Any], name: str = "pay", **metadata: Any) -> BaseTool:
    """A tool that remembers its calls."""

    def remember(amount: float, to: str = "") -> str:
        made.append((amount, to))
        return json.dumps({"paid": amount})

    return StructuredTool.from_function(remember, name=name, description="Pay.", metadata=metadata)


def unused(asked: Asked) -> Answer:
    raise AssertionError(f"no model should be asked: {asked.text}")


def run(draft: Any, tools: list[Any], light: Any = unused, **context: Any) -> Any:
    executor = light if isinstance(light, ScriptedModel) else ScriptedModel(light)
    agent = create_plan_execute_agent(heavy(draft), executor, tools, context=context)
    return agent.invoke(ASKED)


LOOK = direct("Look.", call("query", sql="select 1"), yields=[wanted("total", "number", "/0/total")])


def test_pinned_calls_are_made_without_a_model_and_values_go_from_one_to_the_next() -> None:
    made: list[Any] = []
    pay = direct("Pay.", call("pay", amount="$m1.total", to="us, for $m1.total"), depends_on=["m1"])
    output = run(plan(LOOK, pay), [query, recorder(made, effect="effect")])
    assert output["status"] == "completed", output["error"]
    assert made == [(52.5, "us, for 52.5")]
    assert output["milestones"]["m1"]["values"] == {"total": 52.5}
    assert output["usage"]["executor"]["calls"] == 0
    assert [m["usage"]["executor"]["calls"] for m in output["milestones"].values()] == [0, 0]
    assert [c["effect"] for c in output["milestones"]["m2"]["tool_calls"]] == [True]


@pytest.mark.parametrize(
    ("own", "amount", "to", "paid"),
    [
        ("m1", "$done:m1.total", "", (52.5, "")),
        ("m7", "$m1.total", "${done:m1.total}5", (52.5, "52.55")),
        ("m1", 1, "$done:m1.total, $done:m9.total", (1, "52.5, $done:m9.total")),
    ],
)
@pytest.mark.parametrize("trust", ["open", "strict"])
def test_new_plan_refers_to_a_value_of_a_finished_milestone(
    trust: str, own: str, amount: object, to: str, paid: object
) -> None:
    made: list[Any] = []
    fail = milestone("Look again.", tools=["query"])
    again = direct("Look elsewhere.", call("query", sql="select 2"), yields=[wanted("total", "text", "/1/name")])
    pay = direct("Pay.", call("pay", amount=amount, to=to))
    planner = heavy(
        plan(LOOK, fail, direct("Tip.", call("pay", amount=7))),
        plan({**pay, "id": own}, {**again, "id": "m2"}, requirements=[]),
    )
    light = ScriptedModel([report("no", "failed")])
    tools = [query, recorder(made, effect="effect")]
    output = create_plan_execute_agent(planner, light, tools, context={"trust": trust}).invoke(ASKED)
    assert output["status"] == "completed", output["error"]
    assert made == [paid]
    assert output["milestones"]["m4"]["depends_on"] == ["m1"]


def test_dependency_on_a_milestone_whose_value_is_used_is_added() -> None:
    made: list[Any] = []
    pay = direct("Pay.", call("pay", amount="$m2.total"))
    output = run(plan(pay, {**LOOK, "id": "m2"}), [query, recorder(made)])
    assert output["milestones"]["m1"]["depends_on"] == ["m2"]
    assert made == [(52.5, "")]


def test_value_is_written_into_a_language_so_that_it_cannot_leave_its_place() -> None:
    asked: list[str] = []

    def remember(sql: str) -> str:
        asked.append(sql)
        return "[]"

    find = StructuredTool.from_function(
        remember, name="find", description="Find.", metadata={"languages": {"sql": "sql"}}
    )
    look = {**LOOK, "yields": [wanted("name", "text", "/0/name")]}
    output = run(plan(look, direct("Find.", call("find", sql="select * from t where n = '$m1.name'"))), [query, find])
    assert output["status"] == "completed"
    assert asked == ["select * from t where n = 'Ada O''Hara'"]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("number", "/0/total", 52.5),
        ("integer", "/1/total", 7),
        ("text", "/0/name", "Ada O'Hara"),
        ("choice", "/1/name", "max"),
        ("list[text]", "", [json.dumps(row) for row in ROWS]),
        ("text", "", json.dumps(ROWS)),
    ],
)
def test_values_are_read_from_the_result_by_json_pointer(kind: str, path: str, value: Any) -> None:
    look = {**LOOK, "yields": [wanted("it", kind, path, options=["max"] if kind == "choice" else [])]}
    assert run(plan(look), [query])["milestones"]["m1"]["values"] == {"it": value}


@pytest.mark.parametrize(("kind", "path"), [("number", "/7/total"), ("email", "/0/name"), ("integer", "/0/total")])
def test_value_that_is_not_there_is_a_models_work_in_open_trust_and_a_failure_in_strict(kind: str, path: str) -> None:
    look = {**LOOK, "yields": [wanted("it", kind, path)]}
    light = ScriptedModel([report("52.5", values=[{"name": "it", "value": "52.5"}])])
    output = run(plan(look), [query], light)
    assert output["milestones"]["m1"]["status"] == "completed"
    assert len(light.asked) > 0
    strict = run(plan(look), [query], trust="strict", max_replans=0)
    failure = strict["milestones"]["m1"]["failure"]
    assert failure is not None
    assert (strict["status"], failure["code"]) == ("aborted", "no_value")
    assert "Ada" not in failure["message"]


@pytest.mark.parametrize("trust", ["open", "strict"])
def test_value_without_a_path_is_read_by_a_model_that_has_no_tools(trust: str) -> None:
    names = [
        wanted("total", "number", "/0/total"),
        wanted("name", "choice", options=["Ada", "Max"]),
        wanted("x", "text"),
    ]
    said = [{"name": "name", "value": "ada"}, {"name": "x", "value": "y"}, {"name": "more", "value": "z"}]
    light = ScriptedModel([report("found", values=said)])
    output = run(plan({**LOOK, "yields": names}), [query], light, trust=trust)
    assert output["milestones"]["m1"]["values"] == {"total": 52.5, "name": "Ada", "x": "y"}
    assert [asked.tools for asked in light.asked] == [["MilestoneReport"]]
    assert "- name (choice: one of Ada, Max)\n- x (text)" in light.asked[0].text
    assert "total (number" not in light.asked[0].text


@pytest.mark.parametrize("trust", ["open", "strict"])
@pytest.mark.parametrize("values", [[], [{"name": "total", "value": "a lot"}]])
def test_value_that_a_model_leaves_out_is_asked_for_once(trust: str, values: list[Any]) -> None:
    yields = [wanted("total", "number"), wanted("name", "choice", options=["Ada", "Max"])]
    look = milestone("Look.", tools=["query"], yields=yields)
    found = report("found", values=values)
    light = ScriptedModel([tool_call("query", {"sql": "select 1"}), found, found])
    output = run(plan(look), [query], light, trust=trust, max_replans=0)
    assert "The value 'total' (number) cannot be passed on: it is" in light.asked[2].text
    assert "The value 'name' (choice: Ada, Max) cannot be passed on: it is missing." in light.asked[2].text
    assert len(light.asked) == 3
    assert output["milestones"]["m1"]["values"] == {}
    assert output["status"] == ("completed" if trust == "open" else "aborted")
    failure = output["milestones"]["m1"]["failure"]
    assert (failure["code"] if failure else None) == (None if trust == "open" else "no_value")


@pytest.mark.parametrize("trust", ["open", "strict"])
def test_model_that_reads_a_value_makes_no_call_that_would_change_another(trust: str) -> None:
    asked: list[str] = []

    def find(sql: str) -> str:
        asked.append(sql)
        return json.dumps([{"total": 52.5 if sql == "select 1" else 1_000_000}])

    source = StructuredTool.from_function(find, name="query", description="Query.")
    look = {**LOOK, "yields": [wanted("total", "number", "/0/total"), wanted("name", "text")]}
    light = ScriptedModel(
        [
            tool_call("query", {"sql": "select 2"}),
            tool_call("query", {"sql": "select 3"}),
            report("found", values=[{"name": "name", "value": "Ada"}]),
        ]
    )
    output = run(plan(look), [source], light, trust=trust)
    assert output["status"] == "completed", output["error"]
    assert asked == ["select 1"]
    assert output["milestones"]["m1"]["values"] == {"total": 52.5, "name": "Ada"}
    assert [asked.tools for asked in light.asked] == [["MilestoneReport"]] * 3
    assert [c["code"] for c in output["milestones"]["m1"]["tool_calls"]] == [None, "permission", "permission"]


def test_calls_that_only_read_are_made_at_once_others_one_by_one() -> None:
    meeting = threading.Barrier(2, timeout=20)
    order: list[str] = []

    def meet(subject: str) -> str:
        meeting.wait()
        order.append(f"read {subject}")
        return "met"

    def act(subject: str) -> str:
        order.append(f"begin {subject}")
        order.append(f"end {subject}")
        return "done"

    reader = StructuredTool.from_function(meet, name="meet", description="Meet.")
    actor = StructuredTool.from_function(act, name="act", description="Act.", metadata={"effect": "effect"})
    calls = [call("meet", subject="a"), call("meet", subject="b"), call("act", subject="c"), call("act", subject="d")]
    output = run(plan(direct("Meet and act.", *calls)), [reader, actor])
    assert output["status"] == "completed", output["error"]
    assert order[2:] == ["begin c", "end c", "begin d", "end d"]
    assert [c["tool"] for c in output["milestones"]["m1"]["tool_calls"]] == ["meet", "meet", "act", "act"]


async def test_calls_that_only_read_are_made_at_once_in_async_code() -> None:
    both = asyncio.Barrier(2)

    async def meet(subject: str) -> str:
        await asyncio.wait_for(both.wait(), 20)
        return "met"

    reader = StructuredTool.from_function(coroutine=meet, name="meet", description="Meet.")
    draft = plan(direct("Meet.", call("meet", subject="a"), call("meet", subject="b")))
    output = await create_plan_execute_agent(heavy(draft), ScriptedModel(unused), [reader]).ainvoke(ASKED)
    assert output["status"] == "completed"


def failing(errors: list[Exception], made: list[Any]) -> BaseTool:
    def look(subject: str) -> str:
        made.append(subject)
        if errors:
            raise errors.pop(0)
        return "fine"

    return StructuredTool.from_function(look, name="look_up", description="Look up.")


def test_value_is_read_from_a_call_that_stood_behind_a_report() -> None:
    look = milestone("Look.", tools=["query"], yields=[wanted("total", "number", "/0/total")])
    guess = {"status": "succeeded", "result": "guessed"}
    light = ScriptedModel(
        [
            report("guessed"),
            tool_call("MilestoneReport", guess, ("query", {"sql": "select 1"})),
            report("found"),
        ]
    )
    output = run(plan(look), [query], light)
    assert output["milestones"]["m1"]["values"] == {"total": 52.5}


def test_passing_failure_is_tried_again_without_a_model() -> None:
    made: list[Any] = []
    tool = failing([ConnectionError("reset")], made)
    output = run(plan(direct("Look.", call("look_up", subject="x"))), [tool])
    assert output["status"] == "completed", output["error"]
    assert made == ["x", "x"]
    assert output["milestones"]["m1"]["attempts"] == 2


def test_passing_failure_goes_to_a_model_on_the_last_attempt() -> None:
    made: list[Any] = []
    tool = failing([ConnectionError("reset"), ConnectionError("reset")], made)
    light = ScriptedModel([tool_call("look_up", {"subject": "y"}), report("fine")])
    output = run(plan(direct("Look.", call("look_up", subject="x"))), [tool], light)
    assert output["status"] == "completed", output["error"]
    assert (made, output["milestones"]["m1"]["attempts"]) == (["x", "x", "y"], 2)


@pytest.mark.parametrize("trust", ["open", "strict"])
def test_lasting_failure_goes_to_a_model_in_open_trust_and_to_the_planner_in_strict(trust: str) -> None:
    made: list[Any] = []
    tool = failing([ToolException("no such thing")], made)
    light = ScriptedModel([tool_call("look_up", {"subject": "y"}), report("fine")])
    output = run(plan(direct("Look.", call("look_up", subject="x"))), [tool], light, trust=trust, max_replans=0)
    assert made == (["x", "y"] if trust == "open" else ["x"])
    assert output["status"] == ("completed" if trust == "open" else "aborted")
    assert bool(light.asked) is (trust == "open")
    if trust == "strict":
        assert "no such thing" in output["milestones"]["m1"]["failure"]["message"]


def test_model_that_goes_on_after_a_failure_calls_a_tool_that_acts_only_as_pinned() -> None:
    made: list[Any] = []

    def pay(amount: float) -> str:
        made.append(amount)
        raise ToolException("no such account")

    payer = StructuredTool.from_function(pay, name="pay", description="Pay.", metadata={"effect": "effect"})
    light = ScriptedModel([tool_call("pay", {"amount": 500}), tool_call("pay", {"amount": 5}), report("no", "failed")])
    run(plan(direct("Pay.", call("pay", amount=5))), [payer], light, trust="open", max_replans=0)
    assert made == [5, 5]


@pytest.mark.parametrize("trust", ["open", "strict"])
@pytest.mark.parametrize("args", ['{"amount": "$m1.total"}', "[5]"])
def test_pinned_call_that_lacks_a_value_is_not_made(trust: str, args: str) -> None:
    made: list[Any] = []
    light = ScriptedModel([tool_call("pay", {}), tool_call("pay", {"amount": 1}), report("no", "failed")])
    executor = create_executor(light, [query, recorder(made, effect="effect")], context={"trust": trust})
    brief = Brief(goal="Pay.", tools=["pay"], calls=[{"tool": "pay", "args": args}], values={"m1": {"name": "Ada"}})
    outcome = executor.invoke({"brief": brief})["milestones"]["m1"]
    assert outcome["status"] == "failed"
    assert made == []
    if trust == "open":
        assert light.asked[0].tools == ["pay", "MilestoneReport"]
        assert [c["code"] for c in outcome["tool_calls"]] == ["permission", "permission"]
    else:
        assert light.asked == []
        assert "A value that its calls refer to is missing." in outcome["failure"]["message"]


def test_limit_ends_a_milestone_in_the_middle_of_its_pinned_calls() -> None:
    made: list[Any] = []
    light = ScriptedModel([report("paid")])
    pay = recorder(made, effect="effect")
    executor = create_executor(light, [pay], context={"trust": "open", "max_tool_calls": 2})
    calls: Any = [call("pay", amount=amount) for amount in (1, 2, 3)]
    outcome = executor.invoke({"brief": Brief(goal="Pay.", tools=["pay"], calls=calls)})["milestones"]["m1"]
    assert (made, light.asked) == ([(1, ""), (2, "")], [])
    assert outcome["failure"]["code"] == "limit"
    assert "Not all calls were made: the limit of 2 tool calls is used up." in outcome["failure"]["message"]


def test_tool_that_is_no_longer_there_is_not_offered() -> None:
    light = ScriptedModel([tool_call("gone", {}), tool_call("query", {"sql": "select 1"}), report("found")])
    executor = create_executor(light, [query])
    outcome = executor.invoke({"brief": Brief(goal="Look.", tools=["gone", "query"])})["milestones"]["m1"]
    assert (outcome["status"], [c["code"] for c in outcome["tool_calls"]]) == ("completed", ["permission", None])
    assert light.asked[0].tools == ["query", "MilestoneReport"]


def test_approval_covers_a_pinned_call_with_its_values() -> None:
    made: list[Any] = []
    draft = plan(LOOK, direct("Pay.", call("pay", amount="$m1.total")))
    agent = create_plan_execute_agent(
        heavy(draft),
        ScriptedModel(unused),
        [query, recorder(made, effect="effect")],
        context={"approve_tools": ("pay",)},
        checkpointer=InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    waiting: Any = agent.invoke(ASKED, config)
    (request,) = waiting["__interrupt__"][0].value["action_requests"]
    assert (request["name"], request["args"]) == ("pay", {"amount": 52.5})
    assert made == []
    output = agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    assert (output["status"], made) == ("completed", [(52.5, "")])


@pytest.mark.parametrize(("trusted", "asks"), [(False, True), (True, False)])
def test_tainted_call_is_put_before_a_person_on_request(trusted: bool, asks: bool) -> None:
    made: list[Any] = []
    source = query.model_copy(update={"metadata": {"trusted": trusted}})
    pay = direct("Pay, and tip.", call("pay", amount="$m1.total"), call("pay", amount=1))
    draft = plan(LOOK, pay, direct("Look again.", call("query", sql="select $m1.total")))
    agent = create_plan_execute_agent(
        heavy(draft),
        ScriptedModel(unused),
        [source, recorder(made, effect="effect")],
        context={"approve_tainted": True},
        checkpointer=InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    output: Any = agent.invoke(ASKED, config)
    assert ("__interrupt__" in output) is asks
    if asks:
        output = agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    assert output["status"] == "completed"
    assert made == [(52.5, ""), (1, "")]


def test_call_beside_pinned_ones_is_refused_and_each_is_made_once() -> None:
    made: list[Any] = []
    errors = [ToolException("busy")]

    def pay(amount: float, to: str = "") -> str:
        if errors:
            raise errors.pop()
        made.append((amount, to))
        return "paid"

    payer = StructuredTool.from_function(pay, name="pay", description="Pay.", metadata={"effect": "effect"})
    pins = [call("pay", amount=5), call("query", sql="select 1")]
    light = ScriptedModel(
        [
            tool_call("pay", {"amount": 500}),
            tool_call("pay", {"amount": 5, "to": "me"}),
            tool_call("query", {"sql": "select 2"}),
            *[tool_call("query", {"sql": "select 1"})] * 2,
            tool_call("look_up", {"subject": "anything"}),
            *[tool_call("pay", {"amount": amount}) for amount in (5, 5, 5.0)],
            report("paid"),
        ]
    )
    free = failing([], [])
    draft = plan(milestone("Pay.", tools=["query", "pay", "look_up"], calls=pins))
    output = run(draft, [query, payer, free], light, trust="open")
    assert made == [(5, "")]
    codes = [c["code"] for c in output["milestones"]["m1"]["tool_calls"]]
    assert codes == [*["permission"] * 3, None, None, None, "failed", None, "permission"]


BAD: list[tuple[dict[str, Any], str]] = [
    (direct("Pay.", call("pay", amount="much")), "amount"),
    (direct("Pay.", call("pay", amount=1, colour="red")), "colour"),
    (direct("Pay.", call("pay")), "amount"),
    (direct("Pay.", {"tool": "pay", "args": "[1]"}), "JSON object"),
    (direct("Pay.", {"tool": "pay", "args": "{"}), "JSON object"),
    (direct("Pay.", call("pay", amount="$m1.sum")), "total"),
    (direct("Pay.", call("pay", amount="$m9.total")), "m9"),
    (direct("Pay.", call("pay", amount="$m2.total")), "of its own"),
    (direct("Pay.", call("pay", amount="$m1.name")), "m1"),
    (milestone("Pay.", tools=["query"], calls=[call("pay", amount=1)]), "not among its tools"),
    (direct("Pay.", call("pay", amount=1), yields=[wanted("x", "number", "total")]), "JSON pointer"),
    (direct("Pay.", call("pay", amount=1), yields=[wanted("x y", "number", "")]), "letters"),
    (direct("Pay.", call("pay", amount=1), yields=[wanted("x", "choice", "")]), "options"),
    (direct("Pay.", call("pay", amount=1), yields=[wanted("x", "text"), wanted("x", "text")]), "twice"),
    (direct("Pay.", *[call("pay", amount=n) for n in range(13)]), "at most 12"),
]


@pytest.mark.parametrize(("bad", "why"), BAD, ids=[why for _, why in BAD])
def test_bad_pins_are_sent_back_and_then_left_out_in_open_trust(bad: dict[str, Any], why: str) -> None:
    made: list[Any] = []
    planner = heavy(plan(LOOK, bad))
    light = ScriptedModel(lambda asked: report("done") if "MilestoneReport" in asked.tools else "")
    tools = [query, recorder(made, effect="effect")]
    agent = create_plan_execute_agent(planner, light, tools, context={"trust": "open", "max_replans": 0})
    output = agent.invoke(ASKED)
    drafts = [asked for asked in planner.asked if asked.tools == ["PlanDraft"]]
    assert len(drafts) == 2
    assert why in drafts[1].messages[-1].text
    assert all(m["calls"] == [] and m["yields"] == [] for m in output["milestones"].values())
    assert made == []


def test_bad_pins_end_a_strict_run() -> None:
    output = run(plan(LOOK, BAD[0][0]), [query, recorder([], effect="effect")])
    assert (output["status"], output["error"]["code"]) == ("aborted", "plan_invalid")
