"""Cameras at a Raspberry Pi's port, with a stand-in for picamera2 and metadata as it gives them."""

from __future__ import annotations

import sys
import time
import types

import numpy as np
import pytest

from edgeseg.errors import MissingDependency, SourceLost, UsageError
from edgeseg.stream.sources.picamera import PicameraSource
from tests.stream import picamera2_0_3_38


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> type[picamera2_0_3_38.Picamera2]:
    """picamera2's stand-in; what is set on its class is undone."""
    camera = type("Picamera2", (picamera2_0_3_38.Picamera2,), {})
    module = types.SimpleNamespace(Picamera2=camera, MappedArray=picamera2_0_3_38.MappedArray)
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return camera


@pytest.mark.parametrize(
    ("options", "size_hw", "fps", "notes"),
    [
        pytest.param("", (720, 1280), 30, (), id="by default"),
        pytest.param("?width=640&height=480&fps=60", (480, 640), 60, (), id="as asked"),
        pytest.param(
            "?width=641&height=481", (480, 640), 30, ("asked for 641x481, the camera gives 640x480",), id="aligned"
        ),
    ],
)
@pytest.mark.usefixtures("library")
def test_frames_are_blue_green_red_in_the_size_that_the_camera_gives(
    options: str, size_hw: tuple[int, int], fps: float, notes: tuple[str, ...]
) -> None:
    with PicameraSource(f"picamera://0{options}", first=3) as source:
        captured = source.read()
        assert (source.frame_hw, source.fps, source.notes, source.live) == (size_hw, fps, notes, True)
        assert captured is not None and captured.pixels is not None and captured.pixels.shape == (*size_hw, 3)
        colour = (picamera2_0_3_38.BLUE, picamera2_0_3_38.GREEN, picamera2_0_3_38.RED)
        assert np.all(captured.pixels == colour), "the picture is a copy, and in the order of OpenCV"
        assert (captured.sequence, captured.name, captured.source) == (3, "picamera0-000003", "picamera0")


def test_a_frame_is_copied_into_the_room_that_is_given_and_its_request_goes_back(
    library: type[picamera2_0_3_38.Picamera2],
) -> None:
    with PicameraSource("picamera://0?width=64&height=48") as source:
        room = np.zeros((48, 64, 3), np.uint8)
        captured = source.read(room)
        assert captured is not None and captured.pixels is room and room.any()
        assert library.released == 1
        source.stop()
        assert source.read() is None
    source.close()
    assert library.closed == 1


@pytest.mark.parametrize(
    ("offset_ns", "suspended_ns", "clock"),
    [
        pytest.param(-8_000_000, 0, "sensor", id="of the monotonic clock"),
        pytest.param(
            3_600_000_000_000 - 8_000_000, 3_600_000_000_000, "sensor", id="of the clock that counts suspension"
        ),
        pytest.param(-60_000_000_000, 0, "read", id="a minute old"),
        pytest.param(60_000_000_000, 0, "read", id="of the future"),
        pytest.param(None, 0, "read", id="not told"),
    ],
)
def test_the_time_of_capture_is_the_sensors_where_it_can_be_true(
    offset_ns: int | None, suspended_ns: int, clock: str,
    library: type[picamera2_0_3_38.Picamera2], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    library.stamp_offset_ns = offset_ns
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: time.monotonic_ns() + suspended_ns)
    before = time.monotonic_ns()
    with PicameraSource("picamera://0?width=64&height=48") as source:
        captured = source.read()
        assert captured is not None and captured.clock == clock
        assert before - 10_000_000_000 < captured.captured_ns <= time.monotonic_ns()
        assert (captured.captured_ns < before) == (clock == "sensor")


@pytest.mark.parametrize(
    ("fault", "uri", "told", "hint"),
    [
        pytest.param("busy", "picamera://0", "can't be opened", "rpicam-hello", id="another program has it"),
        pytest.param("silent", "picamera://0", "no frame for 10 s", "cable", id="it is silent"),
        pytest.param(
            "", "picamera://1", "no camera number 1", "picamera://0 (imx477)", id="a number that is not there"
        ),
    ],
)
def test_a_camera_that_fails_is_lost(
    fault: str, uri: str, told: str, hint: str, library: type[picamera2_0_3_38.Picamera2]
) -> None:
    library.fault = fault
    with pytest.raises(SourceLost, match=told) as caught, PicameraSource(uri) as source:
        source.read()
    assert hint in caught.value.hint
    assert library.closed == (fault == "silent")


def test_a_board_without_cameras_is_told(library: type[picamera2_0_3_38.Picamera2]) -> None:
    library.models = ()
    with pytest.raises(SourceLost) as caught:
        PicameraSource("picamera://0")
    assert "No camera was found" in caught.value.hint


def test_without_picamera2_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingDependency) as caught:
        PicameraSource("picamera://0")
    assert "sudo apt install python3-picamera2" in caught.value.hint
    assert "--system-site-packages" in caught.value.hint


@pytest.mark.parametrize("uri", ["picamera://0?widht=64", "picamera://0?fps=0", "picamera://left"])
def test_options_are_looked_at_before_anything_is_opened(uri: str) -> None:
    with pytest.raises(UsageError):
        PicameraSource(uri)
