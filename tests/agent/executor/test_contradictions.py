"""What a model that writes its calls as text reports is held against what its tools have returned."""

import json
from typing import Any

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from plan_execute.agent.state import Brief, Milestone
from plan_execute.graphs import create_executor
from tests.fakes import ScriptedModel, report, tool_call
from tests.openai_server import Answer, Asked, OpenAIServer, serve_openai

FAILED = {"status": "failed", "result": "", "missing": None, "surprise": "It could not be done."}
GOAL = "Find out what 12 parcels cost."


@tool
def price_of(parcels: int) -> str:
    """Look up what a number of parcels costs."""
    return f"{parcels} parcels: 1,408.26 dollars, 15% of which is tax"


def claim(result: str) -> dict[str, Any]:
    return {"status": "succeeded", "result": result, "missing": None, "surprise": None}


def as_text(name: str, arguments: dict[str, Any]) -> str:
    return json.dumps({"name": name, "arguments": arguments})


def carry_out(first: dict[str, Any], second: Answer, **context: Any) -> tuple[Milestone, OpenAIServer]:
    """Let a model that writes calls as text look up a price and report `first`, and `second` when asked in a schema."""

    def answer(asked: Asked) -> Answer:
        if asked.schema == "MilestoneReport":
            return second
        if "1,408.26" in asked.text:
            return as_text("MilestoneReport", first)
        return as_text("price_of", {"parcels": 12})

    with serve_openai(answer) as server:
        model = ChatOpenAI(
            model="some-model", base_url=server.url, api_key=SecretStr("none"), profile={}, max_retries=0
        )
        executor = create_executor(model, [price_of], context=context)
        brief: Brief = {"goal": GOAL, "tools": ["price_of"]}
        (ended,) = executor.invoke({"brief": brief})["milestones"].values()
    return ended, server


@pytest.mark.parametrize("first", [FAILED, claim("They cost 720 dollars."), claim("12 parcels cost 1408.27 dollars.")])
def test_report_that_contradicts_the_results_is_asked_for_afresh(first: dict[str, Any]) -> None:
    ended, server = carry_out(first, claim("12 parcels cost 1,408.26 dollars."))
    assert (ended["status"], ended["result"]) == ("completed", "12 parcels cost 1,408.26 dollars.")
    question = server.asked[-1]
    assert question.schema == "MilestoneReport"
    assert "1,408.26" in question.text
    assert (first["result"] or "could not be done") not in question.text  # it would only repeat itself


@pytest.mark.parametrize(
    "result",
    [
        "12 parcels cost 1408 dollars.",
        "They cost $1,408.3.",
        "The tax is 15%, or 0.15 of it.",
        "There are 3 sorts of price.",
        "The dearest costs 1408.26.",
    ],
)
def test_figures_that_were_returned_stand_even_rounded(result: str) -> None:
    ended, server = carry_out(claim(result), "never asked")
    assert (ended["status"], ended["result"]) == ("completed", result)
    assert len(server.asked) == 2


def test_figures_that_stay_ungrounded_are_no_success() -> None:
    ended, _ = carry_out(claim("They cost 720 dollars."), claim("They cost 721 dollars."))
    failure = ended["failure"]
    assert failure
    assert (failure["code"], "721" in failure["message"]) == ("no_evidence", True)


def test_failure_that_is_repeated_stands() -> None:
    ended, server = carry_out(FAILED, FAILED)
    assert (ended["status"], len(server.asked)) == ("failed", 3)


@pytest.mark.parametrize("most", [2, 3])
def test_the_most_model_calls_hold(most: int) -> None:
    ended, server = carry_out(FAILED, claim("12 parcels cost 1,408.26 dollars."), max_model_calls=most)
    assert len(server.asked) == most
    assert (ended["status"] == "completed") == (most == 3)


def test_a_model_that_makes_its_calls_itself_is_believed() -> None:
    model = ScriptedModel([tool_call("price_of", {"parcels": 12}), report("They cost 720 dollars.")])
    (ended,) = (
        create_executor(model, [price_of])
        .invoke({"brief": {"goal": GOAL, "tools": ["price_of"]}})["milestones"]
        .values()
    )
    assert ended["status"] == "completed"
