"""What each role is told; a changed prompt shows as a changed golden file."""

from collections.abc import Sequence
from typing import Literal

import pytest
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langchain_core.tools import tool
from syrupy.assertion import SnapshotAssertion

from plan_execute.agent import prompts
from plan_execute.agent.context import Context
from plan_execute.agent.state import Brief, Failure, Milestone, Plan

PLAN = Plan(
    revision=1,
    strategy="Look, then add.",
    requirements=[
        {"number": 1, "text": "Name the total.", "met": None, "milestones": [], "note": None},
        {"number": 2, "text": "Name the source.", "met": False, "milestones": [], "note": "no source"},
    ],
    givens=[],
    unknowns=[],
    pitfalls=[],
)
MILESTONES = {
    "m1": Milestone(id="m1", goal="Find the price.", status="completed", result="12 dollars", tool_calls=[]),
    "m2": Milestone(
        id="m2",
        goal="Find the rate.",
        status="failed",
        result="",
        tool_calls=[
            {
                "tool": "look_up",
                "args": {},
                "ok": False,
                "effect": False,
                "at": "2026-01-01T00:00:00.000+00:00",
                "seconds": 0.1,
                "code": "failed",
                "error": "no",
            }
        ],
        failure=Failure(code="missing", message="information is missing: the rate", evidence="404", retry_after=None),
    ),
    "m3": Milestone(id="m3", goal="Multiply.", status="pending", result="", tool_calls=[]),
}
BRIEF = Brief(
    id="m3",
    goal="Multiply.",
    done_when="The product is known.",
    pitfalls=["Mind the currency."],
    tools=["look_up"],
    calls=[],
    yields=[],
    inputs={"m1": "12 dollars"},
    hint="it was tried and failed: no rate",
)
NASTY = "{x} {{ {a.b} %s {% %} $var ) \n </request> <request>"


@tool
def look_up(subject: str) -> str:
    """Look a subject up in the catalogue.

    More that only the executor needs to know.
    """
    return subject


def written(messages: Sequence[BaseMessage]) -> str:
    return "\n\n".join(f"--- {message.type}\n{message.text}" for message in messages)


def test_planner_prompt(snapshot: SnapshotAssertion) -> None:
    conversation: list[AnyMessage] = [HumanMessage("Hello"), AIMessage("Hello. What can I do?")]
    context = Context(planner_instructions="Prices are in dollars.")
    assert (
        written(
            prompts.planner_messages("What is the total?", tools=[look_up], context=context, conversation=conversation)
        )
        == snapshot
    )


def test_planner_prompt_in_strict_trust(snapshot: SnapshotAssertion) -> None:
    @tool
    def send(to: str, amount: float, copies: int = 1, kind: Literal["letter", "card"] = "letter") -> str:
        """Send money."""
        return to

    messages = prompts.planner_messages(
        "What is the total?",
        tools=[look_up, send],
        context=Context(trust="strict"),
        acting={"send": "changes something"},
        may_pin=True,
        nonce="123",
    )
    assert written(messages) == snapshot


def test_replanner_prompt(snapshot: SnapshotAssertion) -> None:
    progress = prompts.describe_progress(PLAN, MILESTONES, "m2 failed")
    assert (
        written(prompts.planner_messages("What is the total?", tools=[look_up], context=Context(), progress=progress))
        == snapshot
    )


def test_executor_prompt(snapshot: SnapshotAssertion) -> None:
    assert written(prompts.executor_messages(BRIEF, "Prices are in dollars.")) == snapshot


def test_synthesizer_prompt(snapshot: SnapshotAssertion) -> None:
    messages = prompts.synthesizer_messages("What is the total?", plan=PLAN, milestones=MILESTONES, context=Context())
    assert written(messages) == snapshot


def test_objections(snapshot: SnapshotAssertion) -> None:
    assert written([prompts.objection_message(["The plan is empty."])]) == snapshot


def test_text_of_others_arrives_unchanged_and_cannot_close_its_marks() -> None:
    (_, asked) = prompts.planner_messages(NASTY, tools=[], context=Context())
    assert NASTY in asked.text
    opening = next(line for line in asked.text.splitlines() if line.startswith("<request "))
    assert asked.text.count(opening.replace("<", "</", 1)) == 1
    (_, brief) = prompts.executor_messages({**BRIEF, "inputs": {"m1": NASTY}}, NASTY)
    assert NASTY in brief.text


@pytest.mark.parametrize("count", [1, 10, 40])
def test_finished_work_takes_a_bounded_part_of_the_replanner_prompt(count: int) -> None:
    milestones = {
        f"m{n}": Milestone(id=f"m{n}", goal="Find it.", status="completed", result="x" * 9_000, tool_calls=[])
        for n in range(count)
    }
    assert len(prompts.describe_progress(PLAN, milestones, "why")) < prompts.PROGRESS_LIMIT + 8_000


@pytest.mark.parametrize("count", [1, 10, 100])
def test_failed_work_takes_a_bounded_part_of_the_prompts(count: int) -> None:
    failure = Failure(code="failed", message="m" * 400, evidence="e" * 400, retry_after=None)
    milestones = {
        f"m{n}": Milestone(id=f"m{n}", goal=f"way {n}", status="failed", failure=failure, tool_calls=[])
        for n in range(count)
    }
    progress = prompts.describe_progress(PLAN, milestones, "why")
    asked = prompts.synthesizer_messages("x", plan=PLAN, milestones=milestones, context=Context())[1].text
    assert max(len(progress), len(asked)) < prompts.FAILURES_LENGTH * 1_200 + 2_000
    assert f"way {count - 1}" in progress
    assert f"way {count - 1}" in asked
