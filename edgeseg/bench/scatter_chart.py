"""Scatter charts as SVG: labelled points, and the front of those that nothing beats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgeseg.bench.label_layout import RADIUS, Box, Line, leader, place_labels
from edgeseg.build.svg import (
    LONGEST_NAME,
    MARGIN,
    NOTE_LETTER,
    document,
    heading,
    printable,
    shortened,
    text_at,
    ticks,
    tip,
)

__all__ = ["Limit", "Mark", "draw_scatter", "front_steps", "pareto_front"]

#: Pixels: of the chart within its axes, left of it for figures, and of a line of a label.
WIDTH, HEIGHT, FIGURES, LINE = 920, 560, 40, 13
#: Pixels from the centre of the point that was picked to its ring.
RING = RADIUS + 4
COLOURS = "abc"
FRONT = "Pareto front: nothing is both faster and more accurate"
MOST_TICKS = 12
#: Share of the span of the values that stays free beyond them, and the least of a value where there is no span.
ROOM, LEAST = 0.08, 0.005
#: How many times as far as the marks a limit may lie and still be within the chart.
NEAR = 1.5
#: An axis is logarithmic where half of the values lie within that share of their span, and the largest is so many times
#: the least.
CROWDED, WIDE = 0.25, 4.0
#: What of a power of ten a logarithmic axis tells, the first of these that is not too much.
STEPS = ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1,))


@dataclass(frozen=True)
class Mark:
    """One point; of `x` little is better, of `y` much.

    Attributes:
        lines: Its label; none for a point without. Any text will do, here as everywhere.
        tip: What shows where the mouse rests on it.
        group: By which it is coloured.
        hollow: A diamond and not a disc.
        picked: It has a ring around it.
    """

    x: float
    y: float
    lines: tuple[str, ...]
    tip: str
    group: str
    hollow: bool
    picked: bool = False


@dataclass(frozen=True)
class Limit:
    """A line across the chart at a value of x, and what it says."""

    x: float
    text: str


@dataclass(frozen=True)
class _Scale:
    """Values from `low`, at the pixel `start`, to `high`, at `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log(one) if self.logarithmic else one for one in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        if not self.logarithmic:
            return [tick for tick in ticks(self.low, self.high, MOST_TICKS) if self.low <= tick <= self.high]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found: list[float] = []
        for steps in STEPS:
            every = [step * 10.0**power for power in powers for step in steps]
            found = [tick for tick in every if self.low <= tick <= self.high]
            if len(found) <= MOST_TICKS:
                break
        return found


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points `(x, y)` that no other beats, by rising x: none has at most its x and at least its y."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def draw_scatter(
    title: str,
    notes: Sequence[str],
    marks: Sequence[Mark],
    *,
    axes: tuple[str, str],
    kinds: tuple[str, str],
    limit: Limit | None = None,
) -> str:
    """A whole SVG file. Labels of the front are placed first; one without room is left out, and is its point's tip.

    Args:
        title: Of the chart.
        notes: Lines below it.
        marks: At least one.
        axes: What stands at the axes, x and y. That of x is logarithmic where most marks would be crowded otherwise.
        kinds: What discs are, and what diamonds are.
        limit: Where it is far from all marks, an arrow says on which side.
    """
    body, end, written = heading(title, notes)
    top, left = end + 84, MARGIN + FIGURES
    x = _across([mark.x for mark in marks], limit, left)
    y = _Scale(*_range([mark.y for mark in marks]), top + HEIGHT, top)
    front = pareto_front([(mark.x, mark.y) for mark in marks])
    steps = front_steps([(x(marks[index].x), y(marks[index].y)) for index in front], x.end)
    others = [mark for index, mark in enumerate(marks) if index not in front]
    ordered = sorted([*(marks[index] for index in front), *others], key=lambda mark: not mark.lines)
    places = [(x(mark.x), y(mark.y)) for mark in ordered]
    limits = [Line(x(limit.x), y.end, x(limit.x), y.start)] if limit and x.low <= limit.x <= x.high else []
    colours = {group: COLOURS[index % len(COLOURS)] for index, group in enumerate(sorted({m.group for m in marks}))}
    body += _legend(colours, kinds, MARGIN, end + 24)
    body += _meanings(MARGIN, end + 42, picked=any(mark.picked for mark in marks))
    body += _grid(x, y, (f"{axes[0]}, logarithmic" if x.logarithmic else axes[0], axes[1]))
    body.append(_path(steps))
    body += _limit(limit, x, y) if limit else []
    body += _labels([mark for mark in ordered if mark.lines], places, Box(left, top, x.end, y.start), [*limits, *steps])
    body += [_ring(at) for mark, at in zip(ordered, places, strict=True) if mark.picked]
    body += [_mark(at, colours[mark.group], mark.hollow, mark.tip) for mark, at in zip(ordered, places, strict=True)]
    return document(title, max(x.end + 2 * MARGIN, written), y.start + 50, body)


def _across(values: Sequence[float], limit: Limit | None, left: float) -> _Scale:
    """The axis of x: of all values, and of the limit if that is not far from them."""
    low, high = min(values), max(values)
    within = [*values, *([limit.x] if limit and low / NEAR <= limit.x <= NEAR * high else [])]
    crowded = statistics.median(values) - low < CROWDED * (high - low)
    if not (crowded and low > 0 and high > WIDE * low):
        return _Scale(*_range(within), left, left + WIDTH)
    room = (max(within) / min(within)) ** ROOM
    return _Scale(min(within) / room, max(within) * room, left, left + WIDTH, logarithmic=True)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = max(ROOM * (high - low), LEAST * abs(high), LEAST)
    return max(0.0, low - room), high + room


def _legend(colours: dict[str, str], kinds: tuple[str, str], x: float, y: float) -> Iterator[str]:
    """What shapes and colours mean, side by side."""
    for kind, hollow in zip(kinds, (False, True), strict=True):
        yield _mark((x + RADIUS, y - 4), "note", hollow, kind)
        yield text_at(x + 18, y, kind, "note")
        x += 34 + NOTE_LETTER * len(kind)
    for group, colour in colours.items():
        yield f'<rect class="{colour}" x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10"/>'
        yield text_at(x + 16, y, group, "note")
        x += 32 + NOTE_LETTER * len(group)


def _meanings(x: float, y: float, *, picked: bool) -> Iterator[str]:
    """What the line means, and the ring where there is one."""
    yield f'<path class="front" d="M{x:.1f} {y - 4:.1f} h24"/>'
    yield text_at(x + 30, y, FRONT, "note")
    if picked:
        right = x + 64 + NOTE_LETTER * len(FRONT)
        yield _ring((right, y - 4))
        yield text_at(right + 16, y, "picked", "note")


def _limit(limit: Limit, x: _Scale, y: _Scale) -> Iterator[str]:
    """Its line, or an arrow where it lies beyond the chart."""
    over = y.end - 6
    if limit.x < x.low:
        yield text_at(x.start, over, f"\u2190 {limit.text}", "panel")
    elif limit.x > x.high:
        yield text_at(x.end, over, f"{limit.text} \u2192", "panel", "end")
    else:
        at = f"{x(limit.x):.1f}"
        yield f'<line class="zero" x1="{at}" x2="{at}" y1="{y.end:.1f}" y2="{y.start:.1f}"/>'
        yield text_at(x(limit.x), over, limit.text, "panel", "middle")


def _ring(place: tuple[float, float]) -> str:
    return f'<circle class="zero" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{RING:g}" fill="none"/>'


def _grid(x: _Scale, y: _Scale, axes: tuple[str, str]) -> Iterator[str]:
    for tick in x.ticks():
        yield f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{y.end:.1f}" y2="{y.start:.1f}"/>'
        yield text_at(x(tick), y.start + 17, f"{tick:g}", "note", "middle")
    for tick in y.ticks():
        yield f'<line class="grid" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        yield text_at(x.start - 6, y(tick) + 4, f"{tick:g}", "note", "end")
    yield text_at(x.end, y.start + 35, axes[0], "panel", "end")
    yield text_at(MARGIN, y.end - 26, axes[1], "panel")


def front_steps(front: Sequence[tuple[float, float]], end: float) -> list[Line]:
    """The border of what the front beats: from each of its points to the right, and up to the next."""
    lines = []
    for (x1, y1), (x2, y2) in pairwise(front):
        lines += [Line(x1, y1, x2, y1), Line(x2, y1, x2, y2)]
    return [*lines, Line(*front[-1], end, front[-1][1])]


def _path(steps: Sequence[Line]) -> str:
    ends = " ".join(f"L{line.x2:.1f} {line.y2:.1f}" for line in steps)
    return f'<path class="front" d="M{steps[0].x1:.1f} {steps[0].y1:.1f} {ends}"/>'


def _labels(
    marks: Sequence[Mark], places: Sequence[tuple[float, float]], bounds: Box, lines: Sequence[Line]
) -> Iterator[str]:
    """Labels with what leads to them, and how many there was no room for; `places` has those of other points too."""
    shown = [tuple(shortened(printable(line), LONGEST_NAME) for line in mark.lines) for mark in marks]
    sizes = [(NOTE_LETTER * max(map(len, label)), LINE * len(label) + 2.0) for label in shown]
    radii = [RING if mark.picked else RADIUS for mark in marks]
    boxes = place_labels(places, sizes, bounds, lines, radii)
    if None in boxes:
        note = f"Points without a name, for want of room: {boxes.count(None)}. It shows where the mouse rests on them."
        yield text_at(bounds.left, bounds.bottom + 35, note, "note")
    for label, place, box in zip(shown, places, boxes, strict=False):
        if box is None:
            continue
        line = leader(place, box)
        if line is not None:
            yield f'<line class="leader" x1="{line.x1:.1f}" y1="{line.y1:.1f}" x2="{line.x2:.1f}" y2="{line.y2:.1f}"/>'
        right = place[0] > box.left + 0.75 * (box.right - box.left)
        anchor, at = ("end", box.right) if right else ("start", box.left)
        for number, text in enumerate(label):
            yield text_at(at, box.top + LINE * (number + 1) - 2, text, "note" if number else "label", anchor)


def _mark(place: tuple[float, float], colour: str, hollow: bool, note: str) -> str:
    x, y = place
    if hollow:
        r = RADIUS
        shape = f"M{x - r:.1f} {y:.1f} l{r:g} {-r:g} l{r:g} {r:g} l{-r:g} {r:g} z"
        return f'<path class="{colour} ring" d="{shape}">{tip(note)}</path>'
    return f'<circle class="{colour} disc" cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS - 1:g}">{tip(note)}</circle>'
