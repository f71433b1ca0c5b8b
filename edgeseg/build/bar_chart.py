"""Horizontal bar charts as SVG: a row per name, a panel per series, for light viewers and dark ones."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

__all__ = ["Panel", "draw_bars"]

#: What XML 1.0 has no place for, even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Letters of a name, and of another text, that are shown; of a longer one the middle is left out.
LONGEST_NAME, LONGEST_TEXT = 44, 140
#: Pixels: of a letter of names and of other texts, around all, between panels where figures stand, and of a panel.
NAME_LETTER, NOTE_LETTER, MARGIN, GAP, PANEL = 6.7, 6.2, 16, 60, 320
#: Pixels of a row: at most, at least, and of all rows where these allow it.
TALL, LOW, ALL_ROWS = 22, 13, 900
MOST_TICKS = 7
#: Of an axis, so that next to nothing looks like it.
LEAST_SPAN = 0.1

#: Plain classes, because not every viewer knows CSS variables. Colours are told apart by the colour-blind too.
_STYLE = """
    text { font: 11px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
    .title { font-size: 16px; font-weight: 600 }
    .panel { font-size: 12px; font-weight: 600 }
    .name { font-family: ui-monospace, 'DejaVu Sans Mono', monospace }
    .note { fill: #59636e }
    .paper { fill: #ffffff }
    .grid { stroke: #dfe3e8 }
    .zero { stroke: #59636e }
    .a { fill: #0072b2 }
    .b { fill: #c2570c }
    .c { fill: #00785a }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .note { fill: #9da7b1 }
      .paper { fill: #0d1117 }
      .grid { stroke: #2b323b }
      .zero { stroke: #9da7b1 }
      .a { fill: #56a8e0 }
      .b { fill: #f0883e }
      .c { fill: #3fbf95 }
    }
"""


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
    notes = [_shortened(_printable(note), LONGEST_TEXT) for note in notes]
    shown = [_shortened(_printable(name), LONGEST_NAME) for name in names]
    room = MARGIN + NAME_LETTER * max(map(len, shown), default=0)
    row = min(TALL, max(LOW, ALL_ROWS // max(1, len(names))))
    top = 82 + 16 * len(notes)
    bottom = top + row * len(names)
    body = [_text(MARGIN, 28, _shortened(_printable(title), LONGEST_TEXT), "title")]
    body += [_text(MARGIN, 50 + 16 * index, note, "note") for index, note in enumerate(notes)]
    for index, panel in enumerate(panels):
        left = room + 10 + index * (PANEL + GAP)
        body += _panel(panel, _axis(panel, left), "abc"[index % 3], (top, bottom), row)
    for index, (name, text) in enumerate(zip(names, shown, strict=True)):
        body.append(_name(name, text, room, top + row * (index + 0.5)))
    written = MARGIN + NOTE_LETTER * max(map(len, notes), default=0)
    width = max(room + 10 + len(panels) * (PANEL + GAP), written + MARGIN)
    return _document(title, width, bottom + 50, body)


def _document(title: str, width: float, height: float, body: Sequence[str]) -> str:
    size = f"{width:.0f} {height:.0f}".split()
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
            f'viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label={quoteattr(_printable(title))}>',
            f"  <style>{_STYLE}  </style>",
            '  <rect class="paper" width="100%" height="100%"/>',
            *(f"  {part}" for part in body),
            "</svg>\n",
        )
    )


def _axis(panel: Panel, left: float) -> _Axis:
    values = [value for value in panel.values if value is not None and math.isfinite(value)] or [0.0]
    if not panel.falling:
        return _Axis(_ticks(min(0.0, *values), max(0.0, *values)), 0.0, left)
    # The greatest value is told by a short bar, not by none.
    ticks = _ticks(min(values), max(values) + max(0.02 * (max(values) - min(values)), 0.1))[::-1]
    return _Axis(ticks, ticks[0], left)


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Round numbers at even steps, the first at most `low`, the last at least `high`."""
    high = max(high, low + LEAST_SPAN)
    rough = (high - low) / (MOST_TICKS - 2)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def _panel(panel: Panel, axis: _Axis, colour: str, rows: tuple[float, float], row: float) -> Iterator[str]:
    top, bottom = rows
    yield _text(axis.left, top - 26, panel.title, f"panel {colour}")
    for tick in axis.ticks:
        x, kind = axis.x(tick), "zero" if tick == axis.origin else "grid"
        yield f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4:.1f}" y2="{bottom + 4:.1f}"/>'
        yield _text(x, top - 9, f"{tick:g}", "note", "middle")
        yield _text(x, bottom + 17, f"{tick:g}", "note", "middle")
    yield _text(axis.left, bottom + 35, panel.unit, "note")
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
    yield _text(max(begin, end) + 4, y + row / 2 + 4, figure, "note")


def _signed(value: float, panel: Panel) -> str:
    if math.isinf(value):
        return panel.beyond
    return f"{value:.1f}" if panel.falling else f"{round(value, 2) + 0.0:+.2f}"


def _name(name: str, shown: str, x: float, y: float) -> str:
    tip = f"<title>{escape(_printable(name))}</title>"
    return f'<text class="name" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="end">{tip}{escape(shown)}</text>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(_printable(text))}</text>'


def _printable(text: str) -> str:
    """One line that XML can hold."""
    return " ".join(_NO_XML.sub("\ufffd", text).split())


def _shortened(text: str, longest: int) -> str:
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}\u2026{text[-half:]}"
