"""What is told of frames that are to be calibrated on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from edgeseg.data.calibration import NamedFrame, open_frames
from edgeseg.data.frame_watch import FrameWatch
from edgeseg.data.scene import Scene

UInt8 = npt.NDArray[np.uint8]
SIZE_HW = (48, 64)
BLACK, WHITE, GREY = (np.full((*SIZE_HW, 3), level, np.uint8) for level in (0, 255, 120))


def streets(count: int) -> list[UInt8]:
    """Frames that all show another place: houses that differ more than those of one street, in other light."""
    rng = np.random.default_rng(0)
    frames = [Scene(SIZE_HW, seed).render(0) for seed in range(count)]
    for frame in frames:
        left, top = rng.integers(0, 40), rng.integers(0, 24)
        frame[top : top + 24, left : left + 24] = rng.integers(0, 256, 3)
    return [(frame * light).astype(np.uint8) for frame, light in zip(frames, rng.uniform(0.4, 1, count), strict=True)]


STREETS = streets(40)


def watch(frames: Sequence[UInt8]) -> FrameWatch:
    found = FrameWatch()
    for index, frame in enumerate(frames):
        found.add(NamedFrame(f"{index}.png", frame))
    return found


@pytest.mark.parametrize(
    ("frames", "kinds", "said"),
    [
        pytest.param(STREETS, [], "", id="forty places"),
        pytest.param([*STREETS, BLACK], ["black"], "1 of 41 frames is nearly black", id="one black"),
        pytest.param([*STREETS, WHITE, WHITE], ["overexposed"], "2 of 42 frames are overexposed", id="two white"),
        pytest.param([*STREETS, GREY], ["flat"], "see that nothing covers the lens", id="a covered lens"),
        pytest.param([BLACK] * 40, ["black"], "40 of 40 frames are nearly black", id="all black"),
        pytest.param(STREETS[:1], ["same"], "There is only one frame", id="one frame"),
        pytest.param(STREETS[:1] * 40, ["same"], "All 40 frames show the same picture", id="one picture"),
        pytest.param(STREETS[:31], ["few"], "There are only 31 frames", id="few frames"),
        pytest.param(STREETS[:31] + STREETS[:3], ["few"], "Only 31 distinct pictures are among", id="few pictures"),
    ],
)  # fmt: skip
def test_what_is_plainly_wrong_is_said_with_what_to_do(frames: list[UInt8], kinds: list[str], said: str) -> None:
    found = watch(frames)
    warnings = found.warnings()
    assert len(warnings) == len(kinds) and all(text.endswith(".") and ": " in text for text in warnings)
    assert said in "".join(warnings)
    assert [finding.kind for finding in found.findings()][: len(kinds)] == kinds
    assert [finding.text for finding in found.findings()][: len(kinds)] == list(warnings)


@pytest.mark.parametrize(
    ("frames", "kind", "level"),
    [
        pytest.param([*STREETS, BLACK], "black", "warning", id="one black frame in forty"),
        pytest.param([*STREETS, *[BLACK] * 20, *[WHITE] * 21], "black", "bad", id="half of them show nothing"),
        pytest.param(STREETS + STREETS[:4], "", "", id="a tenth looks like others"),
        pytest.param(STREETS + STREETS[:6], "duplicate", "warning", id="more than that"),
        pytest.param(STREETS[:1] * 2, "same", "bad", id="one picture"),
        pytest.param([(frame * 0.2).astype(np.uint8) for frame in STREETS], "narrow", "warning", id="by night"),
        pytest.param([Scene(SIZE_HW, seed).render(0) for seed in range(40)], "narrow", "warning", id="one light"),
    ],
)
def test_findings_are_as_grave_as_they_should_be(frames: list[UInt8], kind: str, level: str) -> None:
    found = {finding.kind: finding.level for finding in watch(frames).findings()}
    assert found.get(kind, "") == level and (kind or not found)


def test_a_frame_is_told_to_be_like_the_first_that_shows_its_picture() -> None:
    one, two = STREETS[:2]
    noisy = np.clip(one.astype(int) + np.random.default_rng(0).integers(-3, 4, one.shape), 0, 255).astype(np.uint8)
    found = watch([one, two, noisy, BLACK, one, BLACK])
    assert found.first_like == [0, 1, 0, 3, 0, 3]
    assert (found.distinct, found.duplicates, found.copies) == ((0, 1), (2, 4), (4,))
    assert (found.faulty("black"), found.faulty("flat")) == ((3, 5), ())
    duplicates = [finding for finding in found.findings() if finding.kind == "duplicate"]
    assert [finding.frames for finding in duplicates] == [("2.png", "4.png")]


def test_the_spread_of_light_is_that_of_the_frames() -> None:
    light = watch([np.full((8, 8, 3), level, np.uint8) for level in range(0, 202, 2)]).brightness()
    expected = (0, 10, 100, 190, 200)
    assert (light.minimum, light.p5, light.median, light.p95, light.maximum) == pytest.approx(expected)


def test_frames_are_watched_in_passing() -> None:
    frames, found = open_frames("synthetic://?width=64&height=48&frames=90"), FrameWatch()
    passed = list(frames.watched(found.add).choose(3))
    assert found.names == [name for name, _ in passed] == ["synthetic#15", "synthetic#45", "synthetic#75"]
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(passed, frames.choose(3), strict=True))
