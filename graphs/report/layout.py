"""The layout of a plan's picture: milestones in columns by what they depend on, and the lines between them."""

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

WIDTH, HEIGHT = 152, 82
"""Size of a box, in pixels."""
GAP_X, GAP_Y = 32, 12
"""Space between boxes."""
MARGIN = 6
"""Space around the drawing, for the ring around a focused box."""
LANE = 22
"""Height of the lane in which a line passes a column."""
TALLEST = 8
"""Most boxes on top of each other; a longer column continues to the right."""
ABREAST = 5
"""Boxes beside each other among those that no line leads to or from."""
SWEEPS = 4
"""How often the boxes are sorted by their neighbours; more changed nothing on plans of 100 milestones."""


class Place(NamedTuple):
    """The upper left corner of a box, in pixels."""

    x: float
    y: float


class Drawing(NamedTuple):
    """A plan as a picture: its size, a place for each box, and the lines as SVG path data."""

    width: float
    height: float
    places: dict[str, Place]
    lines: list[str]
    thinned: bool
    """Whether lines that follow from others were left out, because there are too many to read."""


Stop = tuple[str, str]
"""What takes up space in a column: a box (its id twice), or a line that passes from one box to another."""


def arrange(depends_on: Mapping[str, Sequence[str]]) -> Drawing:
    """Lay a plan out from left to right, in layers (after Sugiyama), so that lines go one way and pass behind no box.

    Args:
        depends_on: The milestones that each depends on, by id, without a cycle; ids that are not keys are ignored.

    Returns:
        The picture, in pixels, with a place for each key.
    """
    needs = {key: [n for n in dict.fromkeys(needed) if n in depends_on] for key, needed in depends_on.items()}
    drawn = _without_implied(needs) if sum(map(len, needs.values())) > 2 * len(needs) else needs
    tied = {key for key, needed in needs.items() if needed}.union(*needs.values())
    layer = {key: number for key, number in _layers(needs).items() if key in tied}
    columns: list[list[Stop]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    routes: list[list[Stop]] = []
    for key in needs:
        if key in tied:
            columns[layer[key]].append((key, key))
    for key, needed in drawn.items():
        for source in needed:
            between = range(layer[source] + 1, layer[key])
            for number in between:
                columns[number].append((source, key))
            routes.append([(source, source), *((source, key) for _ in between), (key, key)])
    _untangle(columns, routes)
    spots = _spots(columns)
    lines = [
        _line([spots[stop, layer[source[0]] + step] for step, stop in enumerate(route)])
        for route in routes
        for source in route[:1]
    ]
    places = {key: spots[(key, key), layer[key]] for key in needs if key in tied}
    bottom = max((spot.y + _height(stop) for (stop, _), spot in spots.items()), default=MARGIN - GAP_Y)
    for index, key in enumerate(key for key in needs if key not in tied):
        row, column = divmod(index, ABREAST)
        places[key] = Place(MARGIN + column * (WIDTH + GAP_X), bottom + GAP_Y + row * (HEIGHT + GAP_Y))
    width = max((place.x + WIDTH for place in places.values()), default=0) + MARGIN
    height = max([bottom, *(place.y + HEIGHT for place in places.values())]) + MARGIN
    return Drawing(width, height, {key: places[key] for key in needs}, lines, thinned=drawn != needs)


def _layers(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    layer: dict[str, int] = {}
    for key in TopologicalSorter(needs).static_order():
        layer[key] = 1 + max((layer[needed] for needed in needs[key]), default=-1)
    return layer


def _without_implied(needs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Leave out a dependency that another dependency has, too."""
    behind: dict[str, set[str]] = {}
    for key in TopologicalSorter(needs).static_order():
        behind[key] = set(needs[key]).union(*(behind[needed] for needed in needs[key]))
    return {key: [n for n in needed if not any(n in behind[m] for m in needed)] for key, needed in needs.items()}


def _untangle(columns: list[list[Stop]], routes: Sequence[Sequence[Stop]]) -> None:
    """Sort every column, in place, so that each stop is near the middle of its neighbours in the columns beside it."""
    before: dict[tuple[Stop, int], list[Stop]] = {}
    after: dict[tuple[Stop, int], list[Stop]] = {}
    level = {stop: number for number, column in enumerate(columns) for stop in column if stop[0] == stop[1]}
    for route in routes:
        for number, (left, right) in enumerate(pairwise(route), start=level[route[0]]):
            after.setdefault((left, number), []).append(right)
            before.setdefault((right, number + 1), []).append(left)
    for sweep in range(SWEEPS):
        order = range(1, len(columns)) if sweep % 2 == 0 else range(len(columns) - 2, -1, -1)
        for number in order:
            beside, neighbours = (number - 1, before) if sweep % 2 == 0 else (number + 1, after)
            rank = {stop: place / len(columns[beside]) for place, stop in enumerate(columns[beside])}
            own = {stop: place / len(columns[number]) for place, stop in enumerate(columns[number])}
            middle = {
                stop: fmean(rank[n] for n in found) if (found := neighbours.get((stop, number))) else own[stop]
                for stop in columns[number]
            }
            columns[number].sort(key=middle.__getitem__)


def _spots(columns: Sequence[Sequence[Stop]]) -> dict[tuple[Stop, int], Place]:
    """Stack each column around the middle of the tallest."""
    stacks = [
        (number, column[start : start + TALLEST])
        for number, column in enumerate(columns)
        for start in range(0, len(column), TALLEST)
    ]
    heights = [sum(_height(stop) + GAP_Y for stop in stack) - GAP_Y for _, stack in stacks]
    spots: dict[tuple[Stop, int], Place] = {}
    for index, (number, stack) in enumerate(stacks):
        y = MARGIN + (max(heights) - heights[index]) / 2
        for stop in stack:
            spots[stop, number] = Place(MARGIN + index * (WIDTH + GAP_X), y)
            y += _height(stop) + GAP_Y
    return spots


def _height(stop: Stop) -> int:
    return HEIGHT if stop[0] == stop[1] else LANE


def _line(spots: Sequence[Place]) -> str:
    """Draw a line from the right of the first spot to the left of the last, straight through the lanes between."""
    first, *lanes, last = spots
    x, y = first.x + WIDTH, first.y + HEIGHT / 2
    path = [f"M{x:g} {y:g}"]
    for spot in (*lanes, last):
        to = spot.y + (HEIGHT if spot is last else LANE) / 2
        bend = (spot.x - x) / 2
        path.append(f"C{x + bend:g} {y:g} {spot.x - bend:g} {to:g} {spot.x:g} {to:g}")
        x, y = spot.x, to
        if spot is not last:
            x += WIDTH
            path.append(f"H{x:g}")
    return " ".join(path)
