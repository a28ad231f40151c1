"""Whole runs on the real graph: planning, rounds, replanning, and how a run ends."""

import os
import threading
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel
from syrupy.assertion import SnapshotAssertion

from plan_execute.agent import Context
from plan_execute.agent.errors import ConfigurationError
from plan_execute.agent.state import PlanExecuteInput
from plan_execute.graphs import create_plan_execute_agent
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


def question(text: str) -> PlanExecuteInput:
    return {"messages": [{"role": "user", "content": text}]}


ASKED = question("What do a and b have in common?")


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


def failing(*goals: str) -> ScriptedModel:
    """A diligent executor that fails at the goals named."""
    return ScriptedModel(lambda asked: report("in vain", "failed") if goal_of(asked) in goals else diligent(asked))


def run(planner: ScriptedModel, executor: ScriptedModel | None = None, **context: Any) -> dict[str, Any]:
    agent = create_plan_execute_agent(planner, executor or ScriptedModel(diligent), [look_up], context=context)
    return agent.invoke(ASKED)


def statuses(output: dict[str, Any]) -> dict[str, str]:
    return {m["goal"]: m["status"] for m in output["milestones"].values()}


def test_topology(snapshot: SnapshotAssertion) -> None:
    assert create_plan_execute_agent().get_graph(xray=1).draw_mermaid() == snapshot


@pytest.mark.parametrize("count", range(1, 21))
def test_run_in_which_all_goes_well_makes_two_heavy_calls(count: int) -> None:
    planner = heavy(plan(*[milestone(f"part {n}") for n in range(count)]))
    output = run(planner)
    assert output["status"] == "completed"
    assert list(statuses(output).values()) == ["completed"] * count
    assert [asked.tools for asked in planner.asked] == [["PlanDraft"], ["Synthesis"]]
    assert output["usage"]["planner"]["calls"] == output["usage"]["synthesizer"]["calls"] == 1
    assert output["usage"]["executor"]["calls"] == 2 * count


def test_greeting_is_answered_with_one_heavy_call_and_no_milestones() -> None:
    planner = heavy({"answer": "Hello."})
    output = run(planner)
    assert (output["status"], output["answer"], output["milestones"]) == ("completed", "Hello.", {})
    assert output["messages"][-1].text == "Hello."
    assert len(planner.asked) == 1


def test_milestones_win_over_a_direct_answer() -> None:
    assert statuses(run(heavy(plan(milestone("a"), answer="guess")))) == {"a": "completed"}


def test_executor_sees_the_results_it_depends_on_and_nothing_else() -> None:
    executor = ScriptedModel(diligent)
    third = milestone("third", depends_on=["m1"])
    run(heavy(plan(milestone("first"), milestone("second"), third, milestone("fourth"))), executor)
    told = "\n".join(asked.text for asked in executor.asked if goal_of(asked) == "third")
    assert "result of: first" in told
    for hidden in ("second", "fourth", "in common", "Step by step", "Answer it"):
        assert hidden not in told


def test_planner_has_no_tools_bound_but_sees_the_catalogue() -> None:
    planner = heavy(plan(milestone("a")))
    run(planner)
    assert planner.asked[0].tools == ["PlanDraft"]
    assert "look_up(subject): Look a subject up." in planner.asked[0].text


@pytest.mark.parametrize(
    ("draft", "named"),
    [
        (plan(milestone("a", tools=["fly"])), "unknown tool 'fly'"),
        (plan(milestone("a", depends_on=["m2"]), milestone("b", depends_on=["m1"])), "cycle"),
        (plan(milestone("a", depends_on=["m7"])), "not in the plan"),
        (plan(milestone("a"), requirements=["One.", "Two."]), "covered by no milestone"),
        (plan(*[milestone(str(n)) for n in range(60)]), "at most 6"),
        (plan(), "empty"),
    ],
)
def test_invalid_plan_goes_back_with_the_reason_and_never_reaches_the_executor(draft: Answer, named: str) -> None:
    planner, executor = heavy(draft), ScriptedModel(diligent)
    output = run(planner, executor, granularity="coarse")
    assert (output["status"], output["error"]["code"]) == ("aborted", "plan_invalid")
    assert named in output["error"]["message"]
    assert len(planner.asked) == 3
    assert named in planner.asked[1].text
    assert executor.asked == []


def test_corrected_plan_is_used() -> None:
    output = run(heavy(plan(milestone("a", tools=["fly"])), "I am sorry.", plan(milestone("b"))))
    assert output["status"] == "completed"
    assert statuses(output) == {"b": "completed"}
    assert output["usage"]["planner"]["calls"] == 3


@pytest.mark.parametrize("said", ["I cannot plan.", "", '{"strategy": "none"', {"milestones": [{"id": "m1"}]}])
def test_unreadable_plan_ends_in_a_typed_abort(said: Answer) -> None:
    planner = heavy(said)
    output = run(planner)
    assert output["status"] == "aborted"
    assert output["error"]["code"] in {"plan_unparsable", "plan_invalid"}
    assert len(planner.asked) == 3


def test_unreachable_planner_ends_in_a_typed_abort() -> None:
    output = run(heavy(ConnectionError("down")))
    assert (output["status"], output["error"]["code"]) == ("aborted", "planner_unavailable")
    assert "ConnectionError: down" in output["messages"][-1].text


def test_failed_milestone_sends_run_back_to_planner_with_its_progress() -> None:
    planner = heavy(
        plan(milestone("a"), milestone("b", depends_on=["m1"]), milestone("c", depends_on=["m2"])),
        plan(milestone("another b", depends_on=["done:m1"]), milestone("c", depends_on=["m1"]), requirements=[]),
    )
    executor = failing("b")
    output = run(planner, executor)
    assert output["status"] == "completed"
    assert [(m["id"], m["goal"], m["status"]) for m in output["milestones"].values()] == [
        ("m1", "a", "completed"),
        ("m2", "b", "failed"),
        ("m3", "c", "skipped"),
        ("m4", "another b", "completed"),
        ("m5", "c", "completed"),
    ]
    assert output["plan"]["revision"] == 2
    assert "result of: a" in planner.asked[1].text
    assert "in vain" in planner.asked[1].text
    assert [goal_of(asked) for asked in executor.asked].count("a") == 2, "finished work ran again"


@pytest.mark.parametrize("most", [0, 1, 3])
def test_strategy_that_always_fails_is_aborted_after_the_replans_allowed(most: int) -> None:
    drafts = [plan(milestone("a"), milestone(f"way {n}", depends_on=["m1"])) for n in range(9)]
    planner = heavy(drafts[0], *[plan(milestone(f"way {n}")) for n in range(1, 9)])
    output = run(planner, failing(*[f"way {n}" for n in range(9)]), max_replans=most)
    assert output["status"] == "aborted"
    assert output["error"]["code"] == "max_replans"
    assert output["error"]["replans"] == most
    assert len(planner.asked) == 1 + most
    message = output["error"]["message"]
    assert f"after {most} replan" in message
    assert "in vain" in message
    assert "Unmet" in message or statuses(output)["a"] == "completed"
    assert "result of: a" in output["messages"][-1].text
    assert output["milestones"]["m1"]["result"] == "result of: a"


def test_finished_work_and_settings_of_the_graph_decide_by_default() -> None:
    agent = create_plan_execute_agent(heavy(plan(milestone("a"))), failing("a"), [look_up], context={"max_replans": 0})
    assert agent.invoke(ASKED)["error"]["replans"] == 0
    planner = heavy(*[plan(milestone(f"way {n}")) for n in range(5)])
    agent = create_plan_execute_agent(planner, failing(*[f"way {n}" for n in range(5)]), [look_up])
    assert agent.invoke(ASKED, context=Context(max_replans=2))["error"]["replans"] == 2


def test_transient_failure_is_retried_without_a_replan() -> None:
    calls: list[str] = []

    def answer(asked: Asked) -> Answer:
        calls.append("call")
        return TimeoutError("slow") if len(calls) == 1 else diligent(asked)

    planner = heavy(plan(milestone("a")))
    output = run(planner, ScriptedModel(answer))
    assert output["status"] == "completed"
    assert output["milestones"]["m1"]["attempts"] == 2
    assert len(planner.asked) == 2


def test_transient_failure_that_lasts_goes_to_the_planner_after_the_attempts_allowed() -> None:
    executor = ScriptedModel([TimeoutError("slow")])
    output = run(heavy(plan(milestone("a"))), executor, max_replans=0, max_attempts=3)
    assert output["error"]["code"] == "max_replans"
    assert output["milestones"]["m1"]["attempts"] == 3
    assert len(executor.asked) == 3


def test_executor_model_that_cannot_be_used_aborts_instead_of_replanning() -> None:
    class UnauthorizedError(Exception):
        status_code = 401

    planner = heavy(plan(milestone("a")))
    output = run(planner, ScriptedModel([UnauthorizedError("bad key")]))
    assert (output["status"], output["error"]["code"]) == ("aborted", "executor_unavailable")
    assert len(planner.asked) == 1


def test_surprise_that_contradicts_the_plan_is_planned_around() -> None:
    def answer(asked: Asked) -> Answer:
        if goal_of(asked) == "a" and any(m.type == "tool" for m in asked.messages):
            return report("closed", surprise="the shop has closed")
        return diligent(asked)

    planner = heavy(plan(milestone("a"), milestone("buy")), plan(milestone("elsewhere"), requirements=[]))
    output = run(planner, ScriptedModel(answer))
    assert statuses(output) == {"a": "completed", "buy": "skipped", "elsewhere": "completed"}
    assert "the shop has closed" in planner.asked[1].text


def test_surprise_is_no_matter_once_nothing_is_left_to_do() -> None:
    def answer(asked: Asked) -> Answer:
        return report("closed", surprise="odd") if any(m.type == "tool" for m in asked.messages) else diligent(asked)

    planner = heavy(plan(milestone("a")))
    output = run(planner, ScriptedModel(answer))
    assert (output["status"], output["plan"]["revision"], len(planner.asked)) == ("completed", 1, 2)


@pytest.mark.parametrize(("most", "said"), [(1, "after 1 replan, the most allowed. m"), (2, "after 2 replans, the")])
def test_abort_says_where_it_stopped_and_after_how_many_replans(most: int, said: str) -> None:
    drafts = [plan(milestone(f"way {n}", tools=[]), milestone(f"{n} beside it", tools=[])) for n in range(3)]
    output = run(heavy(*drafts), ScriptedModel([report("in vain", "failed")]), max_replans=most, max_parallel=2)
    assert output["error"]["milestone"] == f"m{2 * most + 1}"
    assert said in output["error"]["message"]
    assert f"m{2 * most + 2} ({most} beside it): " in output["error"]["message"]


def test_goal_reached_early_skips_the_rest() -> None:
    planner = heavy(plan(milestone("a"), milestone("b", covers=[])), {"milestones": []})
    output = run(planner, failing("b"))
    assert output["status"] == "completed"
    assert statuses(output) == {"a": "completed", "b": "failed"}


def test_unmet_requirement_is_planned_for_and_then_met() -> None:
    ends = [synthesis(met=[False]), synthesis("Now it is.")]

    def answer(asked: Asked) -> Answer:
        if asked.tools == ["Synthesis"]:
            return ends.pop(0)
        return plan(milestone("a"))

    output = run(ScriptedModel(answer))
    assert (output["status"], output["answer"]) == ("completed", "Now it is.")
    assert output["plan"]["revision"] == 2


def test_requirement_that_stays_unmet_ends_partial_and_named() -> None:
    end = synthesis("Half of it.", requirements=[{"number": 1, "met": False, "note": "no source"}])
    output = run(heavy(plan(milestone("a")), plan(milestone("b")), end=end), max_replans=1)
    assert (output["status"], output["answer"]) == ("partial", "Half of it.")
    assert output["error"]["code"] == "unmet_requirements"
    assert "1. Answer it. (no source)" in output["error"]["message"]
    assert output["plan"]["requirements"][0]["met"] is False


def test_abort_after_a_verdict_still_names_what_is_unmet() -> None:
    planner = heavy(plan(milestone("a")), plan(milestone("b")), end=synthesis(met=[False]))
    output = run(planner, failing("b"), max_replans=1)
    assert (output["status"], output["error"]["code"]) == ("aborted", "max_replans")
    assert "Unmet: 1. Answer it." in output["error"]["message"]


def test_unmet_requirement_with_nothing_new_to_try_ends_partial_at_once() -> None:
    planner = heavy(plan(milestone("a")), {"milestones": [], "strategy": "Nothing more."}, end=synthesis(met=[False]))
    output = run(planner, max_replans=9)
    assert (output["status"], output["error"]["replans"]) == ("partial", 1)
    assert len(planner.asked) == 4


def test_plan_without_requirements_is_not_completed_against_the_verdict() -> None:
    bare = plan(milestone("a", covers=[]), requirements=[])
    output = run(heavy(bare, end=synthesis("I could not find it.", met=[False])), max_replans=0)
    assert (output["status"], output["error"]["code"]) == ("partial", "unmet_requirements")
    assert run(heavy(bare, end=synthesis("Here it is.", met=[])))["status"] == "completed"


@pytest.mark.parametrize("first", [[], [milestone("a", covers=[])]])
def test_plan_without_requirements_is_not_completed_over_a_failed_milestone(first: list[dict[str, Any]]) -> None:
    bare = plan(*first, milestone("b", covers=[]), requirements=[])
    end = synthesis("As good as it gets.", met=[])
    output = run(heavy(bare, plan(requirements=[], answer=None if first else "42"), end=end), failing("b"))
    assert (output["status"], output["error"]["code"]) == ("partial", "unmet_requirements")
    assert output["answer"] == "As good as it gets."
    another = plan(milestone("c", covers=[]), requirements=[])
    assert run(heavy(bare, another, end=end), failing("b"))["status"] == "completed"


def test_verdict_without_finished_work_behind_it_is_not_believed() -> None:
    end = synthesis(requirements=[{"number": 1, "met": True, "milestones": ["m1"]}])
    planner = heavy(plan(milestone("a"), milestone("b")), plan(milestone("c"), requirements=[]), end=end)
    output = run(planner, failing("a"), max_replans=1)
    assert output["status"] == "partial"


def test_verdict_on_what_no_finished_milestone_covers_is_not_believed() -> None:
    draft = plan(milestone("a"), milestone("b", covers=[2]), requirements=["One.", "Two."])
    output = run(heavy(draft, end=synthesis("Both.", met=[True, True])), budget={"tokens": 45})
    assert statuses(output) == {"a": "completed", "b": "pending"}
    assert [requirement["met"] for requirement in output["plan"]["requirements"]] == [True, False]
    assert "Unmet: 2. Two. (not shown by the results)" in output["error"]["message"]


@pytest.mark.parametrize(
    ("verdicts", "met", "note"),
    [
        ([{"number": 1, "met": True, "milestones": ["done:m1"]}], True, None),
        ([{"number": 1, "met": True}, {"number": 1, "met": False, "note": "no source"}], False, "no source"),
        ([{"number": 1, "met": False, "note": "no source"}, {"number": 1, "met": True}], False, "no source"),
        ([{"number": 1, "met": True, "milestones": ["m1", "m7"]}], False, "not shown by the results"),
        ([{"number": 2, "met": True}], False, "no verdict"),
        ([], False, "no verdict"),
    ],
)
def test_verdict_counts_for_what_it_shows(verdicts: list[Any], met: bool, note: str | None) -> None:
    output = run(heavy(plan(milestone("a")), end=synthesis(requirements=verdicts)), max_replans=0)
    (requirement,) = output["plan"]["requirements"]
    assert (requirement["met"], requirement["note"]) == (met, note)
    assert output["status"] == ("completed" if met else "partial")


def test_failed_synthesis_puts_the_results_together() -> None:
    planner = heavy(plan(milestone("a")), end="No.")
    output = run(planner)
    assert (output["status"], output["error"]["code"]) == ("partial", "synthesis_failed")
    assert "result of: a" in output["answer"]
    assert [asked.tools for asked in planner.asked] == [["PlanDraft"], ["Synthesis"], ["Synthesis"]]


def test_answer_in_prose_is_kept_where_only_its_verdicts_follow() -> None:
    said: list[Answer] = ["It is 42.", {"requirements": [{"number": 1, "met": True, "milestones": ["m1"]}]}]
    planner = ScriptedModel(lambda asked: plan(milestone("a")) if asked.tools == ["PlanDraft"] else said.pop(0))
    output = run(planner)
    assert (output["status"], output["answer"]) == ("completed", "It is 42.")
    again = planner.asked[-1].messages
    assert [message.type for message in again[-2:]] == ["ai", "human"]
    assert again[-2].text == "It is 42."


def test_answer_in_prose_that_nobody_judges_is_no_complete_one() -> None:
    output = run(heavy(plan(milestone("a")), end="It is 42."))
    assert (output["status"], output["error"]["code"]) == ("partial", "synthesis_failed")
    assert output["answer"].startswith("It is 42.\n\n- a: result of: a")
    assert "was not checked" in output["error"]["message"]


def test_prose_that_is_no_answer_gives_way_to_one() -> None:
    said: list[Answer] = ["Sure, happily!", synthesis("It is 42.")]
    planner = ScriptedModel(lambda asked: plan(milestone("a")) if asked.tools == ["PlanDraft"] else said.pop(0))
    output = run(planner)
    assert (output["status"], output["answer"]) == ("completed", "It is 42.")


def test_draft_that_comes_again_unchanged_is_not_shown_again() -> None:
    planner = heavy(plan(milestone("a", tools=["fly"])))
    run(planner)
    assert [any(m.type == "ai" for m in asked.messages) for asked in planner.asked] == [False, True, False]
    assert all("unknown tool 'fly'" in asked.messages[-1].text for asked in planner.asked[1:])
    assert all(a.type != b.type for asked in planner.asked for a, b in pairwise(asked.messages))


def test_model_that_refuses_is_asked_twice_not_more() -> None:
    planner = heavy(AIMessage("", response_metadata={"finish_reason": "content_filter"}))
    output = run(planner)
    assert (output["status"], len(planner.asked)) == ("aborted", 2)
    assert "content_filter" in output["error"]["message"]


def test_failed_synthesis_of_a_run_that_was_cut_short_tells_both() -> None:
    output = run(heavy(plan(milestone("a"), milestone("b")), end="No."), budget={"tokens": 45})
    assert (output["status"], output["error"]["code"]) == ("partial", "budget")
    assert "Crossed the budget of 45 tokens." in output["error"]["message"]
    assert "no usable answer" in output["error"]["message"]
    assert "result of: a" in output["answer"]


def test_failed_replan_keeps_what_is_finished() -> None:
    output = run(heavy(plan(milestone("a"), milestone("b")), ConnectionError("down")), failing("b"))
    assert (output["status"], output["error"]["code"]) == ("partial", "planner_unavailable")
    assert "result of: a" in output["answer"]
    assert output["error"]["replans"] == 1


def test_dependent_of_a_failed_milestone_never_runs() -> None:
    executor = failing("a")
    run(heavy(plan(milestone("a"), milestone("b", depends_on=["m1"]))), executor, max_replans=0)
    assert {goal_of(asked) for asked in executor.asked} == {"a"}


def test_independent_milestones_of_a_round_overlap_and_agree_with_the_sequential_run() -> None:
    draft = plan(milestone("a"), milestone("b"), milestone("c", depends_on=["m1", "m2"]))
    outputs = {}
    for most in (1, 2):
        agent = create_plan_execute_agent(
            heavy(draft), ScriptedModel(diligent), [look_up], context={"max_parallel": most}
        )
        events = [e for e in agent.stream(ASKED, stream_mode="custom") if e["type"] == "milestone_started"]
        assert [e["milestone"] for e in events] == ["m1", "m2", "m3"]
        rounds = [u for u in agent.stream(ASKED, stream_mode="updates") if "replan_gate" in u]
        assert len(rounds) == 4 - most
        outputs[most] = agent.invoke(ASKED)
    results = [{k: m["result"] for k, m in output["milestones"].items()} for output in outputs.values()]
    assert results[0] == results[1]


def test_failure_beside_a_success_keeps_the_success() -> None:
    planner = heavy(plan(milestone("a"), milestone("b")), plan(milestone("c"), requirements=[]))
    output = run(planner, failing("b"), max_parallel=2)
    assert statuses(output) == {"a": "completed", "b": "failed", "c": "completed"}


def test_second_question_on_a_thread_is_a_run_of_its_own() -> None:
    planner = heavy(plan(milestone("a")), {"answer": "As I said."}, plan(milestone("b")))
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(ASKED, config)
    second = agent.invoke(question("And again?"), config)
    assert (second["answer"], second["milestones"], second["plan"]) == ("As I said.", {}, None)
    assert second["usage"]["planner"]["calls"] == 1
    assert "ai: The answer." in planner.asked[2].text
    third = agent.invoke(question("Go on."), config)
    assert list(third["milestones"]) == ["m1"]
    assert [m.type for m in third["messages"]] == ["human", "ai"] * 3
    log = agent.get_state(config).values["log"]
    assert [entry["type"] for entry in log].count("plan_created") == 1


@pytest.mark.parametrize("content", ["", "  \n", [{"type": "text", "text": " "}]])
def test_empty_request_ends_with_a_sentence_and_no_call(content: Any) -> None:
    planner = heavy(plan(milestone("a")))
    agent = create_plan_execute_agent(planner, planner, [look_up])
    output = agent.invoke({"messages": [{"role": "user", "content": content}]})
    assert (output["status"], output["error"]["code"]) == ("aborted", "empty_request")
    assert planner.asked == []


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
FILE = {"type": "file", "mime_type": "application/pdf", "base64": "JVBERi0="}


@pytest.mark.parametrize(
    ("profile", "content", "taken", "not_taken"),
    [
        ({"image_inputs": True}, [{"type": "text", "text": "What is it?"}, PICTURE], ["image"], ""),
        ({"image_inputs": True, "pdf_inputs": True}, [PICTURE, FILE], ["image", "file"], ""),
        ({"image_inputs": True}, [PICTURE, FILE, FILE], ["image"], "2 files"),
        ({}, [PICTURE, {**PICTURE}], [], "2 pictures"),
        ({"image_inputs": True}, [{"type": "image_url"}, {"type": "image"}, PICTURE], ["image"], ""),
        ({"image_inputs": True, "image_url_inputs": False}, [{"type": "image", "url": "https://x.org/a.png"}], [], "1"),
    ],
)
def test_what_is_attached_reaches_models_that_take_it_and_is_named_to_the_others(
    profile: Any, content: list[Any], taken: list[str], not_taken: str
) -> None:
    planner = ScriptedModel(
        lambda asked: synthesis() if asked.tools == ["Synthesis"] else plan(milestone("a")), profile=profile
    )
    light = ScriptedModel(diligent)
    agent = create_plan_execute_agent(planner, light, [look_up])
    output = agent.invoke({"messages": [{"role": "user", "content": content}]})
    assert output["status"] == "completed"
    for asked in planner.asked:
        last = asked.messages[-1]
        given = [block["type"] for block in last.content_blocks if block["type"] != "text"]
        assert given == taken
        assert ("not readable for you" in last.text) == bool(not_taken)
        assert not_taken in last.text
    assert all(isinstance(message.content, str) for asked in light.asked for message in asked.messages)


def test_system_messages_of_a_thread_reach_the_planner_and_the_synthesizer() -> None:
    planner = heavy(plan(milestone("a")))
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up])
    agent.invoke({"messages": [{"role": "system", "content": "Answer in French."}, *ASKED["messages"]]})
    assert ["Answer in French." in asked.text for asked in planner.asked] == [True, True]
    assert "Answer in French." in planner.asked[1].messages[0].text


def test_request_of_100_kb_with_braces_arrives_unchanged() -> None:
    request = "{x} {{ %s {0.__class__} $y " * 4_000
    planner = heavy(plan(milestone("a {x}")))
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up])
    assert agent.invoke(question(request))["status"] == "completed"
    assert request in planner.asked[0].text


def test_instructions_reach_their_role_only() -> None:
    planner, executor = heavy(plan(milestone("a"))), ScriptedModel(diligent)
    run(planner, executor, planner_instructions="PLAN IN FRENCH", executor_instructions="COUNT TWICE")
    assert all("PLAN IN FRENCH" in asked.text and "COUNT TWICE" not in asked.text for asked in planner.asked)
    assert all("COUNT TWICE" in asked.text and "PLAN IN FRENCH" not in asked.text for asked in executor.asked)


class Verdict(BaseModel):
    """A typed final answer."""

    total: int


@pytest.mark.parametrize("form", [Verdict, Verdict.model_json_schema()], ids=["type", "JSON schema"])
def test_response_format_gives_the_answer_as_plain_json(form: Any) -> None:
    planner = heavy(plan(milestone("a")), end=synthesis("Three.", structured_response={"total": 3}))
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [look_up], response_format=form)
    output = agent.invoke(ASKED)
    assert (output["structured_response"], output["answer"]) == ({"total": 3}, "Three.")
    assert len(planner.asked) == 2


def test_direct_answer_takes_the_response_format_too() -> None:
    planner = heavy({"answer": "Three."}, end=synthesis("Three.", [], structured_response={"total": 3}))
    output = create_plan_execute_agent(planner, planner, response_format=Verdict).invoke(ASKED)
    assert (output["status"], output["structured_response"]) == ("completed", {"total": 3})


async def test_invoke_ainvoke_stream_and_batch_agree() -> None:
    def agent() -> Any:
        planner = heavy(plan(milestone("a"), milestone("b")), plan(milestone("c"), requirements=[]))
        return create_plan_execute_agent(planner, failing("b"), [look_up])

    outputs = [agent().invoke(ASKED), await agent().ainvoke(ASKED), agent().batch([ASKED])[0]]
    outputs.append([chunk async for chunk in agent().astream(ASKED, stream_mode="values")][-1])
    outputs.append(list(agent().stream(ASKED, stream_mode="values"))[-1])
    seen = [(output["answer"], statuses(output), output["usage"], output["plan"]) for output in outputs]
    assert all(one == seen[0] for one in seen)


def test_planners_json_is_hidden_and_executors_tokens_are_visible_in_the_messages_stream() -> None:
    agent = create_plan_execute_agent(heavy(plan(milestone("a"))), ScriptedModel(diligent), [look_up])
    seen: list[Any] = list(agent.stream(ASKED, stream_mode="messages", subgraphs=True))
    called = {call["name"] for _, (message, _) in seen for call in getattr(message, "tool_calls", [])}
    assert called == {"look_up", "MilestoneReport"}


def test_log_tells_every_transition() -> None:
    planner = heavy(plan(milestone("a"), milestone("b")), plan(milestone("c"), requirements=[]))
    agent = create_plan_execute_agent(planner, failing("b"), [look_up], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(ASKED, config)
    log = agent.get_state(config).values["log"]
    assert [(entry["type"], entry.get("milestone"), entry.get("rule")) for entry in log] == [
        ("plan_created", None, None),
        ("milestone_started", "m1", None),
        ("milestone_finished", "m1", None),
        ("decision", None, "more_to_do"),
        ("milestone_started", "m2", None),
        ("milestone_finished", "m2", None),
        ("decision", None, "failed"),
        ("plan_revised", None, None),
        ("milestone_started", "m3", None),
        ("milestone_finished", "m3", None),
        ("decision", None, "all_done"),
        ("synthesized", None, None),
        ("answer", None, None),
    ]
    assert all(entry["at"] and entry["revision"] in {1, 2} for entry in log)


@pytest.mark.parametrize("subgraphs", [False, True])
def test_custom_stream_tells_each_transition_once(subgraphs: bool) -> None:
    agent = create_plan_execute_agent(heavy(plan(milestone("Find a."))), ScriptedModel(diligent), [look_up])
    news = agent.stream(ASKED, stream_mode="custom", subgraphs=subgraphs)
    kinds = [(event[1] if subgraphs else event)["type"] for event in news]  # type: ignore[index]
    told = [kind for kind in kinds if not kind.startswith("tool_")]
    assert told == ["plan_created", "milestone_started", "milestone_finished", "decision", "synthesized", "answer"]


def test_recursion_limit_of_25_ends_in_a_status() -> None:
    agent = create_plan_execute_agent(
        heavy(plan(*[milestone(f"part {n}") for n in range(20)])), ScriptedModel(diligent), [look_up]
    )
    output = agent.invoke(ASKED, {"recursion_limit": 25})
    assert (output["status"], output["error"]["code"]) == ("partial", "recursion_limit")


@pytest.mark.parametrize("given", ["look_up", {"type": "web_search"}])
def test_what_is_no_tool_is_refused_in_a_sentence(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a tool: give LangChain tools"):
        create_plan_execute_agent(tools=[given])


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="Two tools are called 'look_up'"):
        create_plan_execute_agent(tools=[look_up, look_up])


def test_tools_that_middleware_brings_are_in_the_catalogue() -> None:
    from langchain.agents.middleware import TodoListMiddleware

    todo = [{"content": "look", "status": "in_progress"}]
    light = ScriptedModel([tool_call("write_todos", {"todos": todo}), report("noted")])
    planner = heavy(plan(milestone("a", tools=["write_todos"])))
    agent = create_plan_execute_agent(planner, light, [look_up], middleware=[TodoListMiddleware()])
    output = agent.invoke(ASKED)
    assert output["status"] == "completed", output["error"]
    assert [call["tool"] for call in output["milestones"]["m1"]["tool_calls"] if call["ok"]] == ["write_todos"]
    assert "write_todos" in planner.asked[0].text


def test_user_middleware_runs_inside_the_executor() -> None:
    from langchain.agents.middleware import wrap_tool_call

    seen: list[str] = []

    @wrap_tool_call
    def watch(request: Any, handler: Any) -> Any:
        seen.append(request.tool_call["name"])
        return handler(request)

    agent = create_plan_execute_agent(
        heavy(plan(milestone("a"))), ScriptedModel(diligent), [look_up], middleware=[watch]
    )
    assert agent.invoke(ASKED)["status"] == "completed"
    assert seen == ["look_up"]


def test_tool_call_of_the_final_answer_is_no_tool_chatter() -> None:
    output = run(heavy(plan(milestone("a"))), ScriptedModel([tool_call("look_up", {"subject": "x"}), report("found")]))
    assert [m.type for m in output["messages"]] == ["human", "ai"]


def test_model_that_reports_no_usage_does_no_harm() -> None:
    def answer(asked: Asked) -> Answer:
        return synthesis() if asked.tools == ["Synthesis"] else plan(milestone("a"))

    planner = ScriptedModel(answer, reports_usage=False)
    output = run(planner, ScriptedModel(diligent, reports_usage=False))
    assert output["status"] == "completed"
    assert output["usage"]["executor"]["calls"] == 2
    assert output["usage"]["executor"]["input_tokens"] == 0
    assert output["usage"]["executor"]["usd"] is None


def test_as_many_milestones_run_at_once_as_the_run_allows_in_sync_code_too() -> None:
    count = (os.cpu_count() or 1) + 8
    everyone = threading.Barrier(count)

    @tool
    def meet(subject: str) -> str:
        """Wait until everybody is here."""
        everyone.wait(60)
        return subject

    planner = heavy(plan(*[milestone(f"part {n}", tools=["meet"]) for n in range(count)]))
    agent = create_plan_execute_agent(planner, ScriptedModel(diligent), [meet], context={"max_parallel": count})
    assert set(statuses(agent.invoke(ASKED)).values()) == {"completed"}


@pytest.mark.parametrize(
    ("role", "code"), [("planner_model", "planner_unavailable"), ("executor_model", "model_unavailable")]
)
async def test_model_that_cannot_be_loaded_ends_in_a_typed_abort(role: str, code: str) -> None:
    models: dict[str, Any] = {"planner_model": heavy(plan(milestone("a"))), "executor_model": ScriptedModel(diligent)}
    agent = create_plan_execute_agent(context={**models, role: "local:nowhere.gguf"})
    for output in (agent.invoke(ASKED), await agent.ainvoke(ASKED)):
        assert (output["status"], output["error"]["code"]) == ("aborted", code)
        assert "nowhere.gguf" in output["error"]["message"]
    assert models["planner_model"].asked == []


@pytest.mark.parametrize("context", [{}, {"max_parallel": 2}, {"max_parallel": 2, "verify": "model"}])
async def test_run_whose_events_are_streamed_ends_like_any_other(context: dict[str, Any]) -> None:
    def light(asked: Asked) -> Answer:
        return {"done": True, "reason": "seen"} if asked.tools == ["Verification"] else diligent(asked)

    agent = create_plan_execute_agent(
        heavy(plan(milestone("a"), milestone("b"))), ScriptedModel(light), [look_up], context=context
    )
    output = await agent.ainvoke(ASKED)
    host = StateGraph(MessagesState)
    host.add_node("agent", agent)
    host.add_edge(START, "agent")
    graphs: list[tuple[Runnable[Any, Any], Iterable[str]]] = [(agent, output), (host.compile(), ["messages"])]
    for graph, keys in graphs:
        events = [event async for event in graph.astream_events(ASKED, version="v2") if not event["parent_ids"]]
        ended = {key: value for key, value in events[-1]["data"]["output"].items() if key in keys}
        assert [message.text for message in ended["messages"]] == [message.text for message in output["messages"]]
        assert ended.get("usage", output["usage"]) == output["usage"]
        assert ended.get("milestones", output["milestones"]).keys() == output["milestones"].keys()


async def test_success_claimed_without_evidence_is_none_where_events_are_streamed() -> None:
    agent = create_plan_execute_agent(
        heavy(plan(milestone("a"))), ScriptedModel([report("made up")]), [look_up], context={"max_replans": 0}
    )
    events = [event async for event in agent.astream_events(ASKED, version="v2") if not event["parent_ids"]]
    ended = events[-1]["data"]["output"]
    assert ended["status"] == "aborted"
    assert ended["milestones"]["m1"]["failure"]["code"] == "no_evidence"
