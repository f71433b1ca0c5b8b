"""Pictures that look the same, and pictures that show nothing."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edgeseg.data.likeness import Looks, look_at
from edgeseg.data.scene import Scene

UInt8 = npt.NDArray[np.uint8]
SIZE_HW = (192, 256)


def street(index: int = 0, seed: int = 0, size_hw: tuple[int, int] = SIZE_HW) -> UInt8:
    return Scene(size_hw, seed).render(index)


def noise(level: float, seed: int = 0) -> UInt8:
    """A frame of sensor noise around a grey."""
    values = np.random.default_rng(seed).normal(level, 3, (*SIZE_HW, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def lamps(places: list[tuple[int, int]]) -> UInt8:
    """A night with some lit windows."""
    frame = noise(30)
    for x, y in places:
        frame[y : y + 24, x : x + 24] = 90
    return frame


def as_jpeg(frame: UInt8, quality: int) -> UInt8:
    encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def resized(frame: UInt8, factor: float) -> UInt8:
    return np.asarray(cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


#: Windows of two houses: their frames differ by few grey levels.
HERE, THERE = lamps([(20, 20), (180, 90), (100, 150)]), lamps([(100, 20), (20, 130), (200, 20)])


def alike(one: UInt8, other: UInt8) -> bool:
    looks = Looks()
    looks.add(look_at(one))
    return [match.number for match in looks.like(look_at(other))] == [0]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param(street(), street(), True, id="a frame is like itself"),
        pytest.param(street(), as_jpeg(street(), 30), True, id="a poor JPEG of it"),
        pytest.param(street(), resized(street(), 0.5), True, id="its half"),
        pytest.param(street(), as_jpeg(resized(street(), 1.5), 70), True, id="an enlarged JPEG of it"),
        pytest.param(street(10), street(11), True, id="the next frame of a drive"),
        pytest.param(street(10), street(60), False, id="a later one"),
        pytest.param(street(), street(seed=1), False, id="another street"),
        pytest.param(street(), np.ascontiguousarray(street()[:, ::-1]), False, id="its mirror image"),
        pytest.param(street(), (street() * 0.7).astype(np.uint8), False, id="the same in other light"),
        pytest.param(HERE, THERE, False, id="two places by night"),
        pytest.param(noise(12), noise(12, seed=1), True, id="two frames of a closed lens"),
        pytest.param(noise(12), street(), False, id="a closed lens and a street"),
        pytest.param(noise(128), noise(200), False, id="two greys"),
    ],
)
def test_frames_that_look_the_same_are_told(one: UInt8, other: UInt8, expected: bool) -> None:
    assert alike(one, other) is alike(other, one) is expected


def test_the_most_alike_comes_first_among_any_number() -> None:
    looks = Looks()
    for seed in range(100):
        looks.add(look_at(street(0, seed, (48, 64))))
    looks.add(look_at(as_jpeg(street(0, 70, (48, 64)), 50)))
    assert len(looks) == 101
    exact, saved = looks.like(look_at(street(0, 70, (48, 64))))
    assert (exact.number, exact.levels, saved.number) == (70, 0, 100) and saved.levels > 0
    assert looks.like(look_at(street(0, 200, (48, 64)))) == []
    assert Looks().like(look_at(street())) == []


def test_only_exact_copies_have_the_same_digest() -> None:
    frame, other = street(), street()
    other[0, 0, 0] ^= 1
    assert look_at(frame).digest == look_at(street()).digest != look_at(other).digest


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        pytest.param(street(), "", id="a street"),
        pytest.param((street() * 0.25).astype(np.uint8), "", id="a street at dusk"),
        pytest.param(HERE, "", id="a street by night"),
        pytest.param(np.zeros((32, 48, 3), np.uint8), "black", id="all black"),
        pytest.param(noise(12), "black", id="a closed lens with noise"),
        pytest.param(np.full((1080, 1920, 3), 255, np.uint8), "overexposed", id="all white"),
        pytest.param(np.where(np.arange(256)[:, None] < 210, 255, street()).astype(np.uint8), "overexposed", id="most"),
        pytest.param(noise(128), "flat", id="a covered lens"),
        pytest.param(np.full((1, 1, 3), 99, np.uint8), "flat", id="one pixel"),
    ],
)  # fmt: skip
def test_frames_that_show_nothing_are_told(frame: UInt8, fault: str) -> None:
    look = look_at(frame)
    assert look.fault == fault
    assert look.brightness == pytest.approx(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).mean(), abs=1)


@pytest.mark.parametrize("change", [lambda f: f[::2, ::2], np.fliplr, lambda f: np.asfortranarray(f)])
def test_any_memory_layout_will_do(change: Callable[[UInt8], UInt8]) -> None:
    frame = change(street())
    assert look_at(frame).digest == look_at(np.ascontiguousarray(frame)).digest
