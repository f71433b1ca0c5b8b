"""A chart's plane: values to pixels, grid lines and their figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgeseg.build.svg import text_at, ticks

__all__ = ["Axis", "Plane", "linear"]

Floats = npt.NDArray[np.float64]
#: Pixels left of the plane for figures, right of it, above, and below.
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 38


@dataclass(frozen=True)
class Axis:
    """One direction.

    Attributes:
        title: What is along it, and its unit.
        marks: Values with a line, and their figures.
        place: From a value to 0 at the axis's beginning and 1 at its end.
    """

    title: str
    marks: Sequence[tuple[float, str]]
    place: Callable[[float], float]


def linear(title: str, low: float, high: float, most: int = 7) -> Axis:
    """An axis with even steps, from round number to round number."""
    values = ticks(low, high, most)
    begin, span = values[0], values[-1] - values[0]
    return Axis(title, [(value, f"{value:g}") for value in values], lambda value: (value - begin) / span)


@dataclass
class Plane:
    """A chart under construction: elements in the order of drawing.

    Attributes:
        x, y: Its axes.
        width, height: Of all, pixels of its own; pages scale it.
        title: What readers of the screen say of it.
    """

    x: Axis
    y: Axis
    title: str
    width: int = 440
    height: int = 220
    body: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for value, text in self.y.marks:
            at = self.at_y(value)
            self.body.append(f'<line class="grid" x1="{LEFT}" x2="{self.width - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            self.body.append(text_at(LEFT - 6, at + 4, text, "figure", "end"))
        for value, text in self.x.marks:
            self.body.append(text_at(self.at_x(value), self.height - BOTTOM + 16, text, "figure", "middle"))
        middle = (LEFT + self.width - RIGHT) / 2
        self.body.append(text_at(middle, self.height - 6, self.x.title, "axis", "middle"))
        self.body.append(text_at(LEFT - 40, TOP + 2, self.y.title, "axis"))

    def at_x(self, value: float) -> float:
        """The pixel of a value."""
        return LEFT + self.x.place(value) * (self.width - LEFT - RIGHT)

    def at_y(self, value: float) -> float:
        """The pixel of a value."""
        return self.height - BOTTOM - self.y.place(value) * (self.height - TOP - BOTTOM - 12)

    def line(self, xs: Floats, ys: Floats, series: int) -> None:
        """A line through points; where a value is NaN it has a gap."""
        words, down = [], False
        for x, y in zip(xs, ys, strict=True):
            if math.isnan(y):
                down = False
                continue
            words.append(f"{'L' if down else 'M'}{self.at_x(x):.1f} {self.at_y(y):.1f}")
            down = True
        self.body.append(f'<path class="line s{series % 8}" d="{" ".join(words)}"/>')

    def svg(self) -> str:
        """The element."""
        inside = "\n".join(self.body)
        return f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{self.title}">{inside}</svg>'
