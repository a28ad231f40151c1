"""What a model may fill in."""

from plan_execute.agent.plan import MilestoneReport, PlanDraft


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
