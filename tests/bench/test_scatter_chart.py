"""Scatter charts: points where their values say, the front, and text that is text whatever it is."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.bench.scatter_chart import Limit, Mark, draw_scatter, pareto_front

SVG = "{http://www.w3.org/2000/svg}"
coordinate = st.floats(0, 100)


def mark(x: float, y: float, name: str = "net", group: str = "openvino", **fields: bool) -> Mark:
    return Mark(x, y, (name, "int8"), f"{name}: {x}", group, **{"hollow": False, **fields})


def parsed(*marks: Mark, limit: Limit | None = None) -> ElementTree.Element:
    axes, kinds = ("ms", "mIoU"), ("INT8", "float")
    return ElementTree.fromstring(draw_scatter("title", ["note"], marks, axes=axes, kinds=kinds, limit=limit))


def texts(chart: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [one for one in chart.iter(f"{SVG}text") if one.get("class") == kind]


def tip_of(element: ElementTree.Element) -> str:
    return element[0].text or "" if len(element) else ""


def discs(chart: ElementTree.Element) -> dict[str, tuple[float, float]]:
    """Centre of each disc by its tip, without the legend's."""
    found = [one for one in chart.iter(f"{SVG}circle") if "disc" in (one.get("class") or "") and tip_of(one) != "INT8"]
    return {tip_of(one): (float(one.get("cx", "")), float(one.get("cy", ""))) for one in found}


def tick(chart: ElementTree.Element, text: str, axis: str) -> float:
    """The pixel of a tick: those of x are centred, those of y end where the chart begins."""
    anchor = {"x": "middle", "y": "end"}[axis]
    (found,) = [one for one in texts(chart, "note") if one.text == text and one.get("text-anchor") == anchor]
    return float(found.get(axis, "")) - (4 if axis == "y" else 0)


def test_points_stand_where_their_values_say() -> None:
    chart = parsed(mark(5, 70, "a"), mark(10, 72, "b"), mark(7.5, 65, "c"))
    found = discs(chart)
    x5, x10 = tick(chart, "5", "x"), tick(chart, "10", "x")
    y66, y72 = tick(chart, "66", "y"), tick(chart, "72", "y")
    assert x5 < x10 and y72 < y66, "fast is left, and accurate is up"
    for tip, (x, y) in {"a: 5": (5, 70), "b: 10": (10, 72), "c: 7.5": (7.5, 65)}.items():
        assert found[tip][0] == pytest.approx(x5 + (x - 5) / 5 * (x10 - x5), abs=0.2)
        assert found[tip][1] == pytest.approx(y66 + (y - 66) / 6 * (y72 - y66), abs=0.2)


def test_where_most_points_are_crowded_on_the_left_the_axis_is_logarithmic() -> None:
    chart = parsed(mark(5, 70, "a"), mark(10, 71, "b"), mark(20, 72, "c"), mark(200, 73, "d"))
    assert [one.text for one in texts(chart, "panel")] == ["ms, logarithmic", "mIoU"]
    xs = [x for x, _ in discs(chart).values()]
    x10, x100 = tick(chart, "10", "x"), tick(chart, "100", "x")
    for x, value in zip(xs, (5, 10, 20, 200), strict=True):
        assert x == pytest.approx(x10 + math.log10(value / 10) * (x100 - x10), abs=0.2)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param((5, 50, 100, 200), id="far apart and evenly spread"),
        pytest.param((100, 101, 102, 200), id="crowded, and none several times another"),
        pytest.param((0, 1, 2, 200), id="nothing has no logarithm"),
    ],
)
def test_else_it_is_linear(values: tuple[float, ...]) -> None:
    chart = parsed(*(mark(value, 70 + value / 100) for value in values))
    assert [one.text for one in texts(chart, "panel")] == ["ms", "mIoU"]


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        pytest.param(14, "limit", id="within"),
        pytest.param(4, "limit", id="a little before"),
        pytest.param(1, "\u2190 limit", id="far before"),
        pytest.param(90, "limit \u2192", id="far beyond"),
    ],
)
def test_a_limit_is_a_line_or_where_it_is_far_an_arrow(limit: float, text: str) -> None:
    chart = parsed(mark(5, 70, "a"), mark(10, 71, "b"), limit=Limit(limit, "limit"))
    assert text in [one.text for one in texts(chart, "panel")]
    lines = [float(one.get("x1", "")) for one in chart.iter(f"{SVG}line") if one.get("class") == "zero"]
    x5, x10 = (discs(chart)[name][0] for name in ("a: 5", "b: 10"))
    assert lines == ([pytest.approx(x5 + (limit - 5) / 5 * (x10 - x5), abs=0.2)] if text == "limit" else [])
    assert x10 - x5 > 400, "it takes no room from the points"


def test_a_label_stands_outside_of_the_ring() -> None:
    chart = parsed(mark(5, 70, picked=True))
    *_, ring = (one for one in chart.iter(f"{SVG}circle") if one.get("class") == "zero")
    (name,) = texts(chart, "label")
    assert abs(float(name.get("x", "")) - float(ring.get("cx", ""))) > float(ring.get("r", ""))


def test_shapes_and_colours_tell_kinds_and_groups() -> None:
    chart = parsed(mark(5, 70), mark(6, 71, group="onnxruntime"), mark(9, 72, hollow=True))
    assert sorted(one.get("class", "") for one in chart.iter(f"{SVG}circle")) == ["a disc", "b disc", "note disc"]
    rings = [one.get("class") for one in chart.iter(f"{SVG}path") if "ring" in (one.get("class") or "")]
    assert sorted(map(str, rings)) == ["b ring", "note ring"], "one of them is the legend's"
    legend = [one.text for one in texts(chart, "note")]
    assert {"INT8", "float", "onnxruntime", "openvino"} <= set(legend)


def test_the_front_steps_over_the_points_that_nothing_beats() -> None:
    chart = parsed(mark(5, 70, "a"), mark(7, 69, "beaten"), mark(10, 72, "b"))
    path = max((one.get("d", "") for one in chart.iter(f"{SVG}path") if one.get("class") == "front"), key=len)
    corners = [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]
    a, b = discs(chart)["a: 5"], discs(chart)["b: 10"]
    assert corners[:3] == [a, (b[0], a[1]), b]
    assert len(corners) == 4 and corners[3][1] == b[1] and corners[3][0] > b[0]


@given(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=30))
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    front = [points[index] for index in pareto_front(points)]
    undominated = {(x, y) for x, y in points if not any(u <= x and v >= y and (u, v) != (x, y) for u, v in points)}
    assert set(front) == undominated
    assert front == sorted(undominated)


@pytest.mark.parametrize(
    "marks",
    [
        pytest.param([mark(5, 70)], id="one"),
        pytest.param([mark(5, 70), mark(5, 70)], id="two at one place"),
        pytest.param([mark(0, 0)], id="nothing at all"),
        pytest.param([mark(1e-6, 0.001), mark(2e-6, 99.9)], id="tiny ones"),
        pytest.param([mark(1e6, 70.0), mark(2e6, 70.001)], id="large ones"),
        pytest.param([mark(index % 9, index % 7, f"net {index}") for index in range(60)], id="sixty"),
    ],
)
def test_all_points_and_labels_lie_within_the_picture(marks: list[Mark]) -> None:
    chart = parsed(*marks)
    width, height = float(chart.get("width", "")), float(chart.get("height", ""))
    assert len(list(chart.iter(f"{SVG}circle"))) == len(marks) + 1
    for one in chart.iter(f"{SVG}circle"):
        assert 0 < float(one.get("cx", "")) < width and 0 < float(one.get("cy", "")) < height
    for one in chart.iter(f"{SVG}text"):
        x, length = float(one.get("x", "")), 6 * len(one.text or "")
        left = {"start": x, "middle": x - length / 2, "end": x - length}[one.get("text-anchor", "start")]
        assert left >= 0 and left + length <= width and 0 < float(one.get("y", "")) < height
    assert all(math.isfinite(float(number)) for number in re.findall(r"-?\d+\.?\d*", chart.get("viewBox", "")))


def test_names_that_find_no_room_are_counted() -> None:
    crowd = [mark(5 + index / 1000, 70 + index / 1000, "a-long-name" * 4) for index in range(40)]
    chart = parsed(*crowd, mark(1, 60, "alone"), mark(9, 80, "alone"))
    shown = len(texts(chart, "label"))
    assert 2 < shown < 42
    assert any(f"for want of room: {42 - shown}." in (one.text or "") for one in texts(chart, "note"))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("</text></svg><script>alert(1)</script>", id="tags"),
        pytest.param("a & b &lt; ]]> \"'", id="entities and quotes"),
        pytest.param("zero \x00, bell \x07, lone \ud800 surrogate", id="no characters"),
        pytest.param("x" * 5000, id="a long one"),
        pytest.param("", id="an empty one"),
    ],
)
def test_any_name_is_text_and_nothing_else(name: str) -> None:
    one = Mark(5, 70, (name, name), name, name, False)
    chart = ElementTree.fromstring(draw_scatter(name, [name], [one], axes=(name, name), kinds=(name, name)).encode())
    tags = ("svg", "style", "rect", "line", "path", "circle", "text", "title")
    assert {one.tag for one in chart.iter()} <= {SVG + tag for tag in tags}
