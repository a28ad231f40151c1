"""A trace tells for which role, milestone, revision and attempt each call was made."""

from collections import Counter
from typing import Any

from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

from plan_execute.graphs import create_executor, create_plan_execute_agent
from tests.fakes import Answer, Asked, ScriptedModel, diligent, goal_of, heavy, milestone, plan, report


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    return f"about {subject}"


class Trace(BaseTracer):
    """Keeps the spans of a run, the root first."""

    def _persist_run(self, run: Run) -> None:
        self.spans = list(_spans_of(run))


def _spans_of(run: Run) -> Any:
    yield run
    for child in run.child_runs:
        yield from _spans_of(child)


def facts_of(span: Run) -> tuple[Any, ...]:
    metadata = (span.extra or {}).get("metadata", {})
    return tuple(metadata.get(name) for name in ("role", "milestone", "revision", "attempt"))


def run(**settings: Any) -> list[Run]:
    def answer(asked: Asked) -> Answer:
        return report("no", "failed") if goal_of(asked) == "Guess a." else diligent(asked)

    first = plan(milestone("Find b."), milestone("Guess a."))
    agent = create_plan_execute_agent(
        heavy(first, plan(milestone("Find a."))), ScriptedModel(answer), [look_up], context=settings
    )
    trace = Trace()
    asked: Any = {"messages": [("user", "What are a and b?")]}
    agent.invoke(asked, {"callbacks": [trace]})
    return trace.spans


def test_calls_of_models_are_counted_by_role_and_milestone() -> None:
    calls = Counter(facts_of(span) for span in run() if span.run_type == "llm")
    assert calls == {
        ("planner", None, 1, None): 1,
        ("executor", "m1", 1, 1): 2,
        ("executor", "m2", 1, 1): 1,
        ("planner", None, 2, None): 1,
        ("executor", "m3", 2, 1): 2,
        ("synthesizer", None, 2, None): 1,
    }


def test_every_span_below_the_run_has_a_role_and_every_one_below_a_milestone_says_which() -> None:
    _, *spans = run()
    assert {facts_of(span)[0] for span in spans} == {"intake", "planner", "executor", "gate", "synthesizer"}
    inside = [
        span for span in spans if facts_of(span)[0] == "executor" and span.parent_run_id != spans[0].parent_run_id
    ]
    assert {facts_of(span)[1:] for span in inside} == {("m1", 1, 1), ("m2", 1, 1), ("m3", 2, 1)}


def test_spans_have_names_by_role_and_milestone_and_no_parser_among_them() -> None:
    names = [span.name for span in run()]
    assert {"planner", "synthesizer", "milestone m1", "milestone m2", "milestone m3", "look_up"} <= set(names)
    assert not [name for name in names if name.startswith("Runnable") or "Parser" in name]


def test_executor_of_its_own_is_traced_as_one() -> None:
    trace = Trace()
    executor = create_executor(ScriptedModel(diligent), [look_up])
    brief: Any = {"brief": {"id": "mine", "goal": "Find a.", "tools": ["look_up"]}}
    executor.invoke(brief, {"callbacks": [trace]})
    calls = {facts_of(span)[:2] for span in trace.spans if span.run_type in {"llm", "tool"}}
    assert calls == {("executor", "mine")}


def test_verifier_is_a_role() -> None:
    trace = Trace()
    agent = create_plan_execute_agent(
        heavy(plan(milestone("Find a."))),
        ScriptedModel(diligent),
        [look_up],
        context={"verify": "model", "verifier_model": ScriptedModel([{"met": True, "reason": "it is there"}])},
    )
    asked: Any = {"messages": [("user", "What is a?")]}
    agent.invoke(asked, {"callbacks": [trace]})
    assert ("verifier", "m1", 1, 1) in {facts_of(span) for span in trace.spans if span.run_type == "llm"}
