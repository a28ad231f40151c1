"""Where a plan's milestones are drawn."""

import re
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from plan_execute.graphs.report.layout import ABREAST, HEIGHT, WIDTH, Drawing, arrange


@st.composite
def plans(draw: st.DrawFn) -> dict[str, list[str]]:
    """Milestones in any order, without a cycle."""
    count = draw(st.integers(0, 25))
    needs = {
        f"m{n}": [f"m{d}" for d in draw(st.sets(st.integers(0, n - 1), max_size=6))] if n else [] for n in range(count)
    }
    return {key: needs[key] for key in draw(st.permutations(list(needs)))}


@given(plans())
def test_boxes_never_overlap_and_stay_within_the_drawing(depends_on: dict[str, list[str]]) -> None:
    drawing = arrange(depends_on)
    assert list(drawing.places) == list(depends_on)
    for place in drawing.places.values():
        assert 0 <= place.x <= drawing.width - WIDTH
        assert 0 <= place.y <= drawing.height - HEIGHT
    for a, b in combinations(drawing.places.values(), 2):
        assert abs(a.x - b.x) >= WIDTH or abs(a.y - b.y) >= HEIGHT


@given(plans())
def test_lines_go_right_from_what_is_needed_to_what_needs_it(depends_on: dict[str, list[str]]) -> None:
    drawing = arrange(depends_on)
    for key, needed in depends_on.items():
        for source in needed:
            assert drawing.places[source].x < drawing.places[key].x
    pairs = [(source, key) for key, needed in depends_on.items() for source in needed]
    assert set(_ends(drawing)) <= set(pairs)
    if not drawing.thinned:
        assert sorted(_ends(drawing)) == sorted(pairs)


def test_chain_is_one_row() -> None:
    drawing = arrange({"a": [], "b": ["a"], "c": ["b"]})
    assert len({place.y for place in drawing.places.values()}) == 1
    assert len(drawing.lines) == 2


def test_line_over_a_column_passes_beside_its_boxes() -> None:
    drawing = arrange({"a": [], "b": ["a"], "c": ["a", "b"]})
    [long] = [line for line in drawing.lines if "H" in line]
    levels = [float(y) for y in re.findall(r"([\d.]+)H|([\d.]+) H", long)[0] if y]
    middle = drawing.places["b"].y
    assert not middle <= levels[0] <= middle + HEIGHT


def test_milestones_without_ties_stand_abreast() -> None:
    drawing = arrange({f"m{n}": [] for n in range(ABREAST + 1)})
    rows = [place.y for place in drawing.places.values()]
    assert [rows.count(y) for y in sorted(set(rows))] == [ABREAST, 1]


def test_lines_that_follow_from_others_are_left_out_where_there_are_too_many() -> None:
    everything_before = {f"m{n}": [f"m{d}" for d in range(n)] for n in range(8)}
    drawing = arrange(everything_before)
    assert drawing.thinned
    assert sorted(_ends(drawing)) == [(f"m{n}", f"m{n + 1}") for n in range(7)]


def test_what_is_not_drawn_is_passed_over() -> None:
    assert arrange({"b": ["gone"]}).lines == []
    assert arrange({}).places == {}


def _ends(drawing: Drawing) -> list[tuple[str, str]]:
    """Which boxes each line joins."""
    rights = {(place.x + WIDTH, place.y + HEIGHT / 2): key for key, place in drawing.places.items()}
    lefts = {(place.x, place.y + HEIGHT / 2): key for key, place in drawing.places.items()}
    ends = []
    for line in drawing.lines:
        numbers = [float(number) for number in re.findall(r"[\d.]+", line)]
        ends.append((rights[numbers[0], numbers[1]], lefts[numbers[-2], numbers[-1]]))
    return ends
