"""The compact forms, with a model that answers by rule: which questions it gets, and what is made of its answers."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, TypeVar

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, tool

from plan_execute.agent.llm.parsing import Reply
from plan_execute.agent.llm.structured_output import Dialogue, Question
from plan_execute.agent.nodes.plan_validation import validate_draft
from plan_execute.agent.nodes.synthesize import judge_requirements
from plan_execute.agent.schemas import MilestoneReport, PlanDraft, Synthesis
from plan_execute.agent.small_models import executor_model, tool_use, words
from plan_execute.agent.small_models.compact import CompactForms
from plan_execute.agent.small_models.executor_model import NO_CONVERSATION
from plan_execute.agent.small_models.sql import LOOKUP, Schema, can_query, form_query, lookup_query, unknown_names
from plan_execute.agent.state import Brief, Milestone, Requirement

T = TypeVar("T")
MODEL = FakeListChatModel(responses=[""])

SCHEMA = {
    "team": {"columns": {"id": "INTEGER", "name": "TEXT"}, "references": {}},
    "player": {
        "columns": {
            "id": "INTEGER",
            "name": "TEXT",
            "position": "TEXT",
            "goals": "INTEGER",
            "born": "DATE",
            "team_id": "INTEGER",
        },
        "references": {"team_id": "team.id"},
    },
}


@tool
def calculate(expression: str) -> str:
    """Evaluate arithmetic."""
    return expression


@tool
def query_database(sql: str) -> str:
    """Run a query."""
    return sql


@tool
def search_documents(query: str) -> str:
    """Find passages."""
    return query


@tool
def list_tables() -> str:
    """List tables."""
    return ""


@tool
def get_weather(city: str, days: int) -> str:
    """The weather in a city."""
    return city


calculate.metadata = {"languages": {"expression": "arithmetic"}}
query_database.metadata = {"languages": {"sql": "sql"}, "schema": SCHEMA}
search_documents.metadata = {"languages": {"query": "keywords"}}
TOOLS = [list_tables, query_database, search_documents, calculate]


class Answers:
    """Answers a dialogue with the first of these words that is an option, and remembers the options."""

    def __init__(self, *preferred: str) -> None:
        self.preferred = preferred
        self.asked: list[list[str]] = []

    def drive(self, dialogue: Dialogue[T]) -> T:
        try:
            question = next(dialogue)
            while True:
                question = dialogue.send(self._answer(question))
        except StopIteration as end:
            result: T = end.value
            return result

    def _answer(self, question: object) -> Reply:
        assert isinstance(question, Question)
        assert isinstance(question.schema, dict)
        options = question.schema["properties"]["choice"]["enum"]
        self.asked.append(options)
        data = {"choice": next((word for word in self.preferred if word in options), options[0])}
        usage = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}
        return Reply(data=data, message=AIMessage(json.dumps(data), usage_metadata=usage))


def test_request_of_two_steps_becomes_two_milestones_that_are_spans_of_it() -> None:
    request = "How many players are in the team Red, and what is 15% of that number?"
    answers = Answers("two steps", "database", "calculate")
    draft = _plan(answers, request)
    assert [milestone.goal in request for milestone in draft.milestones] == [True, True]
    assert [milestone.tools for milestone in draft.milestones] == [["query_database"], ["calculate"]]
    assert draft.milestones[1].depends_on == ["m1"]


def test_model_decides_whether_an_and_separates_two_steps() -> None:
    request = "What are the rules for dogs in the cellar and cats in the yard?"
    answers = Answers("one step", "task", "search")
    draft = _draft(answers, request)
    assert [milestone["goal"] for milestone in draft["milestones"]] == [request]
    assert ["one step", "two steps"] in answers.asked


def test_refused_draft_is_followed_by_a_single_milestone() -> None:
    request = "Count the players. Divide 96 by 8."
    draft = _draft(Answers("two steps"), request, objections=["Milestone 'm2' is wrong."])
    assert len(draft["milestones"]) == 1


def test_replan_leaves_out_what_is_done_and_offers_another_tool_for_what_failed() -> None:
    request = "How many players are in the team Red? Find the rules about shirts. Multiply that number by 3."
    milestones = {
        "m1": Milestone(goal="How many players are in the team Red?", status="completed", tools=["query_database"]),
        "m2": Milestone(goal="Find the rules about shirts.", status="failed", tools=["search_documents"]),
        "m3": Milestone(goal="Multiply that number by 3.", status="skipped", tools=["calculate"]),
    }
    fetch = search_documents.model_copy(update={"name": "fetch_text"})
    answers = Answers("calculate", "search documents")
    draft = _draft(answers, request, [*TOOLS, fetch], milestones=milestones)
    assert [(m["id"], m["tools"], m["depends_on"], m["covers"]) for m in draft["milestones"]] == [
        ("m2", ["fetch_text"], [], [2]),
        ("m3", ["calculate"], ["m2"], [3]),
    ]


@pytest.mark.parametrize("said", ["Hello!", "Thanks a lot", "How are you?", "What can you do?"])
def test_small_talk_is_refused_with_a_sentence_that_names_the_tools(said: str) -> None:
    draft = _draft(Answers("talk"), said)
    assert draft.keys() == {"refused"}
    assert draft["refused"].startswith(NO_CONVERSATION)
    assert "calculate" in draft["refused"]


@pytest.mark.parametrize(
    "request_",
    [
        "Delete all teams",
        "Write a poem about players",
        "Book me a flight",
        "Please send 5 shirts to 3 players",
        "Count the players and remove them",
        "I want you to set the goals of Bo to 9",
    ],
)
def test_action_no_tool_can_perform_is_planned_without_tools_and_ends_blocked(request_: str) -> None:
    draft = _plan(Answers("one step"), request_)
    assert [milestone.tools for milestone in draft.milestones] == [[]]
    turn = Answers().drive(executor_model.next_turn(MODEL, _brief(request_), [], []))
    assert turn.tool_calls[0]["args"]["missing"] == f"A tool for: {request_}"


def test_action_is_not_performed_with_another_tool_that_was_granted() -> None:
    turn = Answers().drive(executor_model.next_turn(MODEL, _brief("Delete all teams"), [query_database], []))
    assert turn.tool_calls[0]["args"]["status"] == "blocked"


def test_action_goes_to_the_tool_with_its_verb_in_the_name() -> None:
    send_weather = get_weather.model_copy(update={"name": "send_weather"})
    draft = _plan(Answers("search"), "Send the weather in Oslo for 3 days", [*TOOLS, send_weather])
    assert draft.milestones[0].tools == ["send_weather"]


def test_part_of_a_request_that_can_be_done_is_planned_with_tools() -> None:
    draft = _plan(Answers("database"), "Count the players. Then delete all of them.")
    assert [(m.tools, m.depends_on) for m in draft.milestones] == [(["query_database"], []), ([], ["m1"])]


@pytest.mark.parametrize(
    "text", ["How do I cancel a booking?", "Order numbers of Bo", "Book prices over 20", "Which sets are sold?"]
)
def test_question_requests_no_action(text: str) -> None:
    assert words.requested_action(text) is None


@pytest.mark.parametrize(
    "request_", ["And by team?", "Multiply that by 3", "How many of those players are goalkeepers?", "Same for goals"]
)
def test_request_that_refers_to_an_earlier_turn_is_blocked(request_: str) -> None:
    draft = _plan(Answers("task", "one step"), request_)
    assert [milestone.tools for milestone in draft.milestones] == [[]]
    turn = Answers().drive(executor_model.next_turn(MODEL, _brief(request_), [], []))
    assert turn.tool_calls[0]["args"]["missing"] == NO_CONVERSATION


@pytest.mark.parametrize(
    "text",
    [
        "How many players are there?",
        "How much does it cost to ship to Rome?",
        "Which team is the best and who owns it?",
    ],
)
def test_complete_question_does_not_refer_back(text: str) -> None:
    assert not words.refers_back(text)


def test_goal_that_no_tool_fits_gets_no_tool() -> None:
    draft = _plan(Answers("task"), "What is the capital of France?", [calculate])
    assert draft.milestones[0].tools == []
    assert _plan(Answers("task"), "-5 + 3", [search_documents]).milestones[0].tools == []


def test_tool_is_offered_only_when_arguments_can_be_formed() -> None:
    def offered(goal: str, **inputs: str) -> list[str]:
        return [each.name for each in TOOLS if tool_use.can_form(each, goal, inputs)]

    assert offered("What is 18 times 4?") == ["search_documents", "calculate"]
    assert offered("How many players are there?") == ["query_database", "search_documents"]
    assert offered("multiply it by 3", m1="14") == ["search_documents", "calculate"]
    assert offered("multiply it by 3") == ["search_documents"]
    assert offered("List the tables") == ["list_tables", "search_documents"]


def test_database_is_queried_for_stored_values_before_the_question_itself() -> None:
    brief = _brief("How many players are in the team Red?", tools=["query_database"])
    answers = Answers("player", "number")
    lookup = answers.drive(executor_model.next_turn(MODEL, brief, [query_database], []))
    assert LOOKUP in lookup.tool_calls[0]["args"]["sql"]
    found = _answered(lookup, json.dumps([{"place": "team.name", "value": "Red"}]))
    query = answers.drive(executor_model.next_turn(MODEL, brief, [query_database], found))
    assert query.tool_calls[0]["args"]["sql"] == (
        "SELECT COUNT(*) FROM player JOIN team ON player.team_id = team.id WHERE team.name = 'Red'"
    )
    report = answers.drive(
        executor_model.next_turn(MODEL, brief, [query_database], [*found, *_answered(query, '[{"COUNT(*)": 11}]')])
    )
    assert MilestoneReport.model_validate(report.tool_calls[0]["args"]).result == "11"
    assert report.tool_calls[0]["name"] == executor_model.REPORT


@pytest.mark.parametrize(
    ("goal", "name"),
    [
        ("What are the goals of the player Ann Lee?", "Ann Lee"),
        ("How many players live in Atlantis?", "Atlantis"),
        ("How many Players have the Team Atlantis?", "Team Atlantis"),
    ],
)
def test_name_that_is_stored_nowhere_blocks_the_milestone(goal: str, name: str) -> None:
    brief = _brief(goal, tools=["query_database"])
    answers = Answers()
    lookup = answers.drive(executor_model.next_turn(MODEL, brief, [query_database], []))
    turn = answers.drive(executor_model.next_turn(MODEL, brief, [query_database], _answered(lookup, "[]")))
    assert turn.tool_calls[0]["args"]["status"] == "blocked"
    assert turn.tool_calls[0]["args"]["missing"] == f"The database has no {name}."


def test_names_of_tables_and_stored_values_are_known() -> None:
    assert unknown_names("how many Players has Red, and What Position?", ["Red"], SCHEMA) == []


def test_failed_lookup_does_not_make_a_name_unknown() -> None:
    brief = _brief("How many players are in the team Red?", tools=["query_database"])
    lookup = Answers().drive(executor_model.next_turn(MODEL, brief, [query_database], []))
    turn = Answers().drive(
        executor_model.next_turn(MODEL, brief, [query_database], _answered(lookup, "Locked.", "error"))
    )
    assert (turn.tool_calls[0]["args"]["status"], turn.tool_calls[0]["args"]["result"]) == ("failed", "Locked.")


def test_question_how_to_do_something_does_not_go_to_the_database() -> None:
    assert not can_query("How do I join a team?", SCHEMA)
    assert can_query("How many players does a team have?", SCHEMA)


@pytest.mark.parametrize(
    ("text", "values", "preferred", "sql"),
    [
        (
            "Who has the most goals, which player?",
            {},
            ("highest",),
            "SELECT player.name, player.goals FROM player WHERE player.goals = (SELECT MAX(player.goals) FROM player)",
        ),
        ("average goals of players", {}, ("average",), "SELECT AVG(player.goals) FROM player"),
        (
            "How many players were born in 1998?",
            {},
            ("number",),
            "SELECT COUNT(*) FROM player WHERE player.born >= '1998-01-01' AND player.born < '1999-01-01'",
        ),
        (
            "How many players have more than 10 goals?",
            {},
            ("more", "number"),
            "SELECT COUNT(*) FROM player WHERE player.goals > 10",
        ),
        (
            "How many players have more than -3 goals?",
            {},
            ("more", "number"),
            "SELECT COUNT(*) FROM player WHERE player.goals > -3",
        ),
        (
            "What is the team of Bo?",
            {"Bo": ["player.name"]},
            (),
            "SELECT team.name FROM player JOIN team ON player.team_id = team.id WHERE player.name = 'Bo'",
        ),
        (
            "How many players are called O'Hara",
            {"O'Hara": ["player.name"]},
            (),
            "SELECT COUNT(*) FROM player WHERE player.name = 'O''Hara'",
        ),
    ],
)
def test_choices_are_compiled_to_one_select(
    text: str, values: dict[str, list[str]], preferred: tuple[str, ...], sql: str
) -> None:
    assert Answers(*preferred, "position").drive(form_query(MODEL, text, SCHEMA, values)) == sql


def test_lookup_gives_a_value_once_however_many_rows_have_it() -> None:
    schema: Schema = {"sale": {"columns": {"region": "VARCHAR", "amount": "INTEGER"}, "references": {}}}
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(
            "CREATE TABLE sale (region, amount); INSERT INTO sale VALUES ('North', 1), ('North', 2)"
        )
        assert connection.execute(lookup_query("sales in the North", schema) or "").fetchall() == [
            ("sale.region", "North")
        ]


def test_quotes_in_a_goal_stay_inside_the_literal() -> None:
    query = lookup_query("O'Hara'; DROP TABLE player; --", SCHEMA) or ""
    assert "'o''hara''; drop table player; --'" in query


def test_plain_arguments_are_numbers_and_words_of_the_goal() -> None:
    formed = Answers("Oslo").drive(
        tool_use.form_arguments(MODEL, get_weather, "Get the weather in Oslo for 3 days", {}, {})
    )
    assert formed == {"city": "Oslo", "days": 3}


def test_report_copies_the_sentence_that_has_all_words() -> None:
    brief = _brief("What does the long tour cost?", tools=["search_documents"])
    passage = (
        "[tours.md: Prices]\nThe short tour costs 15 euros. The long tour costs 35 euros.\n\n[a.md: B]\nDogs come."
    )
    call = AIMessage("", tool_calls=[ToolCall(name="search_documents", args={"query": "x"}, id="1")])
    turn = Answers().drive(executor_model.next_turn(MODEL, brief, [search_documents], _answered(call, passage)))
    assert turn.tool_calls[0]["args"]["result"] == "The long tour costs 35 euros."


def test_place_of_a_passage_is_no_word_about_it() -> None:
    found = "[tours.md, line 3: Prices of tours]\nThe long slow steep one costs 35 euros."
    assert words.answering_sentences("What does the long slow steep tour cost?", found) != []
    assert words.answering_sentences("What does the long slow steep line cost?", found) == []


@pytest.mark.parametrize(
    "goal", ["What does the tour to Atlantis cost?", "What is the capital of Wales?", "Who has won the last election?"]
)
def test_passage_about_something_else_is_reported_as_failed(goal: str) -> None:
    call = AIMessage("", tool_calls=[ToolCall(name="search_documents", args={"query": "x"}, id="1")])
    found = _answered(call, "[tours.md: Prices]\nThe tour of Wales costs 15 euros.\n\n[a.md: B]\nDogs come.")
    turn = Answers().drive(executor_model.next_turn(MODEL, _brief(goal), [search_documents], found))
    assert turn.tool_calls[0]["args"]["status"] == "failed"


def test_failed_tool_call_is_reported_as_failed() -> None:
    call = AIMessage("", tool_calls=[ToolCall(name="calculate", args={"expression": "1 / 0"}, id="1")])
    turn = Answers().drive(
        executor_model.next_turn(
            MODEL, _brief("1 by 0"), [calculate], _answered(call, "Divides by zero.", status="error")
        )
    )
    assert (turn.tool_calls[0]["args"]["status"], turn.tool_calls[0]["args"]["result"]) == (
        "failed",
        "Divides by zero.",
    )


@pytest.mark.parametrize("answer", ["[]\nNo rows.", '[{"SUM(stock)": null}]'])
def test_database_result_without_a_value_is_reported_as_failed(answer: str) -> None:
    call = AIMessage("", tool_calls=[ToolCall(name="query_database", args={"sql": "SELECT 1"}, id="1")])
    brief = _brief("The stock of capes", tools=["query_database"])
    turn = Answers().drive(executor_model.next_turn(MODEL, brief, [query_database], _answered(call, answer)))
    assert turn.tool_calls[0]["args"]["status"] == "failed"
    assert turn.response_metadata["unasked"]


def test_without_a_tool_the_milestone_is_blocked() -> None:
    turn = Answers().drive(executor_model.next_turn(MODEL, _brief("Fly to the moon"), [], []))
    assert turn.tool_calls[0]["args"]["status"] == "blocked"


def test_turn_carries_the_usage_of_all_its_questions() -> None:
    answers = Answers("search")
    turn = answers.drive(
        executor_model.next_turn(MODEL, _brief("the rules about players"), [search_documents, query_database], [])
    )
    assert turn.usage_metadata is not None
    assert turn.usage_metadata["input_tokens"] == 5 * len(answers.asked) > 0


def test_error_of_the_model_is_raised() -> None:
    brief = _brief("the rules about players")
    dialogue = executor_model.next_turn(MODEL, brief, [search_documents, query_database], [])
    next(dialogue)
    with pytest.raises(TimeoutError):
        dialogue.send(Reply(error=TimeoutError("late")))


def test_answer_copies_results_and_failed_work_meets_no_requirement() -> None:
    milestones = {
        "m1": Milestone(goal="count the players", status="completed", result="11", covers=[1]),
        "m2": Milestone(goal="find the rules", status="failed", result="", covers=[2]),
    }
    requirements = [Requirement(number=n, text="x", met=None, milestones=[], note=None) for n in (1, 2)]
    synthesis = Synthesis.model_validate(CompactForms(MODEL).synthesize(requirements, milestones))
    assert synthesis.answer == "11"
    assert [verdict.met for verdict in synthesis.requirements] == [True, False]


def test_requirement_recovered_by_a_replan_is_met_by_the_completed_milestone() -> None:
    milestones = {
        "m1": Milestone(goal="count the players", status="failed", result="", covers=[1]),
        "m2": Milestone(goal="count the players", status="completed", result="11", covers=[1]),
        "m3": Milestone(goal="find the rules", status="blocked", result="", covers=[2]),
    }
    requirements = [Requirement(number=n, text="x", met=None, milestones=[], note=None) for n in (1, 2)]
    synthesis = Synthesis.model_validate(CompactForms(MODEL).synthesize(requirements, milestones))
    judged = judge_requirements(requirements, milestones, synthesis.requirements)
    assert [(r["met"], r["milestones"]) for r in judged] == [(True, ["m2"]), (False, ["m3"])]


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("-5 + 3", ["-5", "3"]),
        ("What is -5 times (-1,000.5)?", ["-5", "-1000.5"]),
        ("8 - 5, 8 -5 and 8-5", ["8", "5", "8", "5", "8", "5"]),
        ("since 2024-01-05", ["2024", "01", "05"]),
        ("negative 5", ["-5"]),
        ("15% of 1,200.50 dollars", ["15", "1200.50"]),
        ("half of $40", ["0.5", "40"]),
        ("m1 and A4", []),
        ("in 2024", ["2024"]),
    ],
)
def test_numbers_are_found_in_order(text: str, digits: list[str]) -> None:
    assert [operand.digits for operand in words.operands(text)] == digits


def _draft(
    answers: Answers,
    request: str,
    tools: Sequence[BaseTool] = TOOLS,
    *,
    objections: Sequence[str] = (),
    milestones: Mapping[str, Milestone] | None = None,
) -> dict[str, Any]:
    return answers.drive(CompactForms(MODEL).draft_plan(request, tools, objections, milestones or {}))


def _plan(answers: Answers, request: str, tools: Sequence[BaseTool] = TOOLS) -> PlanDraft:
    draft = PlanDraft.model_validate(_draft(answers, request, tools))
    assert validate_draft(draft, tools=[each.name for each in tools], max_milestones=6) == []
    return draft


def _brief(goal: str, tools: Sequence[str] = (), **inputs: str) -> Brief:
    return Brief(id="m1", goal=goal, done_when="", pitfalls=[], tools=list(tools), calls=[], yields=[], inputs=inputs)


def _answered(message: AIMessage, text: str, status: Any = "success") -> list[BaseMessage]:
    (call,) = message.tool_calls
    answer = ToolMessage(text, tool_call_id=call["id"] or "", name=call["name"], status=status)
    return [HumanMessage("brief"), message, answer]
