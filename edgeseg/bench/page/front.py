"""Accuracy against latency of engines, where their builds judged them on the same labelled frames."""

from __future__ import annotations

from collections.abc import Iterator

from edgeseg.bench.judged import Judged
from edgeseg.bench.label_layout import RADIUS, Box, Line, leader, place_labels
from edgeseg.bench.page.axes import BOTTOM, LEFT, RIGHT, TOP, Plane, linear
from edgeseg.bench.scatter_chart import front_steps, pareto_front
from edgeseg.build.svg import text_at, tip

__all__ = ["accuracy_front"]

HEIGHT, LETTER, LINE = 300, 6.2, 12
#: Of the span of the values, room beyond them.
ROOM = 0.12


def accuracy_front(engines: list[Judged]) -> str:
    """mIoU in points against the median latency, with the Pareto front as steps; engines in the colours of the page.

    Args:
        engines: At least one.
    """
    xs, ys = [one.p50_ms for one in engines], [100 * one.miou for one in engines]
    plane = Plane(
        linear("median latency, ms", *_with_room(xs), most=6),
        linear("mIoU, points", *_with_room(ys), most=6),
        "Accuracy against latency",
        height=HEIGHT,
    )
    places = [(plane.at_x(x), plane.at_y(y)) for x, y in zip(xs, ys, strict=True)]
    bounds = Box(LEFT, TOP + 8, plane.width - RIGHT, plane.height - BOTTOM)
    steps = front_steps([places[index] for index in pareto_front(list(zip(xs, ys, strict=True)))], bounds.right)
    ends = " ".join(f"L{line.x2:.1f} {line.y2:.1f}" for line in steps)
    plane.body.append(f'<path class="line s6" d="M{steps[0].x1:.1f} {steps[0].y1:.1f} {ends}"/>')
    plane.body += _labels(engines, places, bounds, steps)
    plane.body += [
        f'<circle class="f{one.place % 8}" cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS - 1:g}">'
        f"{tip(f'{one.name}: {one.p50_ms:.2f} ms, mIoU {100 * one.miou:.2f}')}</circle>"
        for one, (x, y) in zip(engines, places, strict=True)
    ]
    return plane.svg()


def _labels(engines: list[Judged], places: list[tuple[float, float]], bounds: Box, steps: list[Line]) -> Iterator[str]:
    """What each point is, where there is room; the key above the charts tells the others by their colour."""
    sizes = [(LETTER * max(map(len, one.lines)), LINE * len(one.lines) + 2.0) for one in engines]
    for one, place, box in zip(engines, places, place_labels(places, sizes, bounds, steps), strict=True):
        if box is None:
            continue
        line = leader(place, box)
        if line is not None:
            yield f'<line class="grid" x1="{line.x1:.1f}" y1="{line.y1:.1f}" x2="{line.x2:.1f}" y2="{line.y2:.1f}"/>'
        right = place[0] > box.left + 0.75 * (box.right - box.left)
        at, anchor = (box.right, "end") if right else (box.left, "start")
        for number, text in enumerate(one.lines):
            yield text_at(at, box.top + LINE * (number + 1) - 2, text, "figure", anchor)


def _with_room(values: list[float]) -> tuple[float, float]:
    room = max(ROOM * (max(values) - min(values)), 0.01 * max(values), 0.05)
    return max(0.0, min(values) - room), max(values) + room
