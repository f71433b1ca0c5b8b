"""The window: what keys do, and what is said where there can be none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.data.images import read_frame
from edgeseg.data.scene import Scene
from edgeseg.errors import MissingDependency
from edgeseg.stream.overlay import GREY, Overlay
from edgeseg.stream.sinks.screen import Screen
from edgeseg.stream.sinks.window import BLANK_HW, WindowSink, has_display, open_window
from tests.stream.parts import LABELS, UInt8, report, segmented

pytest.importorskip("PIL", reason="words in pictures need Pillow")
FRAME = Scene((240, 320)).render(7)
CLASS_MAP = np.repeat(np.arange(4, dtype=np.uint8), 80)[None].repeat(240, 0).copy()
#: Rows without any words in them.
FREE = slice(190, 200)


class Display(Screen):
    """A screen without its process: pictures come in, keys go out."""

    def __init__(self) -> None:
        self.pictures: list[UInt8] = []
        self.keys = ""
        self.ended = False

    def show(self, picture: UInt8) -> None:
        self.pictures.append(picture.copy())

    def typed(self) -> str:
        keys, self.keys = self.keys, ""
        return keys

    def end(self) -> None:
        self.ended = True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Display:
    monkeypatch.chdir(tmp_path)
    return Display()


def shown(sink: WindowSink, screen: Display, keys: str = "", frame: UInt8 = FRAME) -> UInt8:
    """The picture after these keys were typed."""
    for key in keys:
        screen.keys += key
        sink.write(segmented(frame, class_map=CLASS_MAP))
    sink.write(segmented(frame, class_map=CLASS_MAP))
    return screen.pictures[-1]


def blended(opacity: float) -> UInt8:
    return Overlay(LABELS, opacity).draw(FRAME, CLASS_MAP)


@pytest.mark.parametrize(
    ("keys", "opacity"),
    [
        pytest.param("", 0.5, id="the overlay"),
        pytest.param("+", 0.6, id="more colour"),
        pytest.param("==", 0.7, id="plus without shift"),
        pytest.param("---", 0.2, id="less colour"),
        pytest.param("++++++++", 1.0, id="no more than all"),
        pytest.param("--------", 0.0, id="no less than none"),
        pytest.param("m", 1.0, id="the mask alone"),
        pytest.param("mm", 0.0, id="the frame alone"),
        pytest.param("mmm", 0.5, id="and the overlay again"),
        pytest.param("M", 1.0, id="a capital letter"),
        pytest.param("m+", 0.6, id="more colour ends the mask alone"),
        pytest.param("x7\r", 0.5, id="other keys do nothing"),
    ],
)
def test_keys_change_the_opacity(keys: str, opacity: float, screen: Display) -> None:
    assert np.array_equal(shown(WindowSink(LABELS, screen), screen, keys)[FREE], blended(opacity)[FREE])


def test_each_class_can_be_seen_alone(screen: Display) -> None:
    sink = WindowSink(LABELS, screen)
    whole = shown(sink, screen, "m")[FREE]
    for index in range(4):
        alone = shown(sink, screen, "c")[FREE]
        inside = CLASS_MAP[FREE] == index
        assert np.array_equal(alone[inside], whole[inside]) and np.all(alone[~inside] == GREY)
    assert np.array_equal(shown(sink, screen, "c")[FREE], whole)


def test_other_sinks_never_see_what_keys_change(screen: Display) -> None:
    sink, given = WindowSink(LABELS, screen), segmented(FRAME, class_map=CLASS_MAP)
    shown(sink, screen, "mcc")
    sink.write(given)
    assert np.array_equal(given.frame, FRAME) and "overlay" not in vars(given)


@pytest.mark.parametrize("key", ["p", " "])
def test_a_pause_keeps_the_picture_and_says_so(key: str, screen: Display) -> None:
    sink, other = WindowSink(LABELS, screen), 255 - FRAME
    before = shown(sink, screen)
    paused = shown(sink, screen, key)
    later = shown(sink, screen, "", other)
    assert np.array_equal(paused, later) and np.array_equal(paused[FREE], before[FREE])
    assert (paused[:40] != before[:40]).mean() > 0.5, "a band across the picture"
    assert not np.array_equal(shown(sink, screen, "m", other)[FREE], later[FREE]), "keys do not pause"
    assert np.array_equal(
        shown(sink, screen, f"mm{key}", other)[FREE], shown(WindowSink(LABELS, screen), screen, "", other)[FREE]
    )


def test_help_comes_and_goes(screen: Display) -> None:
    sink = WindowSink(LABELS, screen)
    before, helps, after = (shown(sink, screen, keys) for keys in ("", "h", "h"))
    assert np.array_equal(before, after)
    changed = (helps != before).any(2)
    assert changed[:150, 160:].mean() > 0.3 and not changed[FREE].any()


def test_a_screenshot_is_what_was_shown(screen: Display, tmp_path: Path) -> None:
    sink = WindowSink(LABELS, screen)
    shown(sink, screen, "m")
    before = screen.pictures[-1]
    shown(sink, screen, "s")
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("edgeseg-") and np.array_equal(read_frame(path), before)
    assert (screen.pictures[-1] != before).any(), "its name is shown"


def test_a_screenshot_that_can_not_be_kept_ends_nothing(
    screen: Display, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    sink = WindowSink(LABELS, screen)
    shown(sink, screen, "s")
    assert "screenshot can't be kept" in caplog.text and not sink.wants_to_stop


@pytest.mark.parametrize("key", ["q", "Q", "\x1b", "\0"], ids=["q", "Q", "Esc", "its closing"])
def test_the_stream_ends_by_a_key(key: str, screen: Display) -> None:
    sink = WindowSink(LABELS, screen)
    shown(sink, screen)
    shown(sink, screen, key)
    assert sink.wants_to_stop
    count = len(screen.pictures)
    screen.keys = "m"
    sink.write(segmented(FRAME))
    sink.idle(report("live"))
    assert len(screen.pictures) == count and not screen.ended
    assert screen.keys == "m", "who asked for the end is not asked again"
    sink.close()
    assert screen.ended


def test_no_key_is_lost_that_was_typed_between_two_frames(screen: Display) -> None:
    sink = WindowSink(LABELS, screen)
    screen.keys = "++"
    assert np.array_equal(shown(sink, screen)[FREE], blended(0.7)[FREE])


def test_the_last_picture_does_not_look_live_when_nothing_comes(screen: Display) -> None:
    sink = WindowSink(LABELS, screen)
    live = shown(sink, screen)
    for silent_s in (2.2, 2.5):
        sink.idle(report("stalled", silent_s=silent_s))
    first, second = screen.pictures[-2:]
    assert second[FREE].mean() < 0.6 * live[FREE].mean() and np.array_equal(first[FREE], second[FREE])
    assert not np.array_equal(first, second), "the time goes on"
    screen.keys += "q"
    sink.idle(report("stalled"))
    assert sink.wants_to_stop


def test_there_is_a_picture_before_the_first_frame(screen: Display) -> None:
    WindowSink(LABELS, screen).idle(report("connecting"))
    assert screen.pictures[-1].shape == (*BLANK_HW, 3) and screen.pictures[-1].std() > 1


@pytest.mark.parametrize(
    ("display", "framework", "message", "hint"),
    [
        pytest.param(":0", "", "opencv-python-headless", "pip install opencv-python", id="OpenCV without windows"),
        pytest.param("", "QT", "neither DISPLAY nor WAYLAND_DISPLAY", "web://127.0.0.1:8080", id="no display"),
        pytest.param(":4711", "QT", "on the display ':4711'", "web://127.0.0.1:8080", id="a display that is not there"),
    ],
)
def test_where_there_can_be_no_window_it_is_said_what_helps(
    display: str, framework: str, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: framework)
    assert has_display() == (bool(display) and bool(framework))
    with pytest.raises(MissingDependency, match=message) as caught:
        open_window(LABELS)
    assert hint in caught.value.hint and "web://" in caught.value.hint
