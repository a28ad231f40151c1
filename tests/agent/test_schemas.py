"""What a model may fill in."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from plan_execute.agent.schemas import (
    MilestoneDraft,
    MilestoneReport,
    PlanDraft,
    RequirementVerdict,
    Synthesis,
    Verification,
)

TWO = [{"id": "m1", "goal": "a", "tools": ["t"]}, {"id": "m2", "goal": "b", "covers": [1]}]


def test_weak_models_output_is_read_leniently() -> None:
    draft = PlanDraft.model_validate(
        {"requirements": "One.", "milestones": [{"id": 1, "goal": 7, "covers": "1", "tools": None, "done_when": None}]}
    )
    (only,) = draft.milestones
    assert (only.id, only.goal, only.covers, only.tools, only.done_when) == ("1", "7", [1], [], "")
    said = MilestoneReport.model_validate(
        {"status": "Succeeded ", "result": {"sum": 3}, "values": [{"name": "a", "value": 3}]}
    )
    assert (said.status, said.result, said.values[0].value, said.missing) == ("succeeded", '{"sum": 3}', "3", None)


def test_schemas_have_no_defaults() -> None:
    for schema in (PlanDraft, MilestoneReport):
        assert set(schema.model_json_schema()["required"]) == set(schema.model_json_schema()["properties"])
        assert "default" not in str(schema.model_json_schema())


@pytest.mark.parametrize(
    "milestones",
    [
        TWO,
        json.dumps(TWO),
        {"m1": {"goal": "a", "tools": ["t"]}, "m2": {"id": "m2", "goal": "b", "covers": [1]}},
        json.dumps({"m1": TWO[0], "m2": TWO[1]}),
    ],
    ids=["list", "JSON text", "by id", "by id in JSON text"],
)
def test_milestones_are_read_from_a_list_an_object_or_json(milestones: Any) -> None:
    draft = PlanDraft.model_validate({"milestones": milestones})
    assert [(m.id, m.goal, m.tools, m.covers) for m in draft.milestones] == [
        ("m1", "a", ["t"], []),
        ("m2", "b", [], [1]),
    ]


def test_object_that_is_one_item_is_not_taken_for_several() -> None:
    assert [m.goal for m in PlanDraft.model_validate({"milestones": TWO[0]}).milestones] == ["a"]
    assert [m.goal for m in PlanDraft.model_validate({"milestones": {"m1": "a"}}).milestones] == ["a"]
    assert PlanDraft.model_validate({"milestones": {}}).milestones == []


@pytest.mark.parametrize("nothing", ["none", "None", "", " ", "null", "N/A", "[]", [], [""], ["none"], None])
def test_nothing_in_place_of_a_list_is_an_empty_one(nothing: Any) -> None:
    drafted = MilestoneDraft.model_validate(
        {"goal": "a", "tools": nothing, "depends_on": nothing, "pitfalls": nothing, "covers": nothing}
    )
    assert (drafted.tools, drafted.depends_on, drafted.pitfalls, drafted.covers) == ([], [], [], [])


@pytest.mark.parametrize(
    ("covers", "numbers"),
    [
        (["R1", "requirement 2", "3", "#4", "5.", "(6)", "Req_7", "R12", 8, 9.0], [1, 2, 3, 4, 5, 6, 7, 12, 8, 9]),
        ("1, 2 and R3", [1, 2, 3]),
        ("[1, 2]", [1, 2]),
        ("1: find the price, and say it", [1]),
    ],
)
def test_requirements_are_known_by_their_numbers_however_written(covers: Any, numbers: list[int]) -> None:
    assert MilestoneDraft.model_validate({"goal": "a", "covers": covers}).covers == numbers


@pytest.mark.parametrize("covers", ["all", ["find 3 prices"], "1-3", ["1.5"]])
def test_number_is_not_guessed(covers: Any) -> None:
    with pytest.raises(ValidationError):
        MilestoneDraft.model_validate({"goal": "a", "covers": covers})


@pytest.mark.parametrize("name", ["goal", "description", "task", "title"])
def test_goal_has_other_names(name: str) -> None:
    assert MilestoneDraft.model_validate({name: "Find x."}).goal == "Find x."
    assert MilestoneDraft.model_json_schema()["required"][1] == "goal"


YES: list[Any] = [True, 1, "true", "Yes", " YES.", "met"]
NO: list[Any] = [False, 0, None, "no", "false", "partially", "not met", "?", 0.5, [], {}]


@pytest.mark.parametrize(("said", "met"), [*((said, True) for said in YES), *((said, False) for said in NO)])
def test_only_a_clear_yes_counts_as_met(said: Any, met: bool) -> None:
    verdicts = [{"number": 1, "met": said}, {"number": 2, "met": True}]
    read = Synthesis.model_validate({"answer": "x", "requirements": verdicts}).requirements
    assert [(v.number, v.met) for v in read] == [(1, met), (2, True)]
    assert Verification.model_validate({"reason": "r", "done": said}).done is met


def test_missing_verdict_is_a_no() -> None:
    assert RequirementVerdict.model_validate({"number": 1}).met is False
    assert Verification.model_validate({"reason": "r"}).done is False


@pytest.mark.parametrize(
    ("said", "ids"),
    [
        (["M1"], ["m1"]),
        ([1, "2"], ["m1", "m2"]),
        ("m1: find 3 prices, and compare m2", ["m1"]),
        ("done:m1", ["m1"]),
        (["Milestone 2", "milestone_3 (completed)"], ["m2", "m3"]),
        ("m1, M2 and 3", ["m1", "m2", "m3"]),
        ('["m1", "m2"]', ["m1", "m2"]),
        ("the first one", ["the first one"]),
        ("none", []),
    ],
)
def test_milestones_of_a_verdict_are_read_as_ids(said: Any, ids: list[str]) -> None:
    assert RequirementVerdict.model_validate({"number": 1, "met": True, "milestones": said}).milestones == ids


@pytest.mark.parametrize(
    "verdicts",
    [
        {"1": {"met": True}, "2": {"number": 2, "met": "no"}},
        {"1": True, "2": False},
        {"R1": "yes", "requirement 2": "partially"},
        '{"1": true, "2": null}',
    ],
)
def test_verdicts_may_come_by_number(verdicts: Any) -> None:
    read = Synthesis.model_validate({"answer": "x", "requirements": verdicts}).requirements
    assert [(v.number, v.met) for v in read] == [(1, True), (2, False)]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("success", "succeeded"),
        ("Completed", "succeeded"),
        ("done", "succeeded"),
        ("failure", "failed"),
        ("error", "failed"),
    ],
)
def test_status_of_a_report_is_read_from_near_words(said: str, status: str) -> None:
    assert MilestoneReport.model_validate({"status": said, "result": "r"}).status == status


def test_status_of_a_report_is_not_guessed() -> None:
    with pytest.raises(ValidationError):
        MilestoneReport.model_validate({"status": "partly", "result": "r"})
