"""The panel of figures, and the banner over pictures that are not live."""

from __future__ import annotations

import sys

import cv2
import msgspec
import numpy as np
import pytest

from edgeseg.stream.hud import AMBER, ROOM, Hud, trouble
from edgeseg.stream.report import StreamReport
from tests.stream.parts import UInt8, report

pytest.importorskip("PIL", reason="words in pictures need Pillow")

SIZES = [(240, 320), (480, 640), (720, 1280), (1080, 1920)]


def grey(size_hw: tuple[int, int] = (480, 640)) -> UInt8:
    return np.full((*size_hw, 3), (90, 120, 150), np.uint8)


def drawn(given: StreamReport, source: str = "", size_hw: tuple[int, int] = (480, 640)) -> UInt8:
    picture = grey(size_hw)
    Hud().draw(picture, given, source)
    return picture


def several(*states: tuple[str, str]) -> StreamReport:
    """Of a stream from several sources, by name and state."""
    one = report()
    sources = [msgspec.structs.replace(one.sources[0], name=name, state=state) for name, state in states]
    return msgspec.structs.replace(one, sources=sources)


@pytest.mark.parametrize("size_hw", SIZES, ids=str)
def test_a_live_picture_has_a_panel_in_its_upper_left_corner_alone(size_hw: tuple[int, int]) -> None:
    changed = (drawn(report(), size_hw=size_hw) != grey(size_hw)).any(2)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert rows[-1] < size_hw[0] * (ROOM + 0.05) and columns[-1] < size_hw[1] * 0.75
    assert rows[0] < 20 and columns[0] < 20 and changed.mean() > 0.02


def test_the_panel_has_white_letters_and_the_state_in_its_colour() -> None:
    picture = drawn(report())
    assert (picture.min(2) > 240).sum() > 300
    hue = cv2.cvtColor(picture[:24, :60], cv2.COLOR_BGR2HSV)
    green = (hue[..., 0] > 50) & (hue[..., 0] < 80) & (hue[..., 1] > 120) & (hue[..., 2] > 120)
    assert green.sum() > 10, "'live' is green"


@pytest.mark.parametrize(
    ("given", "title", "reason"),
    [
        pytest.param(
            report("stalled", silent_s=3.21, reason="no frames came"), "stalled for 3.2 s, opening again",
            "no frames came", id="no frames come",
        ),
        pytest.param(report("connecting"), "connecting to test", "", id="not yet open"),
        pytest.param(report("lost", reason="unplugged"), "test is lost", "unplugged", id="given up"),
        pytest.param(report(frozen=True), "frozen picture", "same picture", id="the camera repeats itself"),
    ],
)  # fmt: skip
def test_a_picture_that_is_not_live_is_grey_and_dark_and_says_why(given: StreamReport, title: str, reason: str) -> None:
    found = trouble(given)
    assert found is not None and found[0] == title and reason in found[1]
    picture = drawn(given)
    height = picture.shape[0]
    outside = picture[height * 3 // 4 : -20, 20:-20]
    assert np.all(outside == outside[..., :1]), "no colour is left"
    assert outside.mean() < 0.6 * grey().mean()
    assert np.all(picture[-2, 5] == AMBER[2::-1]), "an amber edge needs no words"
    letters = picture[height // 2 - 40 : height // 2 + 40, 40:-40].max(2)
    assert (letters > 200).sum() > 500


def test_a_live_picture_is_not_dimmed() -> None:
    assert trouble(report()) is None
    assert np.array_equal(drawn(report())[300:], grey()[300:])


@pytest.mark.parametrize(
    ("states", "source", "expected"),
    [
        pytest.param([("a", "stalled"), ("b", "live")], "a", "stalled", id="the picture's own source counts"),
        pytest.param([("a", "stalled"), ("b", "live")], "b", None, id="another source's trouble is not shown"),
        pytest.param([("a", "stalled"), ("b", "live")], "", None, id="without a name one live source is enough"),
        pytest.param([("a", "lost"), ("b", "stalled")], "", "a is lost", id="without a name all are in trouble"),
        pytest.param([], "", None, id="no source is known"),
    ],
)
def test_of_several_sources_the_right_one_is_told(
    states: list[tuple[str, str]], source: str, expected: str | None
) -> None:
    found = trouble(several(*states), source)
    assert (found is None) if expected is None else (found is not None and expected in found[0])
    drawn(several(*states), source)


def test_figures_change_with_the_report_alone() -> None:
    hud, first, again = Hud(), grey(), grey()
    given = report()
    hud.draw(first, given)
    given.recent_fps = 1.0
    hud.draw(again, given)
    assert np.array_equal(first, again), "the same report is not written anew"
    hud.draw(again := grey(), msgspec.structs.replace(given))
    assert not np.array_equal(first, again)


def test_a_stream_without_a_frame_yet_has_figures_left_open() -> None:
    given = report("connecting")
    nothing = msgspec.structs.replace(given.frame_age_ms, p50=np.nan, p95=np.nan, p99=np.nan)
    empty = msgspec.structs.replace(given, frame_age_ms=nothing, class_map_age_ms=nothing, stage_ms={}, recent_fps=0.0)
    assert (drawn(empty) != drawn(given)).any()


@pytest.mark.parametrize("size_hw", [(16, 16), (24, 400), (400, 24), (1, 1)], ids=str)
@pytest.mark.parametrize("state", ["live", "lost"])
def test_no_picture_is_too_small(state: str, size_hw: tuple[int, int]) -> None:
    given = report(state, reason="a reason that is far too long for any picture of that width, " * 5)  # type: ignore[arg-type]
    assert drawn(given, size_hw=size_hw).shape == (*size_hw, 3)


def test_the_size_may_change_from_picture_to_picture() -> None:
    hud, given = Hud(), report("stalled", silent_s=1.0)
    for size_hw in [*SIZES, *SIZES]:
        picture = grey(size_hw)
        hud.draw(picture, given)
        assert np.array_equal(picture, drawn(given, size_hw=size_hw))


def test_without_pillow_a_picture_that_is_not_live_is_dark_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    picture = drawn(report("stalled"))
    assert picture[10:-10, 10:-10].max() < 90 and np.all(picture[1, 5] == AMBER[2::-1])
    assert np.array_equal(drawn(report()), grey())


def test_a_picture_that_is_old_is_not_called_live_whatever_its_source_says() -> None:
    told = report("live")
    assert trouble(told) is None
    told.sources[0].unseen_s = 4.5
    assert trouble(told) == ("no picture for 4.5 s", "")
