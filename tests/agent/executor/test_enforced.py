"""An executor that makes no tool call by itself is asked for one in a schema that its server enforces."""

from typing import Any

import pytest
from jsonschema import ValidationError, validate  # type: ignore[import-untyped]  # it has no types
from langchain_core.tools import ToolException, tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from plan_execute.agent.executor.enforced import report_tool
from plan_execute.agent.state import Brief, Milestone, Yield
from plan_execute.graphs import create_executor
from tests.openai_server import Answer, Asked, OpenAIServer, serve_openai

NEXT_CALL = {"call": {"tool": "look_up", "args": {"subject": "a"}}}
REPORT = {"call": {"tool": "MilestoneReport", "args": {"status": "blocked", "result": "", "missing": "The subject."}}}


@tool
def look_up(subject: str) -> str:
    """Look a subject up."""
    if subject != "a":
        raise ToolException(f"There is nothing on {subject}.")
    return f"about {subject}"


def carry_out(answers: list[Answer], **context: Any) -> tuple[Milestone, OpenAIServer]:
    """Let a model that says "OK." carry out a milestone; the answers, of which the last stands, are to NextCall."""
    asked_for = 0

    def answer(asked: Asked) -> Answer:
        nonlocal asked_for
        if asked.schema == "NextCall":
            asked_for += 1
            return answers[min(asked_for, len(answers)) - 1]
        if asked.schema == "MilestoneReport":
            return {"status": "succeeded", "result": "It is known.", "missing": None, "surprise": None}
        return "It is known." if "about a" in asked.text else "OK."

    with serve_openai(answer) as server:
        model = ChatOpenAI(
            model="some-model", base_url=server.url, api_key=SecretStr("none"), profile={}, max_retries=0
        )
        executor = create_executor(model, [look_up], context=context)
        brief: Brief = {"goal": "Look a up.", "tools": ["look_up"], "pitfalls": ["Beware of b."]}
        (ended,) = executor.invoke({"brief": brief})["milestones"].values()
    return ended, server


@pytest.mark.parametrize(
    ("answers", "status", "code"),
    [
        ([NEXT_CALL], "completed", None),
        ([{"call": {"tool": "launch", "args": {}}}, NEXT_CALL], "completed", None),
        ([REPORT], "blocked", "missing"),
        (["OK."], "failed", "no_report"),
        ([{"call": {"tool": "look_up"}}], "failed", "no_report"),
        ([400], "failed", "no_report"),
        ([500], "failed", "transient"),
    ],
)
def test_executor_that_makes_no_call_is_asked_for_it_in_a_schema(
    answers: list[Answer], status: str, code: str | None
) -> None:
    ended, _ = carry_out(answers)
    failure = ended["failure"]
    assert (ended["status"], failure and failure["code"]) == (status, code)


def test_schema_takes_calls_of_the_tools_there_are_and_the_report() -> None:
    form = next(asked.form for asked in carry_out([NEXT_CALL])[1].asked if asked.schema == "NextCall")
    validate(NEXT_CALL, form)
    for wrong in ({"tool": "launch", "args": {}}, {"tool": "look_up", "args": {"colour": "red"}}, {"tool": "look_up"}):
        with pytest.raises(ValidationError):
            validate({"call": wrong}, form)


def test_question_has_what_the_executor_knows() -> None:
    _, server = carry_out([NEXT_CALL], executor_instructions="Never look z up.")
    said = next(asked.text for asked in server.asked if asked.schema == "NextCall")
    for part in ("Never look z up.", "look_up(subject): Look a subject up.", "Beware of b.", "Goal: Look a up."):
        assert part in said


def test_result_of_a_failed_call_is_shown_before_the_next_one() -> None:
    ended, server = carry_out([{"call": {"tool": "look_up", "args": {"subject": "b"}}}, NEXT_CALL])
    said = [asked.text for asked in server.asked if asked.schema == "NextCall"]
    assert ["There is nothing on b." in text for text in said] == [False, True]
    assert ended["status"] == "completed"


@pytest.mark.parametrize("answer", ["OK.", 400])
def test_every_reply_is_paid_for_once(answer: Answer) -> None:
    ended, server = carry_out([answer])
    replies = [asked for asked in server.asked if asked.schema != "NextCall" or answer != 400]
    assert ended["usage"]["executor"]["calls"] == len(replies)


def test_no_schema_is_asked_for_where_another_way_is_set() -> None:
    ended, server = carry_out([NEXT_CALL], structured_output="prompt")
    assert ended["failure"]
    assert ended["failure"]["code"] == "no_report"
    assert len(server.asked) == 2


@pytest.mark.parametrize("most", [2, 3, 4, 5])
def test_the_most_model_calls_hold(most: int) -> None:
    ended, server = carry_out([NEXT_CALL], max_model_calls=most)
    assert len(server.asked) <= most
    assert (ended["status"] == "completed") == (most >= 5)  # two to be told, the call, prose, the report


def test_report_asks_only_for_values_that_code_does_not_read() -> None:
    yields: list[Yield] = [
        {"name": "total", "kind": "number", "options": [], "path": "/0"},
        {"name": "name", "kind": "text", "options": []},
        {"name": "day", "kind": "date", "options": []},
    ]
    values = report_tool({"goal": "Count.", "yields": yields})["function"]["parameters"]["properties"]["values"]
    assert values["items"]["properties"]["name"]["enum"] == ["name", "day"]
    assert report_tool({"goal": "Count.", "yields": yields[:1]}) == report_tool({"goal": "Count.", "yields": []})
