"""The flicker score on maps whose flicker is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from edgeseg.evaluate.flicker import WITHIN, Flicker
from edgeseg.labels import VOID


def score(maps: list[np.ndarray]) -> float:
    flicker = Flicker()
    for class_map in maps:
        flicker.update(class_map)
    return flicker.score()


def pixel(classes: list[int]) -> list[np.ndarray]:
    """One pixel over time."""
    return [np.full((1, 1), index, np.uint8) for index in classes]


@pytest.mark.parametrize(
    ("classes", "returns"),
    [
        pytest.param([0, 0, 0, 0], 0, id="nothing changes"),
        pytest.param([0, 0, 1, 1, 1], 0, id="a class comes and stays"),
        pytest.param([0, 1, 2, 3], 0, id="one class after the other"),
        pytest.param([0, 1, 0], 1, id="there and back"),
        pytest.param([0, 1, 0, 1, 0], 3, id="each return counts, of both classes"),
        pytest.param([0, 1, 1, 1, 0], 1, id="back after three frames"),
        pytest.param([0, *[1] * WITHIN, 0], 1, id="back just in time"),
        pytest.param([0, *[1] * (WITHIN + 1), 0], 0, id="back too late to be called flicker"),
        pytest.param([0, *[1] * 300, 0], 0, id="a long time is no short one that ran over"),
        pytest.param([0, 1, 2, 0], 0, id="back by another way"),
        pytest.param([0, VOID, 0], 0, id="void is no class"),
        pytest.param([0, 1, VOID, 0], 0, id="what was before void is forgotten"),
        pytest.param([VOID, 1, VOID, 1], 0, id="void that comes and goes"),
        pytest.param([0, VOID, 1, 2, 1], 1, id="after void it starts anew"),
    ],
)
def test_returns_are_counted(classes: list[int], returns: int) -> None:
    known = sum(a != VOID != b for a, b in itertools.pairwise(classes[1:]))
    assert score(pixel(classes)) == (pytest.approx(returns / known) if known else pytest.approx(math.nan, nan_ok=True))


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_fewer_than_three_frames_tell_nothing(frames: int) -> None:
    assert math.isnan(score(pixel([0] * frames)))


def test_a_change_of_size_starts_anew_and_keeps_what_was_counted() -> None:
    large = [np.full((2, 2), index, np.uint8) for index in (0, 1, 0)]
    assert score(pixel([0, 1, 0]) + large) == 1
    assert score(pixel([0, 1, 0]) + pixel([0]) + large[:2]) == 0.5


def test_class_maps_may_be_written_over() -> None:
    flicker, class_map = Flicker(), np.zeros((1, 1), np.uint8)
    for index in (0, 1, 0):
        class_map[:] = index
        flicker.update(class_map)
    assert flicker.score() == 1


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05])
def test_noise_counts_for_its_share_of_the_pixels(share: float) -> None:
    """A wrong class for one frame is one return, but where the frames beside it are wrong too."""
    rng = np.random.default_rng(0)
    maps = [(rng.random((200, 200)) < share).astype(np.uint8) for _ in range(40)]
    assert score(maps) == pytest.approx(share, rel=0.2)


def disc(frame: int, speed: float) -> np.ndarray:
    """A disc of 40 pixels that moves to the right."""
    y, x = np.mgrid[:120, :160]
    return ((x - 30 - speed * frame) ** 2 + (y - 60) ** 2 < 20**2).astype(np.uint8)


def test_motion_is_no_flicker_while_what_moves_is_wider_than_its_way() -> None:
    assert score([disc(frame, 3) for frame in range(30)]) < 0.0005
    assert score([disc(frame, 0) for frame in range(30)]) == 0
    blinking = [disc(frame, 0) * (frame % 2) for frame in range(30)]
    assert score(blinking) == pytest.approx(disc(0, 0).mean(), rel=1e-6)
