"""Which drafts may run, and what becomes of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import StructuredTool

from plan_execute.agent.nodes.plan_validation import MOST_OBJECTIONS, adopt_draft, mend_draft, validate_draft
from plan_execute.agent.schemas import PlanDraft
from plan_execute.agent.state import Milestone, Requirement
from tests.fakes import milestone, plan

TOOLS = ("look_up",)
ASKED: list[Requirement] = [{"number": 1, "text": "Answer it.", "met": None, "milestones": [], "note": None}]


def objections(draft: dict[str, Any], **known: Any) -> list[str]:
    options = {"tools": TOOLS, "max_milestones": 25, **known}
    return validate_draft(PlanDraft.model_validate(draft), **options)


def done(key: str, *covers: int) -> Milestone:
    return Milestone(id=key, goal=key, tools=["look_up"], status="completed", covers=list(covers))


def test_valid_draft_meets_no_objection() -> None:
    assert objections(plan(milestone("a"), milestone("b", depends_on=["m1"]))) == []


@pytest.mark.parametrize(
    ("draft", "said"),
    [
        (plan(milestone("a", tools=["fly"])), "unknown tool 'fly'; the catalogue has: look_up"),
        (plan(milestone("a", depends_on=["m2"]), milestone("b", depends_on=["m1"])), "form a cycle"),
        (plan(milestone("a", depends_on=["m1"])), "depends on itself"),
        (plan(milestone("a", depends_on=["m9"])), "'m9', which is not in the plan"),
        (plan(milestone("a"), requirements=["One.", "Two."]), "Requirement 2 ('Two.') is covered by no milestone"),
        (plan(milestone("a", covers=[1, 7])), "covers requirement 7, which does not exist"),
        (plan(*[milestone(str(n)) for n in range(26)]), "26 milestones; at most 25"),
        (plan(), "The plan is empty"),
        (plan(milestone(" ")), "has no goal"),
        (plan(milestone("a", calls=[{"tool": "look_up", "args": "no json"}])), "not a JSON object"),
        (plan(milestone("a", calls=[{"tool": "fly", "args": "{}"}])), "pins a call of 'fly'"),
        (plan(milestone("a", yields=[{"name": "x", "kind": "choice", "options": []}])), "choice without options"),
        (plan(milestone("a", yields=[{"name": "x", "kind": "text"}] * 2)), "yields the same name twice"),
        (plan(milestone("a", id="s"), milestone("b", id="s"), milestone("c", depends_on=["s"])), "make ids unique"),
    ],
)
def test_what_is_wrong_with_a_draft_is_named(draft: dict[str, Any], said: str) -> None:
    assert any(said in objection for objection in objections(draft)), objections(draft)


@pytest.mark.parametrize("form", [{"$ref": "#/$defs/none"}, {"$ref": "http://127.0.0.1:1/a"}, {"type": "nothing"}])
def test_arguments_that_the_schema_of_a_tool_cannot_check_are_left_to_the_tool(form: dict[str, str]) -> None:
    schema = {"type": "object", "properties": {"subject": form}}
    tool = StructuredTool.from_function(lambda subject: subject, name="look_up", description="a", args_schema=schema)
    draft = plan(milestone("a", calls=[{"tool": "look_up", "args": '{"subject": 1}'}]))
    assert objections(draft, tools={"look_up": tool}) == []


@pytest.mark.parametrize("written", ["look_up()", "look_up('x')", "functions.look_up", "Look_Up", "lookup", "look-up("])
def test_tool_is_known_however_it_is_written(written: str) -> None:
    draft = PlanDraft.model_validate(plan(milestone("a", tools=[written], calls=[{"tool": written, "args": "{}"}])))
    mended = mend_draft(draft, tools=TOOLS).milestones[0]
    assert (mended.tools, mended.calls[0].tool) == (["look_up"], "look_up")
    assert mend_draft(draft, tools=["look_up", "LookUp"]).milestones[0].tools != ["LookUp"]
    assert mend_draft(draft, tools=["look", "up"]).milestones[0].tools == [written]


@pytest.mark.parametrize(
    ("ref", "meant"),
    [
        ("m1", ["m1"]),
        ("m1: find a", ["m1"]),
        ("M1", ["m1"]),
        ("m1 (find a)", ["m1"]),
        ("R1", []),
        ("requirement 1", []),
        ("Answer it.", []),
        ("done:m7: all of it", ["done:m7"]),
        ("m7 finished", ["m7"]),
        ("m70", ["m70"]),
        ("find a", ["find a"]),
    ],
)
def test_dependency_is_known_by_the_id_it_begins_with_and_is_no_requirement(ref: str, meant: list[str]) -> None:
    draft = PlanDraft.model_validate(plan(milestone("a"), milestone("b", depends_on=[ref])))
    mended = mend_draft(draft, tools=TOOLS, finished={"m7": done("m7", 1)})
    assert mended.milestones[1].depends_on == meant


def test_requirements_that_do_not_exist_are_not_covered_and_an_only_milestone_covers_all() -> None:
    def covers(*milestones: dict[str, Any], **known: Any) -> list[list[int]]:
        draft = PlanDraft.model_validate(plan(*milestones, requirements=["One.", "Two."]))
        return [m.covers for m in mend_draft(draft, tools=TOOLS, **known).milestones]

    assert covers(milestone("a", covers=[1, 7, 0]), milestone("b", covers=[9])) == [[1], []]
    assert covers(milestone("a", covers=[])) == covers(milestone("a", covers=[7])) == [[1, 2]]
    assert covers(milestone("a", covers=[2])) == [[2]]
    assert covers(milestone("a", covers=[]), requirements=ASKED) == [[1]]


def test_plan_as_large_as_allowed_meets_no_objection() -> None:
    assert objections(plan(*[milestone(str(n)) for n in range(25)])) == []


def test_what_a_draft_says_twice_counts_once() -> None:
    twice = milestone("b", depends_on=["m1", "1"], tools=["look_up", "look_up"], covers=[1, 1])
    draft = plan(milestone("a"), twice)
    assert objections(draft) == []
    adopted, _ = adopt_draft(PlanDraft.model_validate(draft), revision=1, known={})
    assert (adopted["m2"]["depends_on"], adopted["m2"]["tools"], adopted["m2"]["covers"]) == (["m1"], ["look_up"], [1])


def test_requirement_without_words_is_none() -> None:
    draft = plan(milestone("a", covers=[2]), requirements=[" ", "Two."])
    assert objections(draft) == []
    adopted, requirements = adopt_draft(PlanDraft.model_validate(draft), revision=1, known={})
    assert [(r["number"], r["text"]) for r in requirements] == [(1, "Two.")]
    assert adopted["m1"]["covers"] == [1]


@pytest.mark.parametrize(
    ("known", "tools"),
    [(done("m1", 1), ["read"]), ({**done("m1", 1), "status": "failed"}, ["look_up"])],
    ids=["with other tools", "failed"],
)
def test_milestone_that_only_looks_like_a_finished_one_is_new(known: Milestone, tools: list[str]) -> None:
    draft = PlanDraft.model_validate(plan(milestone("m1", tools=tools)))
    adopted, _ = adopt_draft(draft, revision=2, known={"m1": known}, requirements=ASKED)
    assert {key: (m["goal"], m["tools"]) for key, m in adopted.items()} == {"m2": ("m1", tools)}


def test_repeated_ids_nobody_depends_on_become_unique() -> None:
    draft = plan(milestone("a", id="s"), milestone("b", id="s"))
    assert objections(draft) == []
    adopted, _ = adopt_draft(PlanDraft.model_validate(draft), revision=1, known={})
    assert {key: m["goal"] for key, m in adopted.items()} == {"m1": "a", "m2": "b"}


def test_later_draft_numbers_from_one_without_collision() -> None:
    known = {"m1": done("m1", 1), "m2": done("m2")}
    draft = plan(milestone("a"), milestone("b", depends_on=["m1", "done:m2"]))
    assert objections(draft, requirements=ASKED, finished=known) == []
    adopted, _ = adopt_draft(PlanDraft.model_validate(draft), revision=2, known=known, requirements=ASKED)
    assert list(adopted) == ["m3", "m4"]
    assert adopted["m4"]["depends_on"] == ["m3", "m2"]


def test_finished_milestone_that_a_later_draft_repeats_does_not_come_back() -> None:
    known = {"m1": done("m1", 1)}
    draft = plan(milestone("M1."), milestone("b", depends_on=["m1"]))
    adopted, _ = adopt_draft(PlanDraft.model_validate(draft), revision=2, known=known, requirements=ASKED)
    assert {key: (m["goal"], m["depends_on"]) for key, m in adopted.items()} == {"m2": ("b", ["m1"])}


def test_requirements_added_again_and_again_keep_numbers_of_their_own() -> None:
    kept = ASKED
    for added, covers in ((["X", "Y"], [1, 3]), (["Z"], [1, 3])):
        draft = PlanDraft.model_validate(plan(milestone("a", covers=covers), requirements=added))
        adopted, kept = adopt_draft(draft, revision=2, known={}, requirements=kept)
    assert [(r["number"], r["text"]) for r in kept] == [(1, "Answer it."), (2, "Y"), (3, "Z")]
    assert adopted["m1"]["covers"] == [1, 3]


def test_number_that_is_no_id_counts_as_a_position() -> None:
    draft = plan(milestone("a", id="first"), milestone("b", id="second", depends_on=[1]))
    assert objections(draft) == []
    adopted, _ = adopt_draft(PlanDraft.model_validate(draft), revision=1, known={})
    assert adopted["m2"]["depends_on"] == ["m1"]


def test_finished_milestones_count_as_coverage() -> None:
    draft = plan(milestone("a", covers=[]), requirements=[])
    assert objections(draft, requirements=ASKED, finished={"m1": done("m1", 1)}) == []
    assert objections(draft, requirements=ASKED)


def test_requirements_can_be_added_but_not_reworded_or_dropped() -> None:
    draft = PlanDraft.model_validate(plan(milestone("a", covers=[1, 2]), requirements=["ANSWER it", "Also this."]))
    _, kept = adopt_draft(draft, revision=2, known={}, requirements=ASKED)
    assert [(r["number"], r["text"]) for r in kept] == [(1, "Answer it."), (2, "Also this.")]
    reworded = PlanDraft.model_validate(plan(milestone("a"), requirements=["Something else."]))
    _, kept = adopt_draft(reworded, revision=2, known={}, requirements=ASKED)
    assert [r["text"] for r in kept] == ["Answer it."]


@pytest.mark.parametrize(
    "drafted",
    [
        ["Answer it.", "Name the source.", "Give the date."],
        ["Answer it properly.", "Name a source for it.", "Give the date."],
    ],
    ids=["as they were", "in other words"],
)
def test_of_a_list_that_repeats_all_requirements_only_the_rest_is_new(drafted: list[str]) -> None:
    frozen = [*ASKED, Requirement(number=2, text="Name the source.", met=None, milestones=[], note=None)]
    draft = PlanDraft.model_validate(plan(milestone("a", covers=[1, 2, 3]), requirements=drafted))
    adopted, kept = adopt_draft(draft, revision=2, known={}, requirements=frozen)
    assert [r["text"] for r in kept] == ["Answer it.", "Name the source.", "Give the date."]
    assert adopted["m1"]["covers"] == [1, 2, 3]


def test_spaces_around_ids_do_not_matter() -> None:
    draft = plan(milestone("a", id="m1 "), milestone("b", id="m2", depends_on=["m1 ", " done:m7"]))
    finished = {"m7": done("m7", 1)}
    assert objections(draft, finished=finished) == []
    adopted, _ = adopt_draft(PlanDraft.model_validate(draft), revision=2, known=finished)
    assert [m["depends_on"] for m in adopted.values()] == [[], ["m2", "m7"]]


def test_calls_and_yields_are_shown_to_the_planner_and_kept() -> None:
    pinned = {"calls": [{"tool": "look_up", "args": '{"subject": "x"}'}], "yields": [{"name": "n", "kind": "number"}]}
    draft = PlanDraft.model_validate(plan(milestone("a", **pinned)))
    adopted, _ = adopt_draft(draft, revision=1, known={})
    assert adopted["m1"]["calls"] == pinned["calls"]
    assert adopted["m1"]["yields"] == [{"name": "n", "kind": "number", "options": []}]
    assert {"calls", "yields"} <= PlanDraft.model_json_schema()["$defs"]["MilestoneDraft"]["properties"].keys()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", ""]), st.lists(st.sampled_from(["a", "b", "m1", "m2", "x"]), max_size=3)
        ),
        max_size=5,
    )
)
def test_every_adopted_draft_has_unique_ids_and_runs_in_some_order(drafted: list[tuple[str, list[str]]]) -> None:
    draft = plan(*[milestone(f"g{i}", id=key, depends_on=needs) for i, (key, needs) in enumerate(drafted)])
    if objections(draft):
        return
    adopted, _ = adopt_draft(PlanDraft.model_validate(draft), revision=1, known={})
    assert len(adopted) == len(drafted)
    placed: set[str] = set()
    while len(placed) < len(adopted):
        ready = {k for k, m in adopted.items() if k not in placed and set(m["depends_on"]) <= placed}
        assert ready
        placed |= ready


def test_objections_to_a_draft_that_is_wrong_all_over_are_not_all_listed() -> None:
    wrong = [milestone(f"part {number}", tools=["fly", "swim"]) for number in range(500)]
    objections = validate_draft(PlanDraft.model_validate(plan(*wrong)), tools=["look_up"], max_milestones=25)
    assert len(objections) == MOST_OBJECTIONS + 1
    assert "at most 25" in objections[0]
    assert objections[-1] == f"And {1 + 1_000 - MOST_OBJECTIONS} more."


def test_objections_that_just_fit_are_all_listed() -> None:
    wrong = [milestone(f"part {number}", tools=["fly"]) for number in range(MOST_OBJECTIONS)]
    assert all("unknown tool 'fly'" in objection for objection in objections(plan(*wrong)))
    assert len(objections(plan(*wrong))) == MOST_OBJECTIONS
