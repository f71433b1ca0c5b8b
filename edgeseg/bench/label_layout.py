"""Places for labels beside points of a chart, so that none covers another, a point or a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["RADIUS", "Box", "Line", "crosses", "distance", "leader", "overlaps", "place_labels"]

#: Pixels: of a point, and between a label and what it must not touch.
RADIUS, GAP = 6.0, 2.0
#: Pixels from a point to its label, in the order of trying. From `FAR` on a line leads there.
DISTANCES, FAR = (9.0, 14.0, 22.0, 32.0, 44.0, 58.0, 74.0, 92.0, 112.0, 134.0, 160.0, 190.0), 14.0
#: Directions in degrees, clockwise from the right, in the order of trying.
DIRECTIONS = (0, 180, 30, -30, 150, -150, 60, -60, 120, -120, 90, -90, 15, -15, 165, -165)


class Box(NamedTuple):
    """Pixels; `top` is above `bottom`, and less."""

    left: float
    top: float
    right: float
    bottom: float


class Line(NamedTuple):
    """From one pixel straight to another."""

    x1: float
    y1: float
    x2: float
    y2: float


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    bounds: Box,
    lines: Sequence[Line],
    radii: Sequence[float] = (),
) -> list[Box | None]:
    """Where the labels of points go, None for one that finds no room. Those that come first choose first.

    Args:
        points: Pixels.
        sizes: Width and height of the first points' labels; the others have none.
        bounds: That labels stay within.
        lines: That labels and what leads to them keep off, or at least labels do, where there is room beside them.
        radii: Of the first points, pixels; the others have `RADIUS`.
    """
    around = [*radii, *[RADIUS] * (len(points) - len(radii))]
    taken = [Box(x - r, y - r, x + r, y + r) for (x, y), r in zip(points, around, strict=True)]
    leaders: list[Line] = []
    places: list[Box | None] = []
    for index, (point, size) in enumerate(zip(points, sizes, strict=False)):
        others = [box for number, box in enumerate(taken) if number != index]
        place = next(
            (
                box
                # Off all lines; then labels alone; then off what leads to other labels.
                for by_box, by_leader in (
                    ([*lines, *leaders], [*lines, *leaders]),
                    ([*lines, *leaders], leaders),
                    (leaders, ()),
                )
                for box in _around(point, size)
                if _is_within(box, bounds)
                and _is_free(box, taken, by_box)
                and _is_led_to(box, point, around[index], others, by_box, by_leader)
            ),
            None,
        )
        places.append(place)
        if place is not None:
            taken.append(place)
            line = leader(point, place)
            leaders += [line] if line is not None else []
    return places


def leader(point: tuple[float, float], box: Box) -> Line | None:
    """The line from a point to its label, None where that is near."""
    x, y = min(max(point[0], box.left), box.right), min(max(point[1], box.top), box.bottom)
    return Line(*point, x, y) if math.dist(point, (x, y)) > FAR else None


def overlaps(one: Box, other: Box, gap: float = GAP) -> bool:
    """Whether two boxes are nearer to one another than `gap` pixels."""
    across = one.left < other.right + gap and other.left < one.right + gap
    return across and one.top < other.bottom + gap and other.top < one.bottom + gap


def crosses(line: Line, box: Box) -> bool:
    """Whether a line runs through a box (Liang, Barsky, ACM Transactions on Graphics 1984)."""
    begin, end = 0.0, 1.0
    for start, step, low, high in (
        (line.x1, line.x2 - line.x1, box.left, box.right),
        (line.y1, line.y2 - line.y1, box.top, box.bottom),
    ):
        if step == 0:
            if not low <= start <= high:
                return False
            continue
        enter, leave = sorted(((low - start) / step, (high - start) / step))
        begin, end = max(begin, enter), min(end, leave)
    return begin <= end


def distance(one: Line, other: Line) -> float:
    """Pixels between two lines where they are nearest, 0 where they cross."""
    ends = [((line.x1, line.y1), (line.x2, line.y2)) for line in (one, other)]
    sides = [
        _side(line, end) * _side(line, other_end) for line, (end, other_end) in zip((other, one), ends, strict=True)
    ]
    if max(sides) < 0:
        return 0.0
    return min(_to_line(end, line) for line, pair in zip((other, one), ends, strict=True) for end in pair)


def _side(line: Line, point: tuple[float, float]) -> float:
    """Above 0 where a point lies on one side of a line, below on the other."""
    return (line.x2 - line.x1) * (point[1] - line.y1) - (line.y2 - line.y1) * (point[0] - line.x1)


def _to_line(point: tuple[float, float], line: Line) -> float:
    """Pixels from a point to where a line is nearest."""
    across, down = line.x2 - line.x1, line.y2 - line.y1
    length = across * across + down * down
    along = ((point[0] - line.x1) * across + (point[1] - line.y1) * down) / length if length else 0.0
    along = min(1.0, max(0.0, along))
    return math.dist(point, (line.x1 + along * across, line.y1 + along * down))


def _around(point: tuple[float, float], size: tuple[float, float]) -> Iterator[Box]:
    """Boxes of that size on ellipses about a point, the nearest first."""
    (x, y), (width, height) = point, size
    for distance in DISTANCES:
        for degrees in DIRECTIONS:
            angle = math.radians(degrees)
            left = x + math.cos(angle) * (distance + width / 2) - width / 2
            top = y + math.sin(angle) * (distance + height / 2) - height / 2
            yield Box(left, top, left + width, top + height)


def _is_within(box: Box, bounds: Box) -> bool:
    inside = bounds.left <= box.left and box.right <= bounds.right
    return inside and bounds.top <= box.top and box.bottom <= bounds.bottom


def _is_free(box: Box, taken: Sequence[Box], lines: Sequence[Line]) -> bool:
    """Whether a label covers neither another, nor a point, nor a line."""
    roomy = Box(box.left - GAP, box.top - GAP, box.right + GAP, box.bottom + GAP)
    return not any(overlaps(box, other) for other in taken) and not any(crosses(line, roomy) for line in lines)


def _is_led_to(
    box: Box,
    point: tuple[float, float],
    radius: float,
    others: Sequence[Box],
    along: Sequence[Line],
    across: Sequence[Line],
) -> bool:
    """Whether what leads to a label, where that is not near, runs through no other, nor along or across lines."""
    line = leader(point, box)
    if line is None:
        return True
    # Lines may end at the point, and other points lie over it: what leads from it is looked at outside of its mark.
    share = min(1.0, (radius + GAP) / math.dist(point, (line.x2, line.y2)))
    begin = line.x1 + share * (line.x2 - line.x1), line.y1 + share * (line.y2 - line.y1)
    own = Line(*begin, line.x2, line.y2)
    if any(crosses(own, other) for other in others):
        return False
    if any(distance(Line(*begin, *begin), other) <= GAP for other in along):
        return False
    return all(distance(own, other) > GAP for other in across)
