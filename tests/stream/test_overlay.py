"""Overlays and their legend."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.labels import CAMVID, CITYSCAPES, VOID, LabelSet, voc_palette
from edgeseg.stream.legend import HOLD, ROOM, Legend
from edgeseg.stream.overlay import GREY, Overlay

SIZES = [(240, 320), (360, 480), (720, 1280), (1080, 1920), (1920, 1080)]


def covered(labels: LabelSet, class_map: np.ndarray, legend: Legend | None = None) -> np.ndarray:
    """Where the legend changes a grey picture."""
    picture = np.full((*class_map.shape, 3), 90, np.uint8)
    (legend or Legend(labels)).draw(picture, class_map)
    return (picture != 90).any(2)


def all_classes(labels: LabelSet, size_hw: tuple[int, int]) -> np.ndarray:
    columns = np.arange(size_hw[1]) * len(labels) // size_hw[1]
    return np.broadcast_to(columns.astype(np.uint8), size_hw).copy()


def chips(mask: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Left, top, width, height of the separate dark grounds."""
    count, _, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return sorted((int(x), int(y), int(w), int(h)) for x, y, w, h, _ in boxes[1:count])


@pytest.mark.parametrize("opacity", [0.0, 0.5, 1.0])
def test_colours_are_blended_by_the_palette(opacity: float) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    class_map = all_classes(CAMVID, (200, 300))
    drawn = Overlay(CAMVID, opacity).draw(frame, class_map)
    colours = np.array(CAMVID.palette)[class_map][..., ::-1]
    expected = (1 - opacity) * frame + opacity * colours
    assert np.abs(drawn - expected)[: int(200 * (1 - ROOM))].max() <= 0.5


def test_void_darkens_the_frame_and_is_called_unknown() -> None:
    frame, class_map = np.full((240, 320, 3), 200, np.uint8), np.full((240, 320), VOID, np.uint8)
    drawn = Overlay(CAMVID, 0.5).draw(frame, class_map)
    assert np.all(drawn[: int(240 * (1 - ROOM))] == 100)
    assert len(chips((drawn != 100).any(2))) == 1


def test_unknown_is_named_from_its_share_on() -> None:
    class_map = np.zeros((240, 320), np.uint8)
    class_map[0, 0] = VOID
    assert len(chips(covered(CAMVID, class_map))) == 1
    class_map[:, 300:] = VOID
    assert len(chips(covered(CAMVID, class_map))) == 2


def test_one_class_is_shown_alone_and_the_others_come_back() -> None:
    frame, class_map = np.zeros((240, 320, 3), np.uint8), all_classes(CAMVID, (240, 320))
    overlay = Overlay(CAMVID, 1.0)
    before = overlay.draw(frame, class_map)[0].copy()
    overlay.highlight(8)
    alone = overlay.draw(frame, class_map)[0].copy()
    car = class_map[0] == 8
    assert np.array_equal(alone[car], before[car]) and np.all(alone[~car] == GREY)
    overlay.highlight(None)
    assert np.array_equal(overlay.draw(frame, class_map)[0], before)


def test_the_opacity_may_change_between_frames() -> None:
    overlay, frame = Overlay(CAMVID, 1.0), np.full((16, 16, 3), 200, np.uint8)
    overlay.opacity = 0.0
    assert np.array_equal(overlay.draw(frame, np.zeros((16, 16), np.uint8)), frame)


def test_the_frame_stays_and_buffers_are_used_again() -> None:
    overlay, frame = Overlay(CAMVID), np.full((48, 64, 3), 90, np.uint8)
    first = overlay.draw(frame, np.zeros((48, 64), np.uint8))
    assert np.all(frame == 90)
    assert overlay.draw(frame, np.ones((48, 64), np.uint8)) is first
    assert overlay.draw(np.zeros((24, 32, 3), np.uint8), np.zeros((24, 32), np.uint8)).shape == (24, 32, 3)


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_an_opacity_out_of_its_range_is_refused(opacity: float) -> None:
    with pytest.raises(UsageError, match="0 to 1 is possible"):
        Overlay(CAMVID, opacity)


@pytest.mark.parametrize("size_hw", SIZES, ids=str)
@pytest.mark.parametrize("labels", [CAMVID, CITYSCAPES], ids=["11 classes", "19 classes"])
def test_every_class_that_occurs_is_named_apart_and_little_is_hidden(
    labels: LabelSet, size_hw: tuple[int, int]
) -> None:
    mask = covered(labels, all_classes(labels, size_hw))
    found = chips(mask)
    assert len(found) == len(labels)
    assert not mask[: int(size_hw[0] * (1 - ROOM))].any()
    assert mask.mean() < (0.25 if size_hw[0] < 360 else 0.12)
    assert all(height >= 13 for _, _, _, height in found), "too small to be read"


def test_a_chip_shows_the_colour_of_its_class_and_white_letters() -> None:
    class_map = np.full((480, 640), CAMVID.names.index("bicyclist"), np.uint8)
    picture = np.full((480, 640, 3), 90, np.uint8)
    Legend(CAMVID).draw(picture, class_map)
    ((left, top, width, height),) = chips((picture != 90).any(2))
    chip = picture[top : top + height, left : left + width]
    assert np.all(chip[height // 2, height // 2] == CAMVID.palette[-1][::-1])
    letters = chip[:, height:].max(2)
    assert letters.max() == 255 and 0.05 < (letters > 200).mean() < 0.5
    assert ((letters > 100) & (letters < 200)).mean() > 0.03, "edges of letters are smooth"


def test_only_classes_that_occur_are_named() -> None:
    class_map = np.zeros((240, 320), np.uint8)
    assert len(chips(covered(CAMVID, class_map))) == 1
    class_map[:, 200:] = 4
    assert len(chips(covered(CAMVID, class_map))) == 2
    class_map[0, 0] = 7
    assert len(chips(covered(CAMVID, class_map))) == 2, "a stray pixel is no class"


def test_names_stay_in_their_place_while_others_come_and_go() -> None:
    legend = Legend(CAMVID)
    one, two = np.full((240, 320), 5, np.uint8), np.full((240, 320), 5, np.uint8)
    two[:, 100:] = 0
    (tree,) = chips(covered(CAMVID, one, legend))
    both = chips(covered(CAMVID, two, legend))
    assert both[0] == tree and len(both) == 2
    held = [len(chips(covered(CAMVID, one, legend))) for _ in range(HOLD + 2)]
    assert held == [2] * HOLD + [1] * 2, "a name stays for a while, so that noise does not flicker"
    assert chips(covered(CAMVID, two, legend)) == both


def test_names_without_room_give_way() -> None:
    many = LabelSet(tuple(f"class number {i}" for i in range(150)), voc_palette(151)[1:])
    legend = Legend(many)
    mask = covered(many, all_classes(many, (240, 320)), legend)
    assert 3 <= len(chips(mask)) < 20 and not mask[:180].any()
    last = np.full((240, 320), 149, np.uint8)
    for _ in range(HOLD + 1):
        mask = covered(many, last, legend)
    assert len(chips(mask)) == 1, "the only class left has room again"


def test_pictures_too_small_for_a_name_have_none() -> None:
    assert not covered(CAMVID, np.zeros((16, 16), np.uint8)).any()
