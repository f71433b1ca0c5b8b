"""Horizontal bar charts as SVG: a row per name, a panel per series, for light viewers and dark ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from edgeseg.build.svg import LONGEST_NAME, MARGIN, document, heading, printable, shortened, text_at, ticks, tip

__all__ = ["Panel", "draw_bars"]

#: Pixels: of a letter of names, between panels where figures stand, and of a panel.
NAME_LETTER, GAP, PANEL = 6.7, 60, 320
#: Pixels of a row: at most, at least, and of all rows where these allow it.
TALL, LOW, ALL_ROWS = 22, 13, 900


@dataclass(frozen=True)
class Panel:
    """One series.

    Attributes:
        title: What its bars show.
        unit: What stands below its axis.
        values: One for each row; None where there is none. Bars of infinite ones end where the axis does.
        missing: What stands in the place of such a bar.
        beyond: What stands beside a bar that is infinite.
        falling: The axis falls from left to right and bars begin at its left end, so that the least value has the
            longest bar; else they begin at zero.
    """

    title: str
    unit: str
    values: Sequence[float | None]
    missing: str = "-"
    beyond: str = "infinite"
    falling: bool = False


@dataclass(frozen=True)
class _Axis:
    """Values from the first tick, at the pixel `left`, to the last; bars begin at `origin`."""

    ticks: tuple[float, ...]
    origin: float
    left: float

    def x(self, value: float) -> float:
        value = min(max(value, min(self.ticks)), max(self.ticks))
        return self.left + (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0]) * PANEL


def draw_bars(title: str, notes: Sequence[str], names: Sequence[str], panels: Sequence[Panel]) -> str:
    """A whole SVG file, with the panels side by side, each on its own axis.

    Args:
        title: Of the chart.
        notes: Lines below it.
        names: Of the rows, from the top down. Any text will do, here as everywhere.
        panels: At least one.
    """
    body, end, written = heading(title, notes)
    shown = [shortened(printable(name), LONGEST_NAME) for name in names]
    room = MARGIN + NAME_LETTER * max(map(len, shown), default=0)
    row = min(TALL, max(LOW, ALL_ROWS // max(1, len(names))))
    top = end + 48
    bottom = top + row * len(names)
    for index, panel in enumerate(panels):
        left = room + 10 + index * (PANEL + GAP)
        body += _panel(panel, _axis(panel, left), "abc"[index % 3], (top, bottom), row)
    for index, (name, text) in enumerate(zip(names, shown, strict=True)):
        body.append(_name(name, text, room, top + row * (index + 0.5)))
    width = max(room + 10 + len(panels) * (PANEL + GAP), written)
    return document(title, width, bottom + 50, body)


def _axis(panel: Panel, left: float) -> _Axis:
    values = [value for value in panel.values if value is not None and math.isfinite(value)] or [0.0]
    if not panel.falling:
        return _Axis(ticks(min(0.0, *values), max(0.0, *values)), 0.0, left)
    # The greatest value is told by a short bar, not by none.
    falling = ticks(min(values), max(values) + max(0.02 * (max(values) - min(values)), 0.1))[::-1]
    return _Axis(falling, falling[0], left)


def _panel(panel: Panel, axis: _Axis, colour: str, rows: tuple[float, float], row: float) -> Iterator[str]:
    top, bottom = rows
    yield text_at(axis.left, top - 26, panel.title, f"panel {colour}")
    for tick in axis.ticks:
        x, kind = axis.x(tick), "zero" if tick == axis.origin else "grid"
        yield f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4:.1f}" y2="{bottom + 4:.1f}"/>'
        yield text_at(x, top - 9, f"{tick:g}", "note", "middle")
        yield text_at(x, bottom + 17, f"{tick:g}", "note", "middle")
    yield text_at(axis.left, bottom + 35, panel.unit, "note")
    for index, value in enumerate(panel.values):
        yield from _bar(value, panel, axis, colour, top + row * index, row)


def _bar(value: float | None, panel: Panel, axis: _Axis, colour: str, y: float, row: float) -> Iterator[str]:
    begin = axis.x(axis.origin)
    end = begin if value is None else axis.x(value)
    if value is not None:
        thick = 0.68 * row
        yield (
            f'<rect class="{colour}" x="{min(begin, end):.1f}" y="{y + (row - thick) / 2:.1f}" '
            f'width="{abs(end - begin):.1f}" height="{thick:.1f}"/>'
        )
    figure = panel.missing if value is None else _signed(value, panel)
    yield text_at(max(begin, end) + 4, y + row / 2 + 4, figure, "note")


def _signed(value: float, panel: Panel) -> str:
    if math.isinf(value):
        return panel.beyond
    return f"{value:.1f}" if panel.falling else f"{round(value, 2) + 0.0:+.2f}"


def _name(name: str, shown: str, x: float, y: float) -> str:
    return f'<text class="name" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="end">{tip(name)}{escape(shown)}</text>'
