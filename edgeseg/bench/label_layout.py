"""Places for labels beside points of a chart, so that none covers another, a point or a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["RADIUS", "Box", "Line", "crosses", "leader", "overlaps", "place_labels"]

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
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], bounds: Box, lines: Sequence[Line]
) -> list[Box | None]:
    """Where the labels of points go, None for one that finds no room. Those that come first choose first.

    Args:
        points: Pixels.
        sizes: Width and height of the first points' labels; the others have none.
        bounds: That labels stay within.
        lines: That labels keep off where there is room beside them.
    """
    taken = [Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in points]
    leaders: list[Line] = []
    places: list[Box | None] = []
    for index, (point, size) in enumerate(zip(points, sizes, strict=False)):
        others = [box for number, box in enumerate(taken) if number != index]
        place = next(
            (
                box
                for avoided in ([*lines, *leaders], leaders)
                for box in _around(point, size)
                if _is_free(box, point, taken, others, avoided, bounds)
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


def _around(point: tuple[float, float], size: tuple[float, float]) -> Iterator[Box]:
    """Boxes of that size on ellipses about a point, the nearest first."""
    (x, y), (width, height) = point, size
    for distance in DISTANCES:
        for degrees in DIRECTIONS:
            angle = math.radians(degrees)
            left = x + math.cos(angle) * (distance + width / 2) - width / 2
            top = y + math.sin(angle) * (distance + height / 2) - height / 2
            yield Box(left, top, left + width, top + height)


def _is_free(
    box: Box,
    point: tuple[float, float],
    taken: Sequence[Box],
    others: Sequence[Box],
    lines: Sequence[Line],
    bounds: Box,
) -> bool:
    inside = bounds.left <= box.left and box.right <= bounds.right
    if not (inside and bounds.top <= box.top and box.bottom <= bounds.bottom):
        return False
    if any(overlaps(box, other) for other in taken) or any(crosses(line, box) for line in lines):
        return False
    own = leader(point, box)
    return own is None or not any(crosses(own, other) for other in others)
