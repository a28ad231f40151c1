"""The benchmark of call graphs compares arms that do the same work."""

from typing import Any

import pytest

from tests.benchmarks.bench_call_graphs import ARMS, HEAVY, LIGHT, TOOL, Call, Task, independent, run

CHAIN = [
    Call("var1", "find", {"query": "x"}, [{"other": 1}, {"place": {"id": 7}}]),
    Call("var2", "find", {"query": "y"}, [{"place": {"id": 8}}]),
    Call("var3", "compare", {"a": "$var1.place.id$", "b": "$var2.place.id$"}, {"best": "x"}),
]


def task() -> Task:
    return Task("Compare x with y.", CHAIN)


def test_references_are_read_from_what_was_recorded() -> None:
    assert task().filled[2] == {"a": 7, "b": 8}


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_makes_the_same_calls_with_the_same_arguments(arm: str) -> None:
    assert run(task(), arm).done
    assert run(independent(3), arm).done


@pytest.mark.parametrize(
    ("arm", "heavy", "light", "seconds"),
    [
        ("create_agent", 4, 0, 4 * HEAVY + 3 * TOOL),
        ("parallel", 3, 0, 3 * HEAVY + 2 * TOOL),
        ("tutorial", 4, 6, 4 * HEAVY + 6 * LIGHT + 3 * TOOL),
        ("milestones", 2, 6, 2 * HEAVY + 4 * LIGHT + 2 * TOOL),
        ("direct", 2, 0, 2 * HEAVY + 2 * TOOL),
    ],
)
def test_simulated_seconds_are_exact(arm: str, heavy: int, light: int, seconds: float) -> None:
    outcome: Any = run(task(), arm)
    assert (outcome.heavy, outcome.light) == (heavy, light)
    assert outcome.seconds == pytest.approx(seconds, abs=0.01)
