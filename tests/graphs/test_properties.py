"""What holds for every run, whatever the plans, the outcomes and the limits."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from plan_execute.agent.nodes.planner import REPAIRS
from plan_execute.agent.nodes.synthesize import REPAIRS as SYNTHESIS_REPAIRS
from plan_execute.agent.state import PlanExecuteInput
from plan_execute.graphs import create_plan_execute_agent
from tests.fakes import Answer, Asked, ScriptedModel, goal_of, milestone, plan, report, synthesis, tool_call
from tests.replay import replay

ASKED: PlanExecuteInput = {"messages": [{"role": "user", "content": "Do it."}]}
CODES = {
    "plan_unparsable",
    "plan_invalid",
    "planner_unavailable",
    "executor_unavailable",
    "max_replans",
    "no_progress",
    "budget",
    "recursion_limit",
    "synthesis_failed",
    "unmet_requirements",
    "unexpected_state",
}
OUTCOMES = ("success", "success", "success", "fail", "block", "lie", "raise", "prose", "surprise", "loop", "stray")
DRAFTS = (
    *("good", "good", "good", "again", "again", "again"),
    *("prose", "raise", "cycle", "unknown tool", "empty", "answer"),
)


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


class World:
    """Models that behave as drawn, and a memory of what they did."""

    def __init__(self, draw: Iterator[Any]) -> None:
        self.draw = draw
        self.drafts = 0
        self.goals: list[str] = []
        self.done: set[str] = set()
        self.done_again: list[str] = []

    def heavy(self, asked: Asked) -> Answer:
        """Plan or synthesize in a way drawn at random."""
        if asked.tools == ["Synthesis"]:
            return next(self.draw)["synthesis"]  # type: ignore[no-any-return]
        self.drafts += 1
        drawn = next(self.draw)
        if drawn["draft"] != "again" or not self.goals:
            self.goals = [f"goal {self.drafts}.{n} {outcome}" for n, outcome in enumerate(drawn["outcomes"])]
        milestones = [
            milestone(goal, depends_on=[f"m{k + 1}" for k in range(n) if (k + n) % drawn["density"] == 0])
            for n, goal in enumerate(self.goals)
        ]
        match drawn["draft"]:
            case "prose":
                return "I would rather talk."
            case "raise":
                return ConnectionError("down")
            case "cycle":
                return plan(milestone("a", depends_on=["m2"]), milestone("b", depends_on=["m1"]))
            case "unknown tool":
                return plan(milestone("a", tools=["fly"]))
            case "empty":
                return plan()
            case "answer":
                return {"answer": "Hello."}
        return plan(*milestones)

    def light(self, asked: Asked) -> Answer:
        """Carry a milestone out as its goal says."""
        goal = goal_of(asked)
        answered = any(message.type == "tool" for message in asked.messages)
        if goal in self.done:
            self.done_again.append(goal)
        match goal.split()[-1]:
            case "raise":
                return TimeoutError("slow") if not answered else report()
            case "prose":
                return "Done, I think."
            case "lie":
                return report("invented")
            case "loop":
                return tool_call("look_up", {"subject": str(len(asked.messages))})
            case "stray":
                return tool_call("fly", {}) if not answered else report()
        if not answered:
            return tool_call("look_up", {"subject": "x"})
        match goal.split()[-1]:
            case "fail":
                return report("in vain", "failed")
            case "block":
                return report("", "blocked", missing="a name")
            case "surprise":
                self.done.add(goal)
                return report("found", surprise="all is different")
        self.done.add(goal)
        return report("found")


ROUNDS = st.fixed_dictionaries(
    {
        "draft": st.sampled_from(DRAFTS),
        "outcomes": st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=4),
        "density": st.integers(1, 3),
        "synthesis": st.sampled_from(
            [
                *(synthesis(), synthesis(), synthesis(met=[False]), "No.", ConnectionError("down")),
                synthesis(requirements=[{"number": 1, "met": True, "milestones": ["m99"]}]),
            ]
        ),
    }
)
LIMITS = st.fixed_dictionaries(
    {
        "max_replans": st.integers(0, 3),
        "max_attempts": st.integers(1, 2),
        "max_parallel": st.integers(1, 3),
        "max_tool_calls": st.integers(1, 4),
        "max_model_calls": st.integers(2, 6),
        "escalate": st.booleans(),
    },
    optional={
        "budget": st.fixed_dictionaries({}, optional={"heavy_calls": st.integers(1, 6), "tokens": st.integers(10, 300)})
    },
)


@settings(max_examples=40, derandomize=True)
@given(st.lists(ROUNDS, min_size=20, max_size=20), LIMITS, st.sampled_from([25, 60, 10_007]))
def test_every_run_ends_and_says_truthfully_how(drawn: list[Any], limits: dict[str, Any], steps: int) -> None:
    def again() -> Iterator[Any]:
        while True:
            yield from drawn

    world = World(again())
    heavy = ScriptedModel(world.heavy)
    light = ScriptedModel(world.light)
    agent = create_plan_execute_agent(heavy, light, [look_up], context=limits, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": steps}
    output = agent.invoke(ASKED, config)
    milestones, log = output["milestones"], agent.get_state(config).values["log"]

    assert output["status"] in {"completed", "partial", "aborted"}
    assert (output["error"] is None) == (output["status"] == "completed")
    if output["error"]:
        assert output["error"]["code"] in CODES
        assert output["error"]["message"]
    assert output["messages"][-1].type == "ai"
    assert output["messages"][-1].text

    assert world.done_again == []
    for done in (m for m in milestones.values() if m["status"] == "completed"):
        assert done["goal"].split()[-1] in {"success", "surprise"}
    for requirement in output["plan"]["requirements"] if output["plan"] else ():
        assert not requirement["met"] or {milestones[k]["status"] for k in requirement["milestones"]} == {"completed"}

    if output["status"] == "completed" and output["plan"]:
        assert all(requirement["met"] for requirement in output["plan"]["requirements"])
        current = [m for m in milestones.values() if m["revision"] == output["plan"]["revision"]]
        assert all(m["status"] in {"completed", "skipped"} for m in current)

    replans = sum(entry["type"] == "decision" and entry["action"] == "replan" for entry in log)
    asked_again = sum(entry.get("rule") == "unmet_requirement" for entry in log)
    plans = 1 + replans
    assert replans <= limits["max_replans"]
    escalated = sum(asked.tools not in (["PlanDraft"], ["Synthesis"]) for asked in heavy.asked)
    assert len(heavy.asked) - escalated <= plans * (1 + REPAIRS) + (1 + asked_again) * (1 + SYNTHESIS_REPAIRS)
    if "heavy_calls" in limits.get("budget", {}):
        assert len(heavy.asked) - escalated <= limits["budget"]["heavy_calls"]

    order = [(entry["type"], entry["milestone"]) for entry in log if entry["type"].startswith("milestone_")]
    for position, (kind, key) in enumerate(order):
        if kind == "milestone_started":
            finished = {k for what, k in order[:position] if what == "milestone_finished"}
            completed = {k for k in finished if milestones[k]["status"] == "completed"}
            assert set(milestones[key]["depends_on"]) <= completed
            assert key not in completed

    plan_replayed, milestones_replayed = replay(log)
    assert plan_replayed == output["plan"]
    assert milestones_replayed.keys() == milestones.keys()
    for key, facts in milestones_replayed.items():
        stable = {name: value for name, value in facts.items() if name in {"status", "attempts", "goal", "depends_on"}}
        assert stable == {name: milestones[key][name] for name in stable}
