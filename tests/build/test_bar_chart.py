"""Bar charts: well-formed whatever the names are, and as long as the values say."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from edgeseg.build.bar_chart import PANEL, Panel, draw_bars

SVG = "{http://www.w3.org/2000/svg}"
FIVE = ("stem", "a", "b", "c", "head")
NOISE = Panel("noise", "dB", (12.0, 20.5, 33.0, 47.2, None), missing="no noise", falling=True)
GAIN = Panel("gain", "dB", (2.5, -0.4, 0.0, None, 0.101))


def parsed(*panels: Panel, names: tuple[str, ...] = FIVE, title: str = "title") -> ElementTree.Element:
    return ElementTree.fromstring(draw_bars(title, ["note"], names, panels))


def bars(chart: ElementTree.Element, colour: str) -> list[tuple[float, float]]:
    """Left and right end of each bar in that colour, pixels."""
    found = [one for one in chart.iter(f"{SVG}rect") if one.get("class") == colour]
    return [(float(one.get("x", "")), float(one.get("x", "")) + float(one.get("width", ""))) for one in found]


def texts(chart: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [one for one in chart.iter(f"{SVG}text") if kind in (one.get("class") or "").split()]


def pixel_of(chart: ElementTree.Element, tick: str, after: float = 0) -> float:
    """Where the first tick of that name beyond a pixel stands."""
    places = [float(one.get("x", "")) for one in texts(chart, "note") if one.text == tick]
    return min(x for x in places if x > after)


def test_bars_are_as_long_as_their_values() -> None:
    chart = parsed(NOISE, GAIN)
    noise, gain = bars(chart, "a"), bars(chart, "b")
    assert [len(noise), len(gain)] == [4, 4], "what has no value has no bar"
    forty, twenty = pixel_of(chart, "40"), pixel_of(chart, "20")
    per_db = (twenty - forty) / 20
    assert per_db > 0
    ends = [twenty - per_db * (value - 20) for value in (12.0, 20.5, 33.0, 47.2)]
    assert [right for _, right in noise] == pytest.approx(ends, abs=0.2)
    assert len({left for left, _ in noise}) == 1, "they begin at one end"
    zero = pixel_of(chart, "0", after=twenty)
    one = pixel_of(chart, "1", after=zero) - zero
    assert gain == [
        pytest.approx((zero + min(0, value) * one, zero + max(0, value) * one), abs=0.2)
        for value in (2.5, -0.4, 0.0, 0.101)
    ]


def test_figures_and_what_is_missing_are_written_beside_the_bars() -> None:
    told = [one.text for one in texts(parsed(NOISE, GAIN), "note")]
    assert {"12.0", "47.2", "no noise", "+2.50", "-0.40", "+0.00", "+0.10", "-"} <= set(told)


def test_infinite_bars_end_with_their_axis() -> None:
    chart = parsed(Panel("noise", "dB", (-math.inf, 10.0, 30.0), beyond="drowned", falling=True), names=("a", "b", "c"))
    lines = [float(one.get("x1", "")) for one in chart.iter(f"{SVG}line")]
    (left, right), (_, shorter), _ = bars(chart, "a")
    assert (left, right) == pytest.approx((min(lines), max(lines)), abs=0.2)
    assert shorter <= right
    assert "drowned" in [one.text for one in texts(chart, "note")]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param((0.0,), id="zero alone"),
        pytest.param((None, None), id="no value"),
        pytest.param((3.3,), id="one"),
        pytest.param((-1e-7, 2e-7), id="tiny ones"),
        pytest.param((-1234.5, 99999.0), id="large ones"),
        pytest.param((-3.0, -2.0), id="negative ones"),
        pytest.param((20.0, 20.0), id="equal ones"),
        pytest.param((1e-300, 0.0), id="next to nothing"),
    ],
)
@pytest.mark.parametrize("falling", [False, True], ids=["rising", "falling"])
def test_all_bars_lie_within_their_axis(values: tuple[float | None, ...], falling: bool) -> None:
    chart = parsed(Panel("p", "u", values, falling=falling), names=("n",) * len(values))
    lines = sorted({float(one.get("x1", "")) for one in chart.iter(f"{SVG}line")})
    assert 2 <= len(lines) <= 12
    assert lines[-1] - lines[0] == pytest.approx(PANEL, abs=0.2)
    steps = [b - a for a, b in pairwise(lines)]
    assert max(steps) - min(steps) <= 0.2 + 1e-9
    for left, right in bars(chart, "a"):
        assert lines[0] - 0.1 <= left <= right <= lines[-1] + 0.1
        assert right > left or not falling, "the quietest has a bar too"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("</text></svg><script>alert(1)</script>", id="tags"),
        pytest.param("a & b &lt; ]]> \"'", id="entities and quotes"),
        pytest.param("zero \x00, bell \x07, escape \x1b", id="control characters"),
        pytest.param("lone \ud800 surrogate and \uffff", id="no characters"),
        pytest.param("two\nlines\tand more", id="white space"),
        pytest.param("x" * 5000, id="a long one"),
        pytest.param("", id="an empty one"),
        pytest.param("straße/конв_畳み込み", id="other scripts"),
    ],
)
def test_any_name_is_text_and_nothing_else(name: str) -> None:
    panel = Panel(name, name, (1.0,), missing=name)
    chart = ElementTree.fromstring(draw_bars(name, [name], [name], [panel]).encode())
    assert {one.tag for one in chart.iter()} <= {SVG + tag for tag in ("svg", "style", "rect", "line", "text", "title")}
    (row,) = texts(chart, "name")
    whole = " ".join(re.sub("[\x00\x07\x1b\ud800\uffff]", "\ufffd", name).split())
    assert (row[0].tag, row[0].text or "") == (f"{SVG}title", whole), "the whole name is its tip"
    shown = row[0].tail or ""
    assert shown == whole if len(whole) <= 44 else (len(shown) <= 44 and "…" in shown)


@pytest.mark.parametrize("count", [5, 30, 150])
def test_the_height_stays_sensible(count: int) -> None:
    values = tuple(float(index) for index in range(count))
    chart = parsed(Panel("p", "u", values), names=tuple(f"block {index}" for index in range(count)))
    height = float(chart.get("height", ""))
    rows = [float(one.get("y", "")) for one in texts(chart, "name")]
    assert 200 <= height <= 2300
    assert all(13 <= below - above <= 22 for above, below in pairwise(rows))
    assert max(float(one.get("y", "")) for one in chart.iter(f"{SVG}text")) < height


def test_all_text_lies_within_the_picture() -> None:
    panels = [Panel("noise", "dB", (1.0, 2.0), falling=True), Panel("gain", "dB", (1.0, -2.0))]
    chart = ElementTree.fromstring(draw_bars("t", ["word " * 100], ["x" * 60, "y"], panels))
    width = float(chart.get("width", ""))
    for one in chart.iter(f"{SVG}text"):
        x, length = float(one.get("x", "")), 6 * len((one[0].tail if len(one) else one.text) or "")
        left = {"start": x, "middle": x - length / 2, "end": x - length}[one.get("text-anchor", "start")]
        assert left >= 0 and left + length <= width


def test_light_and_dark_viewers_are_both_served() -> None:
    chart = draw_bars("t", [], FIVE, [NOISE])
    light, dark = chart.split("prefers-color-scheme: dark", 1)
    for rule in ("text", ".note", ".paper", ".grid", ".zero", ".a", ".b"):
        assert re.search(rf"{re.escape(rule)} {{ [^}}]*(fill|stroke|font)[^}}]*#\w{{6}}", light), rule
        assert re.search(rf"{re.escape(rule)} {{ [^}}]*#\w{{6}}", dark), rule
