"""Frames at the network's size, and class maps back in the camera's coordinates."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.card import Preprocess, Resize
from edgeseg.data.resize import frame_for_card, resize_frame, restore_class_map
from edgeseg.errors import UsageError
from edgeseg.labels import VOID

sizes = st.tuples(st.integers(1, 200), st.integers(1, 200))
modes = st.sampled_from(["stretch", "letterbox", "crop"])
Mode = Literal["stretch", "letterbox", "crop"]


def seen(length: int, size: int, ratio: float) -> tuple[float, float]:
    """First pixel and length of the centred part of `length` pixels that has `ratio` times `size` pixels."""
    part = min(length, max(1, round(size * ratio)))
    return (length - part) // 2, part


def network_centres(frame: tuple[int, int], size: tuple[int, int], mode: Mode, axis: int) -> np.ndarray:
    """Where the centre of every frame pixel lies on the network's input along one axis; NaN where it is cut off.

    Written from the definition: letterbox fits the frame into the input, crop fits the input into the frame.
    """
    fit = min(size[0] / frame[0], size[1] / frame[1])
    fill = min(frame[0] / size[0], frame[1] / size[1])
    first, part = (0, frame[axis]) if mode != "crop" else seen(frame[axis], size[axis], fill)
    to, room = (0, size[axis]) if mode != "letterbox" else seen(size[axis], frame[axis], fit)
    centres = (np.arange(frame[axis]) + 0.5 - first) * room / part + to
    return np.where((centres < to) | (centres > to + room), np.nan, centres)


@given(frame_hw=sizes, size_hw=sizes, mode=modes)
def test_restored_pixels_come_from_the_place_that_shows_them(
    frame_hw: tuple[int, int], size_hw: tuple[int, int], mode: Mode
) -> None:
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.uint8)
    for axis, coordinate in enumerate((rows, columns)):
        restored = restore_class_map(coordinate, frame_hw, Resize(mode))
        centres = [network_centres(frame_hw, size_hw, mode, each) for each in (0, 1)]
        void = np.isnan(centres[0])[:, None] | np.isnan(centres[1])[None]
        assert np.array_equal(restored == VOID, void)
        expected = np.broadcast_to(centres[axis][:, None] if axis == 0 else centres[axis][None], frame_hw)
        off = np.abs(restored + 0.5 - expected)[~void]
        assert off.size > 0 and off.max() <= 0.5 + 1e-3


@given(frame_hw=sizes, size_hw=sizes, mode=modes)
def test_there_and_back_moves_no_pixel_by_more_than_one_of_the_coarser_grid(
    frame_hw: tuple[int, int], size_hw: tuple[int, int], mode: Mode
) -> None:
    rows, columns = np.mgrid[: frame_hw[0], : frame_hw[1]].astype(np.uint8)
    frame = np.dstack((rows, columns, rows))
    small = resize_frame(frame, size_hw, Resize(mode, "nearest"))
    for axis, coordinate in enumerate((rows, columns)):
        restored = restore_class_map(np.ascontiguousarray(small[..., axis]), frame_hw, Resize(mode))
        moved = np.abs(restored.astype(int) - coordinate)[restored != VOID]
        part = size_hw[axis] if mode != "letterbox" else seen(
            size_hw[axis], frame_hw[axis], min(size_hw[0] / frame_hw[0], size_hw[1] / frame_hw[1])
        )[1]  # fmt: skip
        assert moved.max(initial=0) <= max(1, frame_hw[axis] / part)


@given(size_hw=sizes, mode=modes)
def test_frames_of_the_right_size_pass_unchanged(size_hw: tuple[int, int], mode: Mode) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    assert np.array_equal(resize_frame(frame, size_hw, Resize(mode)), frame)
    assert np.array_equal(restore_class_map(frame[..., 0].copy(), size_hw, Resize(mode))[..., None], frame[..., :1])


@pytest.mark.parametrize(
    ("mode", "frame_hw", "size_hw", "rows", "columns"),
    [
        pytest.param("letterbox", (100, 200), (120, 120), (30, 90), (0, 120), id="bars above and below a wide frame"),
        pytest.param("letterbox", (200, 100), (120, 120), (0, 120), (30, 90), id="bars beside a tall frame"),
        pytest.param("letterbox", (1, 200), (50, 50), (24, 25), (0, 50), id="one row stays of a hair-thin frame"),
        pytest.param("crop", (100, 200), (120, 120), (0, 120), (0, 120), id="crop leaves no bars"),
        pytest.param("stretch", (100, 200), (120, 120), (0, 120), (0, 120), id="stretch leaves no bars"),
    ],
)
def test_bars_are_grey_and_where_they_belong(
    mode: Mode, frame_hw: tuple[int, int], size_hw: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    out = np.full((*size_hw, 3), 7, np.uint8)
    resize_frame(np.zeros((*frame_hw, 3), np.uint8), size_hw, Resize(mode), out)
    expected = np.full_like(out, 128)
    expected[slice(*rows), slice(*columns)] = 0
    assert np.array_equal(out, expected)


def test_crop_shows_the_middle_and_leaves_the_rest_void() -> None:
    frame = np.zeros((60, 100, 3), np.uint8)
    frame[:, 20:80] = 200
    assert np.all(resize_frame(frame, (30, 30), Resize("crop")) == 200)
    restored = restore_class_map(np.full((30, 30), 4, np.uint8), (60, 100), Resize("crop"))
    assert np.all(restored[:, 20:80] == 4) and np.all(restored[:, :20] == VOID) and np.all(restored[:, 80:] == VOID)


@pytest.mark.parametrize("interpolation", ["linear", "area", "nearest"])
def test_interpolation_is_that_of_the_card(interpolation: Literal["linear", "area", "nearest"]) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
    flag = {"linear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "nearest": cv2.INTER_NEAREST_EXACT}[interpolation]
    made = resize_frame(frame, (20, 30), Resize("stretch", interpolation))
    assert np.array_equal(made, cv2.resize(frame, (30, 20), interpolation=flag))


@pytest.mark.parametrize("frame_hw", [(24, 32), (50, 61)], ids=["frames of the network's size", "other frames"])
@pytest.mark.parametrize("mode", ["stretch", "letterbox", "crop"])
def test_formats_carry_the_same_picture_into_the_buffer(mode: Mode, frame_hw: tuple[int, int]) -> None:
    frame = np.random.default_rng(2).integers(0, 256, (*frame_hw, 3), np.uint8)
    before = frame.copy()
    buffers = {name: np.zeros((2, 24, 32, 4 if name == "bgrx" else 3), np.uint8) for name in ("bgr", "rgb", "bgrx")}
    for name, buffer in buffers.items():
        frame_for_card(frame, Preprocess(pixel_format=name, resize=Resize(mode)), buffer[1])  # type: ignore[arg-type]
        assert not buffer[0].any(), "the other slot stays untouched"
    bgr = buffers["bgr"][1]
    assert np.array_equal(bgr, resize_frame(frame, (24, 32), Resize(mode)))
    assert np.array_equal(buffers["rgb"][1], bgr[..., ::-1])
    assert np.array_equal(buffers["bgrx"][1, ..., :3], bgr)
    assert np.array_equal(frame, before)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        pytest.param(np.zeros((4, 4), np.uint8), "(4, 4)", id="grey"),
        pytest.param(np.zeros((4, 4, 5), np.uint8), "(4, 4, 5)", id="five channels"),
        pytest.param(np.zeros((4, 4, 3), np.float32), "float32", id="float"),
        pytest.param(np.zeros((0, 4, 3), np.uint8), "(0, 4, 3)", id="no pixels"),
    ],
)
def test_what_is_no_frame_is_refused(frame: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        resize_frame(frame, (8, 8), Resize())
    assert said in caught.value.message


def test_buffers_that_do_not_fit_are_refused() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(UsageError, match=r"bgrx frames are \(h, w, 4\)"):
        frame_for_card(frame, Preprocess(pixel_format="bgrx"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match=r"uint8 \(4, 4, 3\) is needed"):
        resize_frame(frame, (4, 4), Resize(), np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(UsageError, match=r"uint8 \(9, 9\) is needed"):
        restore_class_map(np.zeros((4, 4), np.uint8), (9, 9), Resize(), np.zeros((9, 9), np.int64))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Class maps are uint8"):
        restore_class_map(np.zeros((1, 4, 4), np.uint8), (9, 9), Resize())
