"""Cameras at a Jetson's port, on real pipelines with GStreamer's test source in the place of NVIDIA's elements."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest

from edgeseg.errors import EdgesegError, MissingDependency, SourceLost, UsageError
from edgeseg.stream.source import Captured
from edgeseg.stream.sources import csi
from edgeseg.stream.sources.csi import CsiSource
from tests.stream.system_gi import gstreamer, held

__all__ = ["gstreamer"]

BLUE, GREEN, RED = 200, 100, 50
CAPS = "video/x-raw,format=BGRx,width={width},height={height},framerate={rate}"
COLOUR = f"videotestsrc is-live=true pattern=solid-color foreground-color={0xFF000000 | RED << 16 | GREEN << 8 | BLUE}"
CAMERA = f"{COLOUR} ! {CAPS}"


def read(source: CsiSource, out: np.ndarray | None = None) -> Captured:
    captured = source.read(out)
    assert captured is not None and captured.pixels is not None
    return captured


@pytest.mark.parametrize(
    ("options", "shape", "fps"),
    [
        pytest.param("?width=64&height=48&fps=25", (48, 64, 4), 25, id="a plain size"),
        pytest.param("?width=63&height=47&fps=29.97", (47, 63, 4), 29.97, id="an odd size at the rate of television"),
        pytest.param("", (720, 1280, 4), 30, id="what it takes by default"),
    ],
)
@pytest.mark.usefixtures("gstreamer")
def test_frames_come_in_the_size_and_the_colours_of_the_camera(
    options: str, shape: tuple[int, int, int], fps: float
) -> None:
    with CsiSource(f"csi://0{options}", first=7, camera=CAMERA) as source:
        captured = read(source)
        assert (source.name, source.fps, source.frame_hw, source.live) == ("csi0", fps, shape[:2], True)
        assert captured.pixels is not None and captured.pixels.shape == shape
        assert np.all(captured.pixels[..., :3] == (BLUE, GREEN, RED))
        assert (captured.sequence, captured.name, captured.source) == (7, "csi0-000007", "csi0")


@pytest.mark.usefixtures("gstreamer")
def test_padded_rows_are_left_out() -> None:
    padded = (
        "videotestsrc is-live=true pattern=gradient ! video/x-raw,format=BGRx,width=68,height=48,framerate=30/1 "
        "! rawvideoparse format=bgrx width=60 height=48 framerate=30/1 plane-strides=<272> plane-offsets=<0>"
    )
    with CsiSource("csi://0", camera=padded) as source:
        captured = read(source)
    assert captured.pixels is not None and captured.pixels.shape == (48, 60, 4) and source.frame_hw == (48, 60)
    rows = captured.pixels[..., 0].astype(int)
    assert np.all(rows == rows[:, :1]), "each row of this picture has one brightness"
    assert rows[-1, 0] - rows[0, 0] > 100


@pytest.mark.usefixtures("gstreamer")
def test_a_frame_is_copied_into_the_room_that_is_given_where_it_fits() -> None:
    with CsiSource("csi://0?width=64&height=48", camera=CAMERA) as source:
        room = np.zeros((48, 64, 4), np.uint8)
        assert read(source, room).pixels is room and room[0, 0, 0] == BLUE
        other = np.zeros((48, 64, 3), np.uint8)
        assert read(source, other).pixels is not other and not other.any()


@pytest.mark.usefixtures("gstreamer")
def test_the_time_of_capture_is_the_drivers_on_this_machines_clock() -> None:
    before = time.monotonic_ns()
    with CsiSource("csi://0?width=64&height=48&fps=60", camera=CAMERA) as source:
        frames = [(read(source), time.monotonic_ns()) for _ in range(6)]
    times = [captured.captured_ns for captured, _ in frames]
    assert {captured.clock for captured, _ in frames} == {"driver"}
    assert before <= times[0] and times == sorted(set(times))
    assert all(captured.captured_ns <= after for captured, after in frames)


@pytest.mark.usefixtures("gstreamer")
def test_who_reads_late_gets_the_newest_frame_and_a_gap() -> None:
    with CsiSource("csi://0?width=64&height=48&fps=60", camera=CAMERA) as source:
        first = read(source)
        time.sleep(0.4)
        late = read(source)
        assert late.sequence - first.sequence > 3
        assert late.captured_ns - first.captured_ns > 200_000_000
        assert read(source).sequence > late.sequence


@pytest.mark.parametrize(
    ("camera", "reason"),
    [
        pytest.param(CAMERA.replace("is-live", "num-buffers=3 is-live"), "its stream ended", id="its stream ends"),
        pytest.param(f"{CAMERA} ! identity error-after=3", "failed", id="an element reports an error"),
        pytest.param("filesrc location=/nowhere ! rawvideoparse format=bgrx", "/nowhere", id="it can't be opened"),
        pytest.param(f"{CAMERA} ! valve drop=true", "gave no frame", id="it is silent"),
    ],
)
@pytest.mark.usefixtures("gstreamer")
def test_a_camera_that_fails_is_lost_and_the_known_cure_is_told(
    camera: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csi, "SILENT_S", 0.3)
    with pytest.raises(SourceLost) as caught, CsiSource("csi://0?width=64&height=48", camera=camera) as source:
        for _ in range(10):
            source.read()
    assert reason in caught.value.message and "csi0" in caught.value.message
    assert "sudo systemctl restart nvargus-daemon" in caught.value.hint


@pytest.mark.usefixtures("gstreamer")
def test_a_camera_that_is_waited_for_can_be_stopped_from_outside() -> None:
    with CsiSource("csi://0?width=64&height=48&fps=0.1", camera=CAMERA) as source:
        assert source.read() is not None
        stopping = threading.Timer(0.1, source.stop)
        stopping.start()
        assert source.read() is None, "the next frame would come in ten seconds"
        stopping.join()


@pytest.mark.usefixtures("gstreamer")
def test_nothing_is_left_of_cameras_that_were_closed_or_failed() -> None:
    counts = []
    for _ in range(5):
        source = CsiSource("csi://0?width=64&height=48", camera=CAMERA)
        source.close()
        source.close()
        with pytest.raises(SourceLost):
            CsiSource("csi://0?width=64&height=48", camera="filesrc location=/nowhere ! rawvideoparse format=bgrx")
        counts.append(held())
    assert all(late <= early for late, early in zip(counts[-1], counts[2], strict=True))


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        pytest.param("csi://0?widht=64", "'widht' is no option", id="a misspelt option"),
        pytest.param("csi://0?width=wide", "does not fit", id="a word for a number"),
        pytest.param("csi://0?flip=9", "does not fit", id="an unknown flip"),
        pytest.param("csi://left", "'left' is no number", id="a camera that is no number"),
    ],
)
def test_options_are_looked_at_before_anything_is_opened(uri: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        CsiSource(uri)
    assert told in caught.value.message and caught.value.hint


@pytest.mark.usefixtures("gstreamer")
def test_without_nvidias_elements_it_is_told_what_to_install() -> None:
    pipeline = csi.load_gstreamer()[0]
    if pipeline.ElementFactory.find("nvarguscamerasrc") is not None:
        pytest.skip("this is a Jetson")
    with pytest.raises(MissingDependency) as caught:
        CsiSource("csi://0")
    assert "nvarguscamerasrc and no nvvidconv" in caught.value.message and "nvidia-l4t-gstreamer" in caught.value.hint


def test_without_gstreamer_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(EdgesegError) as caught:
        CsiSource("csi://0")
    assert isinstance(caught.value, MissingDependency)
    assert "sudo apt install python3-gi" in caught.value.hint and "--system-site-packages" in caught.value.hint


@pytest.mark.parametrize(
    ("fps", "fraction"),
    [(30, (30, 1)), (29.97, (30000, 1001)), (59.94, (60000, 1001)), (7.5, (7500, 1000)), (23.976, (24000, 1001))],
)
def test_frame_rates_are_fractions(fps: float, fraction: tuple[int, int]) -> None:
    assert csi._fraction(fps) == fraction
