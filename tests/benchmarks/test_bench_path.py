"""The benchmark of the path runs; what it measures is asserted nowhere but in proportion."""

from tests.benchmarks.bench_path import FROM_BRIEF, MILESTONES, WHOLE, YARDSTICK, measure_path, measure_times


def test_way_to_the_first_tool_call_is_counted() -> None:
    figures = measure_path()
    assert list(figures) == [WHOLE, FROM_BRIEF, YARDSTICK]
    assert all(calls >= changes >= files > 0 for calls, changes, files in figures.values())
    assert figures[WHOLE][0] > figures[FROM_BRIEF][0]


def test_runs_are_timed_one_by_one_and_at_once() -> None:
    figures = measure_times(runs=2, times=1, url=None)
    assert len(figures) == 3
    for ours, bare, switches, _ in figures.values():
        assert min(ours, bare) > 0
        assert switches >= MILESTONES or switches == 0
