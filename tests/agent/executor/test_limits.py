"""What bounds a run: time, repeats, budgets, attempts, and plans that go in circles."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from plan_execute.agent import prompts
from plan_execute.agent.context import Context
from plan_execute.agent.state import Brief, PlanExecuteInput
from plan_execute.agent.truncation import READER_NAME
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

ASKED: PlanExecuteInput = {"messages": [{"role": "user", "content": "What do a and b have in common?"}]}
BOOK = "".join(f"[page {number}] " + "x" * 90 + "\n" for number in range(2_000))
over = threading.Event()
"""Set when a test of what hangs is over."""


@pytest.fixture(autouse=True)
def _end_of_what_hangs() -> Iterator[None]:
    over.clear()
    yield
    over.set()


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


@tool
def read_book(subject: str) -> str:
    """Read a whole book of 200 kB."""
    return BOOK


@tool
def hang(subject: str) -> str:
    """Never answer."""
    over.wait(60)
    return "late"


TOOLS = [look_up, read_book, hang]


def vain(asked: Asked) -> Answer:
    return report("in vain", "failed")


def run(planner: ScriptedModel, executor: ScriptedModel | None = None, **context: Any) -> dict[str, Any]:
    agent = create_plan_execute_agent(planner, executor or ScriptedModel(diligent), TOOLS, context=context)
    return agent.invoke(ASKED)


def carry_out(model: ScriptedModel, tools: list[str], **context: Any) -> dict[str, Any]:
    executor = create_executor(model, TOOLS, context=context)
    outcome: dict[str, Any] = executor.invoke({"brief": Brief(goal="Find x.", tools=tools)})["milestones"]["m1"]
    return outcome


def test_same_plan_and_same_failure_end_before_the_replans_are_used_up() -> None:
    planner = heavy(plan(milestone("a")))
    output = run(planner, ScriptedModel(vain), max_replans=9)
    assert (output["status"], output["error"]["code"], output["error"]["replans"]) == ("aborted", "no_progress", 1)
    assert len(planner.asked) == 2
    assert "from which it has replanned before" in output["error"]["message"]


def test_going_back_and_forth_between_two_plans_ends_too() -> None:
    planner = heavy(plan(milestone("a")), plan(milestone("b")), plan(milestone("A")), plan(milestone("c")))
    output = run(planner, ScriptedModel(vain), max_replans=9)
    assert (output["error"]["code"], output["error"]["replans"]) == ("no_progress", 2)


def test_replan_that_changes_only_the_tools_is_something_new_but_their_order_is_not() -> None:
    granted = (["look_up"], ["look_up", "read_book"], ["read_book", "look_up"], ["hang"])
    planner = heavy(*[plan(milestone("a", tools=tools)) for tools in granted])
    output = run(planner, ScriptedModel(vain), max_replans=9)
    assert (output["error"]["code"], output["error"]["replans"]) == ("no_progress", 2)
    assert [m["tools"] for m in output["milestones"].values()] == [list(tools) for tools in granted[:3]]


def test_surprise_is_not_planned_around_twice_while_the_rest_of_the_plan_stays_the_same() -> None:
    def surprised(asked: Asked) -> Answer:
        told = any(message.type == "tool" for message in asked.messages)
        return report("found", surprise="odd") if told and goal_of(asked).startswith("way") else diligent(asked)

    drafts = (plan(milestone(f"way {number}"), milestone("b"), milestone("c")) for number in range(9))
    planner = ScriptedModel(lambda asked: synthesis() if asked.tools == ["Synthesis"] else next(drafts))
    output = run(planner, ScriptedModel(surprised))
    assert output["status"] == "completed"
    assert len(planner.asked) == 3


def test_stuck_planner_with_default_settings_makes_few_heavy_calls() -> None:
    planner = ScriptedModel(lambda asked: plan(milestone(f"way {len(planner.asked)}")))
    output = run(planner, ScriptedModel(vain))
    assert output["error"]["code"] == "max_replans"
    assert len(planner.asked) <= 2 + 2 * Context().max_replans


def test_tool_that_hangs_is_abandoned_and_other_milestones_go_on() -> None:
    def answer(asked: Asked) -> Answer:
        return tool_call("hang", {"subject": "x"}) if goal_of(asked) == "wait" else diligent(asked)

    draft = plan(milestone("wait", tools=["hang"]), milestone("a"))
    output = run(heavy(draft), ScriptedModel(answer), milestone_timeout=3, max_replans=0, max_parallel=2)
    waited, other = output["milestones"].values()
    assert (waited["status"], waited["failure"]["code"]) == ("failed", "timeout")
    assert "unknown" in waited["failure"]["message"]
    assert other["status"] == "completed"


async def test_tool_that_hangs_is_abandoned_in_async_too() -> None:
    executor = create_executor(
        ScriptedModel([tool_call("hang", {"subject": "x"})]), TOOLS, context={"milestone_timeout": 0.5}
    )
    outcome = await executor.ainvoke({"brief": Brief(goal="Find x.", tools=["hang"])})
    assert not over.is_set()
    over.set()  # before the loop ends, which waits for its threads
    assert outcome["milestones"]["m1"]["failure"]["code"] == "timeout"


async def test_tool_that_does_not_let_itself_be_cancelled_is_abandoned() -> None:
    goes_on = asyncio.Event()

    @tool
    async def stubborn(subject: str) -> str:
        """Swallow what should end it."""
        while not goes_on.is_set():
            with suppress(asyncio.CancelledError):
                await goes_on.wait()
        return "late"

    agent = create_plan_execute_agent(
        heavy(plan(milestone("a", tools=["stubborn"]))),
        ScriptedModel([tool_call("stubborn", {"subject": "x"})]),
        [stubborn],
        context={"milestone_timeout": 0.3, "max_replans": 0},
    )
    running = asyncio.ensure_future(agent.ainvoke(ASKED))
    done, _ = await asyncio.wait({running}, timeout=60)
    goes_on.set()
    assert done
    assert running.result()["milestones"]["m1"]["failure"]["code"] == "timeout"


def test_same_call_again_and_again_is_stopped_inside_the_milestone() -> None:
    model = ScriptedModel([tool_call("look_up", {"subject": "x"})])
    outcome = carry_out(model, ["look_up"], max_tool_calls=6)
    assert [call["ok"] for call in outcome["tool_calls"]] == [True] * 3 + [False] * 3
    assert "you made this very call 3 times" in model.asked[-1].text
    assert outcome["failure"]["code"] == "limit"


@pytest.mark.parametrize(("granularity", "calls"), [("coarse", 24), ("balanced", 12), ("fine", 6)])
def test_milestone_may_make_the_calls_its_granularity_allows(granularity: str, calls: int) -> None:
    def busy(asked: Asked) -> Answer:
        if "last turn" in asked.messages[-1].text:
            return report("so far")
        return tool_call("look_up", {"subject": str(len(asked.messages))})

    agent = create_plan_execute_agent(
        heavy(plan(milestone("a"))), ScriptedModel(busy), TOOLS, context={"granularity": granularity}
    )
    # 24, because of the 25 model calls that are allowed as well the last is the report.
    assert len(agent.invoke(ASKED)["milestones"]["m1"]["tool_calls"]) == calls


def test_long_result_is_shown_in_part_and_can_be_read_on() -> None:
    def answer(asked: Asked) -> Answer:
        answers = [m.text for m in asked.messages if m.type == "tool"]
        if not answers:
            return tool_call("read_book", {"subject": "x"})
        if len(answers) == 1:
            return tool_call(READER_NAME, {"reference": "r1", "offset": BOOK.index("[page 1000]")})
        return report(answers[1][:11])

    model = ScriptedModel(answer)
    outcome = carry_out(model, ["read_book"])
    assert outcome["result"] == "[page 1000]"
    assert READER_NAME not in model.asked[0].tools
    assert READER_NAME in model.asked[1].tools
    assert max(len(asked.text) for asked in model.asked) < 30_000


def test_long_result_of_a_dependency_is_passed_on_in_part_and_can_be_read_whole() -> None:
    def answer(asked: Asked) -> Answer:
        answers = [m.text for m in asked.messages if m.type == "tool"]
        if goal_of(asked) == "read":
            return report(BOOK)
        if not answers:
            return tool_call(READER_NAME, {"reference": "m1", "offset": BOOK.index("[page 1000]")})
        return report(answers[0][:11])

    executor = ScriptedModel(answer)
    planner = heavy(plan(milestone("read", tools=[]), milestone("quote", tools=[], depends_on=["m1"])))
    output = run(planner, executor)
    assert output["milestones"]["m2"]["result"] == "[page 1000]"
    assert output["milestones"]["m1"]["result"] == BOOK
    assert max(len(asked.text) for asked in [*executor.asked, *planner.asked]) < 30_000


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({"tokens": 40}, "40 tokens"),
        ({"heavy_calls": 1}, "1 heavy calls"),
        ({"usd": 0.0008}, "0.0008 dollars"),
        ({"seconds": 3}, "3 seconds"),
    ],
)
def test_crossed_budget_lands_softly(budget: dict[str, Any], named: str) -> None:
    name = "hang" if "seconds" in budget else "look_up"
    output = run(
        heavy(plan(milestone("a", tools=[name]), milestone("b", tools=[name]))),
        budget=budget,
        prices={"ScriptedModel": {"input": 20, "output": 20}},
    )
    assert (output["status"], output["error"]["code"]) == ("partial", "budget")
    assert named in output["error"]["message"]
    assert "heavy_calls" in budget or output["milestones"]["m2"]["status"] == "pending"


@pytest.mark.parametrize(
    ("budget", "status"),
    [({"tokens": 45}, "pending"), ({"tokens": 46}, "completed"), ({"usd": 1.5}, "pending"), ({"usd": 2}, "completed")],
)
def test_budget_is_crossed_when_it_is_used_up_to_the_last(budget: dict[str, Any], status: str) -> None:
    # Each call takes 10 tokens and gives 5, at half a dollar: a plan and a milestone of two calls are 45 and 1.5.
    draft = plan(milestone("a"), milestone("b"))
    output = run(heavy(draft), budget=budget, prices={"ScriptedModel": {"input": 0, "output": 100_000}})
    assert [m["status"] for m in output["milestones"].values()] == ["completed", status]
    assert (output["error"] or {}).get("code") == ("budget" if status == "pending" else None)


@pytest.mark.parametrize(
    ("role", "error"),
    [
        ("PlanDraft", ValueError("no")),
        ("Synthesis", ValueError("no")),
        ("Verification", ConnectionError("busy")),
    ],
)
def test_call_that_failed_costs_nothing_and_crosses_no_budget_of_dollars(role: str, error: Exception) -> None:
    left = [error]
    answers: dict[str, Answer] = {
        "PlanDraft": plan(milestone("a")),
        "Synthesis": synthesis(),
        "Verification": {"done": True, "reason": "shown"},
    }
    model = ScriptedModel(lambda asked: left.pop() if left and asked.tools == [role] else answers[asked.tools[0]])
    settings: dict[str, Any] = {"verify": "model", "verifier_model": model} if role == "Verification" else {}
    output = run(model, budget={"usd": 5}, prices={"ScriptedModel": {"input": 1, "output": 1}}, **settings)
    assert (output["status"], output["error"], left) == ("completed", None, [])
    assert all(used["usd"] is not None for used in output["usage"].values())


def test_replan_that_would_eat_the_answers_last_heavy_call_is_not_made() -> None:
    def light(asked: Asked) -> Answer:
        return vain(asked) if goal_of(asked) == "b" else diligent(asked)

    for most, replanned in ((2, False), (3, True)):
        planner = heavy(plan(milestone("a"), milestone("b")), plan(milestone("c"), requirements=[]))
        output = run(planner, ScriptedModel(light), budget={"heavy_calls": most})
        asked = [["PlanDraft"]] * (2 if replanned else 1)
        assert [one.tools for one in planner.asked] == [*asked, ["Synthesis"]]
        assert output["answer"] == "The answer."
        assert output["status"] == ("completed" if replanned else "partial")
        assert replanned or output["error"]["code"] == "budget"


def test_budget_of_heavy_calls_holds_for_repairs_and_replans() -> None:
    for most in (1, 2, 3, 4):
        planner = ScriptedModel(lambda asked: plan(milestone(f"way {len(asked.messages)} {len(asked.text)}")))
        output = run(planner, ScriptedModel(vain), budget={"heavy_calls": most}, max_replans=9)
        assert len(planner.asked) <= most
        assert output["status"] in {"partial", "aborted"}
        assert output["error"]["code"] == "budget"


@pytest.mark.parametrize(("budget", "named"), [({"heavy_calls": 3}, "3 heavy calls"), ({"tokens": 50}, "50 tokens")])
def test_unmet_requirement_is_not_planned_for_beyond_the_budget(budget: dict[str, int], named: str) -> None:
    planner = heavy(plan(milestone("a")), plan(milestone("b")), end=synthesis("So far.", met=[False]))
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), TOOLS, context={"budget": budget})
    output = agent.invoke(ASKED)
    assert (output["status"], output["error"]["code"], output["answer"]) == ("partial", "budget", "So far.")
    assert len(planner.asked) == 2
    assert named in output["error"]["message"]
    assert "Unmet: 1." in output["error"]["message"]


def test_unmet_requirement_is_planned_for_where_the_budget_has_room_for_plan_and_answer() -> None:
    ends = iter([synthesis("So far.", met=[False]), synthesis("Now it is.")])
    planner = ScriptedModel(
        lambda asked: next(ends) if asked.tools == ["Synthesis"] else plan(milestone(f"way {len(planner.asked)}"))
    )
    output = run(planner, budget={"heavy_calls": 4})
    assert (output["status"], output["answer"], len(planner.asked)) == ("completed", "Now it is.", 4)


def test_draft_is_not_sent_back_beyond_the_budget() -> None:
    planner = heavy(plan(milestone("a", tools=["fly"])))
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), TOOLS, context={"budget": {"tokens": 20}})
    output = agent.invoke(ASKED)
    assert (output["status"], output["error"]["code"], len(planner.asked)) == ("aborted", "budget", 2)
    assert "Crossed the budget of 20 tokens." in output["error"]["message"]
    assert "unknown tool 'fly'" in output["error"]["message"]


def test_answer_is_not_asked_for_again_beyond_the_budget() -> None:
    for most in (2, 3):
        planner = heavy(plan(milestone("a")), end="No.")
        output = run(planner, budget={"heavy_calls": most})
        assert len(planner.asked) == most
        assert (output["status"], output["error"]["code"]) == ("partial", "budget" if most == 2 else "synthesis_failed")
        assert "about x" not in output["answer"]
        assert "result of: a" in output["answer"]


def test_budget_of_two_heavy_calls_leaves_room_for_what_needs_none() -> None:
    two = {"budget": {"heavy_calls": 2}}
    busy = iter([TimeoutError("busy")])
    retried = create_plan_execute_agent(
        heavy(plan(milestone("a"))), ScriptedModel(lambda asked: next(busy, diligent(asked))), TOOLS, context=two
    )
    assert retried.invoke(ASKED)["status"] == "completed"

    def surprised(asked: Asked) -> Answer:
        told = any(message.type == "tool" for message in asked.messages)
        return report("found", surprise="odd") if told else diligent(asked)

    gone_on = create_plan_execute_agent(
        heavy(plan(milestone("a"), milestone("b"))), ScriptedModel(surprised), TOOLS, context={**two, "max_replans": 0}
    )
    assert gone_on.invoke(ASKED)["status"] == "completed"

    given_up = create_plan_execute_agent(
        heavy(plan(milestone("a"))), ScriptedModel(vain), TOOLS, context={**two, "max_replans": 0}
    )
    output = given_up.invoke(ASKED)
    assert (output["status"], output["error"]["code"]) == ("aborted", "max_replans")


def test_budget_crossed_inside_a_milestone_leaves_it_only_the_report() -> None:
    def answer(asked: Asked) -> Answer:
        if asked.tools == ["MilestoneReport"]:
            return report("so far", "failed")
        return tool_call("look_up", {"subject": str(len(asked.messages))})

    executor = ScriptedModel(answer)
    output = run(heavy(plan(milestone("a"))), executor, budget={"tokens": 50})
    assert output["error"]["code"] == "budget"
    assert len(executor.asked) <= 4
    assert "50 tokens is used up" in executor.asked[-1].text


def test_dollars_without_a_known_price_count_as_crossed() -> None:
    output = run(heavy(plan(milestone("a"), milestone("b"))), budget={"usd": 5})
    assert output["error"]["code"] == "budget"
    assert "no price is known for 'ScriptedModel'" in output["error"]["message"]


def test_cost_is_null_where_no_price_is_known_and_a_number_where_one_is() -> None:
    assert run(heavy(plan(milestone("a"))))["usage"]["planner"]["usd"] is None
    priced = run(heavy(plan(milestone("a"))), prices={"ScriptedModel": {"input": 1, "output": 2}})
    assert priced["usage"]["planner"]["usd"] == pytest.approx(20e-6)


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        ({"done": True, "reason": "shown"}, "completed"),
        ({"done": False, "reason": "the figure is missing"}, "failed"),
        ("I think so.", "failed"),
        (ConnectionError("down"), "failed"),
    ],
)
def test_verifier_that_does_not_say_yes_means_not_done(verdict: Answer, status: str) -> None:
    verifier = ScriptedModel([verdict])
    output = run(heavy(plan(milestone("a"))), verify="model", verifier_model=verifier, max_replans=0)
    assert output["milestones"]["m1"]["status"] == status
    assert "about x" in verifier.asked[0].text
    if status == "failed":
        assert output["milestones"]["m1"]["failure"]["code"] == "unverified"
        assert output["error"]["code"] == "max_replans"
    assert output["usage"]["verifier"]["calls"] == (2 if isinstance(verdict, ConnectionError) else 1)


def test_verifier_that_fails_for_a_passing_reason_is_asked_again() -> None:
    verifier = ScriptedModel([ConnectionError("busy"), {"done": True, "reason": "shown"}])
    planner = heavy(plan(milestone("a")))
    assert run(planner, verify="model", verifier_model=verifier)["status"] == "completed"
    assert len(planner.asked) == 2


def test_verifier_that_cannot_be_used_aborts_instead_of_replanning() -> None:
    class UnauthorizedError(Exception):
        status_code = 401

    planner = heavy(plan(milestone("a")))
    output = run(planner, verify="model", verifier_model=ScriptedModel([UnauthorizedError("bad key")]))
    assert (output["status"], output["error"]["code"]) == ("aborted", "executor_unavailable")
    assert "The verifier cannot be reached" in output["error"]["message"]
    assert len(planner.asked) == 1


def test_last_attempt_goes_to_the_stronger_model_before_a_replan() -> None:
    strong = ScriptedModel(
        lambda asked: (
            plan(milestone("a"))
            if asked.tools == ["PlanDraft"]
            else (synthesis() if asked.tools == ["Synthesis"] else diligent(asked))
        )
    )
    light = ScriptedModel(vain)
    output = run(strong, light, escalate=True)
    assert output["status"] == "completed"
    assert output["plan"]["revision"] == 1
    assert output["milestones"]["m1"]["attempts"] == 2
    assert len(light.asked) == 1


def either(light: Callable[[Asked], Answer], draft: Answer) -> ScriptedModel:
    """A strong model: plans, answers, and carries out as told."""
    answers = {"PlanDraft": draft, "Synthesis": synthesis()}
    return ScriptedModel(lambda asked: answers.get(asked.tools[0]) or light(asked))


def test_escalation_is_for_what_a_stronger_model_may_overcome() -> None:
    blocked = ScriptedModel([report("", "blocked", missing="a name")])
    strong = either(diligent, plan(milestone("a")))
    output = run(strong, blocked, escalate=True, max_replans=0)
    assert (output["status"], output["milestones"]["m1"]["failure"]["code"]) == ("aborted", "missing")
    assert len(strong.asked) == 1


def test_escalation_ends_with_the_attempts_allowed() -> None:
    strong, light = either(vain, plan(milestone("a"))), ScriptedModel(vain)
    output = run(strong, light, escalate=True, max_replans=0, max_attempts=3)
    assert (output["status"], output["milestones"]["m1"]["attempts"]) == ("aborted", 3)
    assert (len(strong.asked), len(light.asked)) == (1 + 2, 1)


def test_escalation_needs_no_room_for_a_replan_in_the_budget() -> None:
    output = run(either(diligent, plan(milestone("a"))), ScriptedModel(vain), escalate=True, budget={"heavy_calls": 2})
    assert (output["status"], output["milestones"]["m1"]["attempts"]) == ("completed", 2)


def test_what_may_pass_by_itself_is_escalated_as_well() -> None:
    strong = either(diligent, plan(milestone("a")))
    output = run(strong, ScriptedModel([TimeoutError("slow")]), escalate=True)
    assert (output["status"], output["milestones"]["m1"]["attempts"], len(strong.asked)) == ("completed", 2, 4)


def test_attempt_in_vain_is_not_repeated_with_the_same_model() -> None:
    strong = ScriptedModel(
        lambda asked: (
            plan(milestone("a"))
            if "PlanDraft" in asked.tools
            else synthesis()
            if "Synthesis" in asked.tools
            else diligent(asked)
        )
    )
    weak = ScriptedModel(vain)
    agent = create_plan_execute_agent(strong, weak, TOOLS, context={"escalate": True, "max_attempts": 3})
    output = agent.invoke(ASKED)
    assert (output["status"], output["milestones"]["m1"]["attempts"], len(weak.asked)) == ("completed", 2, 1)


class LimitedError(Exception):
    """What a provider raises: a response with headers."""

    status_code = 429

    def __init__(self, wait: str = "0.7") -> None:
        super().__init__("slow down")
        self.response = type("Response", (), {"headers": {"retry-after": wait}, "status_code": 429})


@pytest.mark.parametrize("limits", [{"budget": {"seconds": 5}}, {"milestone_timeout": 5}])
@pytest.mark.parametrize("role", ["planner", "executor", "synthesizer"])
def test_nobody_waits_for_longer_than_there_is_time(role: str, limits: dict[str, Any]) -> None:
    limited: list[Asked] = []

    def failing(model: Callable[[Asked], Answer], *tools: str) -> ScriptedModel:
        def answer(asked: Asked) -> Answer:
            if not set(tools) & set(asked.tools):
                return model(asked)
            limited.append(asked)
            return LimitedError("30")

        return ScriptedModel(answer)

    def planner(asked: Asked) -> Answer:
        return synthesis() if asked.tools == ["Synthesis"] else plan(milestone("a"))

    slow = {"planner": "PlanDraft", "synthesizer": "Synthesis", "executor": "look_up"}[role]
    context = {**limits, "max_replans": 0}
    agent = create_plan_execute_agent(failing(planner, slow), failing(diligent, slow), TOOLS, context=context)
    output = agent.invoke(ASKED)
    assert len(limited) == 1
    assert output["status"] != "completed"
    for said in ("slow down", "30 s"):
        assert said in output["error"]["message"]


def test_service_that_asks_to_be_left_alone_is() -> None:
    calls: list[int] = []

    def answer(asked: Asked) -> Answer:
        calls.append(1)
        return LimitedError() if len(calls) == 1 else diligent(asked)

    planner = heavy(plan(milestone("a")))
    agent = create_plan_execute_agent(planner, ScriptedModel(answer), TOOLS, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    output = agent.invoke(ASKED, config)
    assert output["status"] == "completed"
    briefs = [task.interrupts or task.name for state in agent.get_state_history(config) for task in state.tasks]
    assert "executor" in briefs
    waits = [entry for entry in agent.get_state(config).values["log"] if entry["type"] == "decision"]
    assert waits[0]["rule"] == "transient"
    assert len(planner.asked) == 2


@pytest.mark.parametrize("count", [5, 40])
def test_prompts_do_not_grow_with_the_work_finished(count: int) -> None:
    goals = [milestone(f"part {n}", depends_on=[f"m{n}"] if n else []) for n in range(count)]
    planner = heavy(plan(*goals, milestone("broken")), plan(milestone("another"), requirements=[]))

    def answer(asked: Asked) -> Answer:
        if goal_of(asked) == "broken":
            return report("no", "failed")
        return report("y" * 3_000) if any(m.type == "tool" for m in asked.messages) else diligent(asked)

    executor = ScriptedModel(answer)
    output = run(planner, executor, max_milestones=50)
    assert output["status"] == "completed"
    assert max(len(asked.text) for asked in executor.asked) < 3_000 + prompts.RESULT_LIMIT
    replanner = next(asked for asked in planner.asked if "The plan below cannot continue" in asked.text)
    assert len(replanner.text) < prompts.PROGRESS_LIMIT + 12_000


def test_answer_without_content_is_classed_not_crashed() -> None:
    assert carry_out(ScriptedModel([AIMessage("")]), ["look_up"])["failure"]["code"] == "no_report"


def test_budget_of_seconds_abandons_a_tool_under_way_and_leaves_the_last_word() -> None:
    ended, goes_on = threading.Event(), threading.Event()

    @tool
    def dawdle(subject: str) -> str:
        """Take all the time there is."""
        goes_on.wait(60)
        ended.set()
        return "late"

    light = ScriptedModel([tool_call("dawdle", {"subject": "x"}), report("what there was", "failed")])
    agent = create_plan_execute_agent(
        heavy(plan(milestone("a", tools=["dawdle"]))), light, [dawdle], context={"budget": {"seconds": 3}}
    )
    output = agent.invoke(ASKED)
    assert not ended.is_set()
    goes_on.set()
    assert (output["status"], output["error"]["code"]) == ("partial", "budget")
    outcome = output["milestones"]["m1"]
    assert outcome["tool_calls"][0]["code"] == "timeout"
    assert outcome["result"] == "what there was"


def test_reply_that_used_up_the_context_ends_the_milestone_as_too_broad_with_its_findings() -> None:
    def executor(asked: Asked) -> Answer:
        full = AIMessage("I am", response_metadata={"stop_reason": "model_context_window_exceeded"})
        return full if "about a" in asked.text else tool_call("look_up", {"subject": "a"})

    graph = create_executor(ScriptedModel(executor), TOOLS)
    brief: Brief = {"goal": "Look a up.", "tools": ["look_up"]}
    (ended,) = graph.invoke({"brief": brief})["milestones"].values()
    assert ended["failure"]["code"] == "limit"
    assert "about a" in ended["failure"]["evidence"]
