"""The chart of a roofline: what each layer of an engine reaches under the ceilings of the machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeseg.bench.page.axes import RIGHT, Axis, Plane
from edgeseg.bench.roofline.structs import Roofline
from edgeseg.bench.roofline.words import percent
from edgeseg.build.svg import text_at, tip

__all__ = ["roofline_chart"]

#: Classes of colours: what computes in INT8, and in float.
INT8, FLOAT = 0, 1
#: Radius of a layer that takes all of the time, and the least, pixels.
RADIUS, LEAST = 24.0, 2.4
HEIGHT = 330


class Point(NamedTuple):
    """A layer: multiply-adds per byte, and G multiply-adds a second."""

    intensity: float
    rate: float
    int8: bool
    share_of_time: float
    words: str


def roofline_chart(name: str, roofline: Roofline, columns: Mapping[str, npt.NDArray[Any]]) -> str:
    """Multiply-adds a second over multiply-adds per byte, on logarithmic axes.

    Each layer that multiplies and whose time is told is a point, the larger the longer it takes; a ring is the engine.

    Args:
        name: Of the engine.
        roofline: Its own.
        columns: Of its layers, as the samples hold them.
    """
    points = list(_points(columns))
    whole = (roofline.macs / roofline.bytes, roofline.macs / roofline.inference_ms / 1e6)
    roofs = {str(key): rate / 1e9 for key, rate in roofline.ceilings.macs_per_s.items()}
    slopes = {"memory": roofline.ceilings.memory / 1e9, "caches": roofline.ceilings.caches / 1e9}
    ridge = max(roofs.values()) / min(slopes.values())
    xs = [*(point.intensity for point in points), whole[0], ridge]
    ys = [*(point.rate for point in points), whole[1], *roofs.values()]
    right, top = 2 * max(xs), 2 * max(ys)
    x, y = (
        _logarithmic("multiply-adds per byte", min(xs), right),
        _logarithmic("G multiply-adds a second", min(ys), top),
    )
    plane = Plane(x, y, "Roofline", height=HEIGHT)
    _draw_ceilings(plane, roofs, slopes, right)
    for point in sorted(points, key=lambda point: -point.share_of_time):
        radius = max(LEAST, RADIUS * math.sqrt(point.share_of_time))
        _circle(plane, (point.intensity, point.rate), radius, f"point f{INT8 if point.int8 else FLOAT}", point.words)
    _name_ceilings(plane, roofs, slopes)
    _circle(plane, whole, 6, "ring", f"{name}: {percent(roofline.share)} of the ceilings")
    plane.body.append(text_at(plane.at_x(whole[0]) + 9, plane.at_y(whole[1]) + 4, "engine", "mark"))
    return plane.svg()


def _points(columns: Mapping[str, npt.NDArray[Any]]) -> list[Point]:
    names = ("name", "op", "precision", "macs", "bytes", "bound_ms", "measured_ms")
    rows = list(zip(*(columns[column].tolist() for column in names), strict=True))
    total = float(np.nansum(columns["measured_ms"])) or 1.0
    return [
        Point(
            macs / size,
            macs / ms / 1e6,
            precision == "int8",
            ms / total,
            f"{name}, {op}, {precision}: {ms:.3f} ms, {percent(bound / ms)} of its ceiling",
        )
        for name, op, precision, macs, size, bound, ms in rows
        if macs and size and ms > 0
    ]


def _draw_ceilings(plane: Plane, roofs: Mapping[str, float], slopes: Mapping[str, float], right: float) -> None:
    (left, _), (bottom, _), top = plane.x.marks[0], plane.y.marks[0], max(roofs.values())
    for name, slope in slopes.items():
        ends = np.array([max(left, bottom / slope), top / slope])
        _line(plane, ends, slope * ends, "roof" if name == "memory" else "roof dashed")
    for name, rate in roofs.items():
        colour = f"s{INT8 if name == 'int8' else FLOAT}"
        _line(plane, np.array([rate / slopes["caches"], right]), np.array([rate, rate]), f"roof {colour}")


def _name_ceilings(plane: Plane, roofs: Mapping[str, float], slopes: Mapping[str, float]) -> None:
    """Roofs are named above them; slopes at the right, below, where nothing else is."""
    bottom, _ = plane.y.marks[0]
    for name, rate in roofs.items():
        text = f"{name.upper()} {rate:.0f} G/s"
        plane.body.append(text_at(plane.width - RIGHT, plane.at_y(rate) - 5, text, "mark", "end"))
    words = (("roof", f"memory {slopes['memory']:.0f} GB/s"), ("roof dashed", f"caches {slopes['caches']:.0f} GB/s"))
    for index, (kind, text) in enumerate(words):
        y = plane.at_y(bottom) - 22 + 15 * index
        plane.body.append(
            f'<path class="{kind}" d="M{plane.width - RIGHT - 22} {y - 4:.1f} L{plane.width - RIGHT} {y - 4:.1f}"/>'
        )
        plane.body.append(text_at(plane.width - RIGHT - 27, y, text, "mark", "end"))


def _line(plane: Plane, xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64], kind: str) -> None:
    places = [f"{plane.at_x(x):.1f} {plane.at_y(y):.1f}" for x, y in zip(xs, ys, strict=True)]
    plane.body.append(f'<path class="{kind}" d="M{" L".join(places)}"/>')


def _circle(plane: Plane, at: tuple[float, float], radius: float, kind: str, words: str) -> None:
    x, y = plane.at_x(at[0]), plane.at_y(at[1])
    plane.body.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">{tip(words)}</circle>')


def _logarithmic(title: str, low: float, high: float) -> Axis:
    """From a power of ten to `high`, with the powers of ten between."""
    first, last = math.floor(math.log10(low)), math.log10(high)
    marks = [(10.0**power, f"{10.0**power:g}") for power in range(first, math.floor(last) + 1)]
    return Axis(title, marks, lambda value: (math.log10(value) - first) / (last - first))
