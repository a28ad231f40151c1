"""The reducers: deterministic, and indifferent to how writes are batched."""

from hypothesis import given
from hypothesis import strategies as st

from plan_execute.agent.state import (
    LastWrite,
    LogEntry,
    Milestone,
    ModelUsage,
    RoleUsage,
    add_usage,
    append_log,
    merge_milestones,
)

Writes = list[dict[str, Milestone]]
KEYS = st.sampled_from(["m1", "m2", "m3"])
FIELDS = st.dictionaries(st.sampled_from(["goal", "result"]), st.text(max_size=3), min_size=1)
WRITES = st.lists(st.dictionaries(KEYS, FIELDS, max_size=2), max_size=5)


@given(WRITES, WRITES)
def test_milestones_merge_the_same_in_one_batch_or_two(
    first: list[dict[str, Milestone]], second: list[dict[str, Milestone]]
) -> None:
    assert merge_milestones(merge_milestones({}, first), second) == merge_milestones({}, first + second)


def test_merge_keeps_other_fields_and_plan_order_and_changes_nothing_in_place() -> None:
    before = {"m1": Milestone(goal="a", status="pending"), "m2": Milestone(goal="b")}
    after = merge_milestones(before, [{"m3": Milestone(goal="c")}, {"m1": Milestone(status="running")}])
    assert list(after) == ["m1", "m2", "m3"]
    assert after["m1"] == {"goal": "a", "status": "running"}
    assert before["m1"]["status"] == "pending"


def test_log_appends() -> None:
    a, b, c = (LogEntry(reason=reason) for reason in "abc")
    assert append_log([a], [[b], [c]]) == [a, b, c]


def test_kept_value_is_none_before_it_is_written_and_then_the_last_one() -> None:
    nothing = LastWrite().checkpoint()
    kept = LastWrite().from_checkpoint(nothing)
    assert kept.get() is None
    assert kept.update(["a"])
    kept.replay_writes([("task", "plan", "b"), ("task", "plan", {"revision": 1})])
    assert kept.copy().get() == {"revision": 1}
    assert kept.checkpoint() is nothing


def usage(calls: int, usd: float | None) -> RoleUsage:
    one = ModelUsage(calls=calls, input_tokens=calls, output_tokens=calls, usd=usd)
    return RoleUsage(**one, models={"x": one})


def test_usage_sums_by_role_and_model_and_an_unknown_price_stays_unknown() -> None:
    total = add_usage({"planner": usage(1, 0.5)}, {"planner": usage(2, None), "executor": usage(3, 0.1)})
    assert total["planner"]["calls"] == 3
    assert total["planner"]["models"]["x"]["input_tokens"] == 3
    assert total["planner"]["usd"] is None
    assert total["executor"]["usd"] == 0.1
