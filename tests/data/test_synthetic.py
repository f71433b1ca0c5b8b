"""The rendered street and its options."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.data.scene import Scene
from edgeseg.data.synthetic import Synthetic, parse_synthetic
from edgeseg.errors import UsageError


def test_a_frame_depends_on_size_seed_and_index_alone() -> None:
    first, second = Scene((48, 64), 3), Scene((48, 64), 3)
    wanted = first.render(20).copy()
    for index in (0, 7, 500):
        second.render(index)
    assert np.array_equal(second.render(20), wanted)
    assert not np.array_equal(Scene((48, 64), 4).render(20), wanted)
    assert not np.array_equal(second.render(21), wanted)


def test_frames_are_drawn_into_the_given_array() -> None:
    scene, buffer = Scene((48, 64)), np.zeros((48, 64, 3), np.uint8)
    assert scene.render(0, buffer) is buffer
    assert np.array_equal(scene.render(0), buffer)


def test_the_street_shows_sky_above_and_asphalt_below() -> None:
    frame = Scene((240, 320)).render(30).astype(int)
    sky, road = frame[:20, 140:180], frame[-20:, 140:180]
    assert sky.mean() > 180 and sky[..., 0].mean() > sky[..., 2].mean() + 10
    assert road.mean() < 120 and np.ptp(road.mean((0, 1))) < 15


@pytest.mark.parametrize("size_hw", [(16, 16), (37, 53), (1080, 64)], ids=str)
def test_any_size_is_rendered(size_hw: tuple[int, int]) -> None:
    assert Scene(size_hw).render(0).shape == (*size_hw, 3)


def test_options_are_read_from_the_address() -> None:
    uri = "synthetic://?width=320&height=240&fps=29.97&frames=9&seed=2&stall_at=3&stall_s=0.5&resize_at=4&corrupt=0.1&freeze_at=5"
    assert parse_synthetic(uri) == Synthetic(320, 240, 29.97, 9, 2, 3, 0.5, 4, 0.1, 5)
    assert parse_synthetic("synthetic://") == Synthetic()


@pytest.mark.parametrize(
    ("uri", "said", "hint"),
    [
        pytest.param("synthetic://?widht=3", "'widht'", "'width'", id="a misspelt key"),
        pytest.param("synthetic://?width=8", "`int` >= 16", "", id="a size too small"),
        pytest.param("synthetic://?width=wide", "Expected `int`", "", id="a word for a number"),
        pytest.param("synthetic://?corrupt=1.5", "<= 1.0", "", id="a share above one"),
        pytest.param("synthetic://?fps=nan", "fps", "", id="no number"),
        pytest.param("synthetic://street", "synthetic://street", "width", id="a path"),
    ],
)
def test_options_that_do_not_fit_are_refused(uri: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_synthetic(uri)
    assert said in caught.value.message and hint in caught.value.hint


@given(st.text(max_size=40))
def test_no_text_escapes_as_another_error(text: str) -> None:
    try:
        parse_synthetic("synthetic://" + text)
    except UsageError as error:
        assert error.message


def test_faults_begin_at_their_frame() -> None:
    spec = Synthetic(width=80, height=40, resize_at=3, freeze_at=5)
    assert [spec.size_at(i) for i in (2, 3, 9)] == [(40, 80), (30, 60), (30, 60)]
    assert [spec.shown_at(i) for i in (4, 5, 9)] == [4, 5, 5]
    assert Synthetic().size_at(99) == (480, 640) and Synthetic().shown_at(99) == 99
