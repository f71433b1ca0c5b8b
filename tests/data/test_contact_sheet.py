"""Contact sheets, by their pixels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edgeseg.data.calibration import NamedFrame
from edgeseg.data.contact_sheet import COLOURS, MOST_THUMBNAILS, ContactSheet

UInt8 = npt.NDArray[np.uint8]


def frame(colour: tuple[int, int, int], size_hw: tuple[int, int] = (90, 160)) -> UInt8:
    return np.full((*size_hw, 3), colour, np.uint8)


def draw(frames: list[UInt8], marks: dict[int, list[str]] | None = None, title: str = "a title") -> UInt8:
    sheet = ContactSheet(range(len(frames)))
    for index, one in enumerate(frames):
        sheet.add(NamedFrame(f"folder/{index}.png", one))
    picture = cv2.imdecode(np.frombuffer(sheet.png(title, marks), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(picture, np.uint8)


def boxes(picture: UInt8, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Height and width of each area of a colour."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((picture == colour).all(2).astype(np.uint8))
    return [
        (int(stats[i, cv2.CC_STAT_HEIGHT]), int(stats[i, cv2.CC_STAT_WIDTH]))
        for i in range(1, count)
        if stats[i, cv2.CC_STAT_AREA] > 50
    ]


@pytest.mark.parametrize("size_hw", [(90, 160), (600, 400), (1080, 1920), (16, 16)], ids=str)
def test_thumbnails_keep_their_aspect_ratio(size_hw: tuple[int, int]) -> None:
    found = boxes(draw([frame((0, 200, 0), size_hw), frame((0, 0, 200))]), (0, 200, 0))
    assert len(found) == 1
    assert found[0][1] / found[0][0] == pytest.approx(size_hw[1] / size_hw[0], rel=0.02)


def test_all_frames_stand_on_the_sheet_in_order() -> None:
    colours = [(40 + 20 * index, 200 - 20 * index, 90) for index in range(8)]
    picture = draw([frame(colour) for colour in colours])
    places = [np.argwhere((picture == colour).all(2)).min(0) for colour in colours]
    assert sorted(places, key=lambda place: (place[0], place[1])) == places
    assert len({tuple(place) for place in places}) == 8


@pytest.mark.parametrize(
    ("words", "colour"),
    [
        pytest.param(["leak"], "leak", id="a leak"),
        pytest.param(["duplicate of #3"], "duplicate", id="a duplicate"),
        pytest.param(["leak", "duplicate of #3"], "leak", id="the first word gives the colour"),
        pytest.param(["black"], "black", id="a black frame"),
        pytest.param(["overexposed and far too long for any thumbnail"], "overexposed", id="too long"),
    ],
)
def test_a_mark_frames_its_thumbnail_and_no_other(words: list[str], colour: str) -> None:
    bgr = COLOURS[colour][::-1]
    frames = [frame((50, 90, 50)), frame((90, 50, 50)), frame((50, 50, 90))]
    plain, marked = draw(frames), draw(frames, {1: words})
    assert boxes(plain, bgr) == []
    (size,) = boxes(marked, bgr)
    assert size == boxes(plain, (90, 50, 50))[0]
    left_alone = (marked == (50, 90, 50)).all(2).sum(), (marked == (50, 50, 90)).all(2).sum()
    assert left_alone == ((plain == (50, 90, 50)).all(2).sum(), (plain == (50, 50, 90)).all(2).sum())


def test_of_many_frames_some_are_shown_and_the_sheet_says_so() -> None:
    few = draw([frame((0, 200, 0), (36, 64))] * MOST_THUMBNAILS)
    many = draw([frame((0, 200, 0), (36, 64))] * (3 * MOST_THUMBNAILS))
    assert len(boxes(few, (0, 200, 0))) == len(boxes(many, (0, 200, 0))) == MOST_THUMBNAILS
    assert many.shape[0] > few.shape[0], "a line more above the thumbnails"


def test_a_long_title_stays_on_the_sheet() -> None:
    word, short = "w" * 400, draw([frame((0, 200, 0))])
    long = draw([frame((0, 200, 0))], title=f"{word} and more words " * 3)
    assert long.shape[0] > short.shape[0] and long.shape[1] == short.shape[1]
    assert (long[:, -5:] == long[0, 0]).all(), "nothing runs over the margin"


def test_the_same_frames_give_the_same_bytes() -> None:
    assert np.array_equal(draw([frame((1, 2, 3))] * 5), draw([frame((1, 2, 3))] * 5))
