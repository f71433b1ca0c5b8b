"""Places of labels: within bounds, off one another, off points and off what leads to others."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.bench.label_layout import RADIUS, Box, Line, crosses, distance, leader, overlaps, place_labels

BOUNDS = Box(0, 0, 600, 400)
points = st.lists(st.tuples(st.floats(20, 580), st.floats(20, 380)), min_size=1, max_size=10)


@given(points, st.integers(10, 200))
def test_labels_touch_nothing(places: list[tuple[float, float]], width: int) -> None:
    boxes = place_labels(places, [(width, 28)] * len(places), BOUNDS, [])
    placed = [(place, box) for place, box in zip(places, boxes, strict=True) if box is not None]
    marks = [Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in places]
    for place, box in placed:
        assert BOUNDS.left <= box.left and box.right <= BOUNDS.right
        assert BOUNDS.top <= box.top and box.bottom <= BOUNDS.bottom
        assert (box.right - box.left, box.bottom - box.top) == pytest.approx((width, 28))
        assert not any(overlaps(box, mark, 0) for mark in marks)
        line = leader(place, box)
        others = [other for _, other in placed if other != box]
        assert line is None or not any(crosses(line, other) for other in others)
    assert not any(overlaps(one, other, 0) for (_, one), (_, other) in combinations(placed, 2))


@given(st.tuples(st.floats(100, 300), st.floats(100, 300)))
def test_a_label_alone_stands_beside_its_point(place: tuple[float, float]) -> None:
    (box,) = place_labels([place], [(120, 28)], BOUNDS, [])
    assert box is not None
    assert leader(place, box) is None
    assert 0 < box.left - place[0] < 12 and box.top < place[1] < box.bottom


def test_a_label_keeps_off_lines_where_there_is_room() -> None:
    along = Line(100, 200, 600, 200)
    (box,) = place_labels([(100, 200)], [(80, 28)], BOUNDS, [along])
    assert box is not None and not crosses(along, box)


def test_a_label_keeps_off_a_ring() -> None:
    (box,) = place_labels([(100, 200)], [(80, 28)], BOUNDS, [], [20])
    assert box is not None and not overlaps(box, Box(80, 180, 120, 220), 0)


def test_what_leads_to_a_label_keeps_off_lines_where_there_is_room() -> None:
    crowd = [(300.0, 200.0), (280.0, 200.0), (320.0, 200.0), (300.0, 180.0), (300.0, 220.0)]
    (box,) = place_labels(crowd, [(80, 28)], BOUNDS, [])
    line = leader(crowd[0], box) if box is not None else None
    assert line is not None, "its label is beyond the crowd"
    x, y = line.x1 + 0.8 * (line.x2 - line.x1), line.y1 + 0.8 * (line.y2 - line.y1)
    short = Line(x, y - 2, x, y + 2)
    (other,) = place_labels(crowd, [(80, 28)], BOUNDS, [short])
    moved = leader(crowd[0], other) if other is not None else None
    assert moved is not None and distance(moved, short) > 0 == distance(line, short)


def test_the_labels_of_points_that_lie_over_one_another_keep_off_lines_too() -> None:
    pair = [(168.0, 420.0), (170.0, 415.0)]
    lines = [Line(168, 420, 168, 671), Line(170, 415, 240, 415), Line(240, 415, 240, 326)]
    boxes = place_labels(pair, [(105, 15)] * 2, Box(56, 150, 976, 710), lines)
    assert all(box is not None and not any(crosses(line, box) for line in lines) for box in boxes)


def test_what_leads_to_a_label_may_cross_a_line_and_never_runs_along_it() -> None:
    around = [Line(60, 160, 140, 160), Line(60, 240, 140, 240), Line(60, 160, 60, 240), Line(140, 160, 140, 240)]
    along = Line(100, 200, 145, 200)
    (box,) = place_labels([(100, 200)], [(80, 28)], BOUNDS, [*around, along])
    assert box is not None and not any(crosses(line, box) for line in around), "only what leads to it leaves the square"
    line = leader((100, 200), box)
    assert line is not None and (line.x2 <= 100 or line.y2 != 200)


def test_a_label_crosses_a_line_where_there_is_no_other_room() -> None:
    lines = [Line(0, y, 600, y) for y in range(0, 400, 10)]
    (box,) = place_labels([(300, 200)], [(80, 28)], BOUNDS, lines)
    assert box is not None


def test_the_first_points_choose_first_and_the_last_may_find_no_room() -> None:
    crowd = [(50.0, 20.0)] * 6
    boxes = place_labels(crowd, [(80, 28)] * 6, Box(0, 0, 100, 60), [])
    assert boxes[0] is not None
    assert boxes[-1] is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(Line(0, 15, 40, 15), True, id="straight through"),
        pytest.param(Line(0, 0, 40, 40), True, id="aslant through"),
        pytest.param(Line(15, 15, 16, 16), True, id="within"),
        pytest.param(Line(15, 15, 40, 15), True, id="from within"),
        pytest.param(Line(0, 15, 5, 15), False, id="that ends before"),
        pytest.param(Line(0, 5, 40, 5), False, id="above"),
        pytest.param(Line(5, 0, 5, 40), False, id="beside"),
        pytest.param(Line(0, 25, 25, 50), False, id="past a corner"),
        pytest.param(Line(15, 15, 15, 15), True, id="a point within"),
        pytest.param(Line(5, 15, 5, 15), False, id="a point beside"),
    ],
)
def test_a_line_crosses_a_box(line: Line, expected: bool) -> None:
    assert crosses(line, Box(10, 10, 20, 20)) is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(Line(5, -5, 5, 5), 0, id="crossed"),
        pytest.param(Line(5, 0, 15, 0), 0, id="along it"),
        pytest.param(Line(10, 0, 20, 5), 0, id="from its end"),
        pytest.param(Line(0, 3, 10, 3), 3, id="beside it"),
        pytest.param(Line(5, 4, 5, 9), 4, id="an end above it"),
        pytest.param(Line(13, 4, 20, 4), 5, id="beyond its end"),
        pytest.param(Line(7, 2, 7, 2), 2, id="a point"),
    ],
)
def test_how_far_lines_are_apart(line: Line, expected: float) -> None:
    one = Line(0, 0, 10, 0)
    assert distance(one, line) == distance(line, one) == pytest.approx(expected)
