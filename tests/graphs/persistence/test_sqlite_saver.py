"""SQLite's checkpointers: few bytes, and threads that LangGraph's own can read."""

from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from plan_execute.graphs import create_plan_execute_agent, open_checkpointer
from plan_execute.graphs.persistence.checkpointer import next_version
from plan_execute.graphs.plan_execute import PlanExecuteAgent
from tests.benchmarks.bench_checkpoints import measure_milestones, sqlite_place
from tests.fakes import ScriptedModel, heavy, milestone, plan, report


def agent_with(checkpointer: BaseCheckpointSaver[Any]) -> PlanExecuteAgent:
    drafted = plan(milestone("look", tools=[]), milestone("look again", tools=[], depends_on=["m1"]))
    return create_plan_execute_agent(heavy(drafted), ScriptedModel([report("seen")]), checkpointer=checkpointer)


def ask(checkpointer: BaseCheckpointSaver[Any], text: str) -> list[str]:
    config: RunnableConfig = {"configurable": {"thread_id": "sales"}}
    agent = agent_with(checkpointer)
    agent.invoke({"messages": [HumanMessage(text)]}, config, durability="sync")
    values = agent.get_state(config).values
    assert [entry["type"] for entry in values["log"]].count("milestone_finished") == 2
    return [message.text for message in values["messages"]]


def test_langgraphs_own_saver_goes_on_with_a_thread_and_it_comes_back(tmp_path: Path) -> None:
    path = str(tmp_path / "threads.sqlite")
    with open_checkpointer(path) as ours:
        ask(ours, "one")
    with SqliteSaver.from_conn_string(path) as theirs:
        ask(theirs, "two")
    with open_checkpointer(path) as ours:
        said = ask(ours, "three")
    assert said == ["one", "The answer.", "two", "The answer.", "three", "The answer."]


def test_branches_of_a_thread_do_not_mix(tmp_path: Path) -> None:
    with open_checkpointer(str(tmp_path / "threads.sqlite")) as checkpointer:
        ask(checkpointer, "one")
        agent = agent_with(checkpointer)
        before = list(agent.get_state_history({"configurable": {"thread_id": "sales"}}))
        fork = next(snapshot for snapshot in before if snapshot.next == ("replan_gate",))
        agent.invoke(None, fork.config, durability="sync")
        after = list(agent.get_state_history({"configurable": {"thread_id": "sales"}}))
        assert len(after) > len(before)
        assert [s.values for s in after[-len(before) :]] == [s.values for s in before]
        for values in (after[0].values, before[0].values):
            assert [entry["type"] for entry in values["log"]].count("milestone_finished") == 2
            assert values["status"] == "completed"


def test_versions_sort_as_they_are_counted_and_before_those_of_langgraph() -> None:
    counted = [None, "+0000009", "+0000099", "+9999998", "+9999999", f"{10**7:032}.0.25"]
    versions = [next_version(version) for version in counted]
    assert versions == sorted(versions)
    assert [int(version) for version in versions] == [1, 10, 100, 9_999_999, 10**7, 10**7 + 1]


def test_storage_grows_by_the_same_for_each_milestone(tmp_path: Path) -> None:
    with sqlite_place(tmp_path) as place:
        few, more, many = (measure_milestones(place, count) for count in (10, 20, 30))
    assert many.main - more.main < 10 * 12_000, "of which the plan that is ticked off takes a fifth"
    assert many.main - more.main < (more.main - few.main) * 1.1
    assert many.scratchpads < 30 * 45_000


def test_scratchpad_grows_by_the_same_for_each_call(tmp_path: Path) -> None:
    with sqlite_place(tmp_path) as place:
        few, more, many = (
            measure_milestones(place, 1, calls=calls, answer_length=2_000).scratchpads for calls in (10, 20, 30)
        )
    assert many - more < (more - few) * 1.1
    assert many - more < 10 * (2_000 + 4_500), "what a tool answered is stored once"
