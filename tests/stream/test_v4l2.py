"""USB cameras, which tests have none of: OpenCV's capture is replaced by one that behaves as recorded cameras do.

The properties and their rules are those of OpenCV's V4L2 back end (modules/videoio/src/cap_v4l.cpp): a size is taken
when both sides are set, a format that the camera has not is replaced by one that it has, and both start anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edgeseg.errors import SourceLost, UsageError
from edgeseg.stream.sources import v4l2
from edgeseg.stream.sources.v4l2 import V4l2Source, lasting_address
from tests.device.video import Kernel, add_node

UInt8 = npt.NDArray[np.uint8]
BY_ID = "by-id/usb-046d_HD_Pro_Webcam_C920_3F5A7B2E-video-index0"


@dataclass(frozen=True)
class Recorded:
    """A camera: its formats, its sizes with the highest rate of each, and what it does at each read."""

    formats: tuple[str, ...] = ("YUYV", "MJPG")
    sizes: Mapping[tuple[int, int], float] = field(default_factory=lambda: {(640, 480): 30.0, (1280, 720): 30.0})
    faults: Mapping[int, str] = field(default_factory=dict)
    stamps: bool = True


OBEYS = Recorded()
SMALL = Recorded(sizes={(320, 240): 30.0, (640, 480): 15.0})
UNCOMPRESSED = Recorded(formats=("YUYV",), sizes={(640, 480): 30.0, (1280, 720): 10.0})


class Capture:
    """`cv2.VideoCapture` of a recorded camera."""

    def __init__(self, camera: Recorded, device: Path) -> None:
        self.camera, self.device, self.calls = camera, device, list[tuple[int, float]]()
        self.format, self.size, self.fps, self.buffers = camera.formats[0], (640, 480), 30.0, 4
        self.half_size: dict[int, int] = {}
        self.reads, self.stamp_ms, self.released = 0, 0.0, 0
        self._fit(self.size)

    def isOpened(self) -> bool:
        return True

    def set(self, key: int, value: float) -> bool:
        self.calls.append((key, value))
        if key == cv2.CAP_PROP_FOURCC:
            asked = int(value).to_bytes(4, "little").decode()
            self.format = asked if asked in self.camera.formats else self.camera.formats[0]
        elif key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT):
            self.half_size[key] = int(value)
            if len(self.half_size) == 2:
                self._fit((self.half_size[cv2.CAP_PROP_FRAME_WIDTH], self.half_size[cv2.CAP_PROP_FRAME_HEIGHT]))
        elif key == cv2.CAP_PROP_FPS:
            self.fps = min(value, self.camera.sizes[self.size])
        elif key == cv2.CAP_PROP_BUFFERSIZE:
            self.buffers = int(value)
        return True

    def _fit(self, size: tuple[int, int]) -> None:
        self.size = min(self.camera.sizes, key=lambda known: abs(known[0] - size[0]) + abs(known[1] - size[1]))
        self.fps = self.camera.sizes[self.size]

    def get(self, key: int) -> float:
        return {
            cv2.CAP_PROP_FOURCC: float(int.from_bytes(self.format.encode(), "little")),
            cv2.CAP_PROP_FRAME_WIDTH: float(self.size[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(self.size[1]),
            cv2.CAP_PROP_FPS: self.fps,
            cv2.CAP_PROP_BUFFERSIZE: float(self.buffers),
            cv2.CAP_PROP_POS_MSEC: self.stamp_ms,
        }[key]

    def read(self, out: UInt8 | None = None) -> tuple[bool, UInt8 | None]:
        fault = self.camera.faults.get(self.reads, self.camera.faults.get(-1, ""))
        self.reads += 1
        if fault == "unplugged":
            self.device.unlink(missing_ok=True)
        if fault in ("unplugged", "fails"):
            return False, None
        if fault == "empty":
            return True, np.empty((0, 0, 3), np.uint8)
        self.stamp_ms = time.monotonic() * 1e3 - 12 if self.camera.stamps else 0.0
        shape = (self.size[1], self.size[0], 3)
        picture = out if out is not None and out.shape == shape else np.empty(shape, np.uint8)
        picture[:] = self.reads
        return True, picture

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return Kernel(monkeypatch).add(add_node(tmp_path, 0, links=(BY_ID,)))


def plug_in(camera: Recorded, device: Path, monkeypatch: pytest.MonkeyPatch) -> list[Capture]:
    opened: list[Capture] = []

    def open_capture(path: str, backend: int) -> Capture:
        assert (Path(path).resolve(), backend) == (device, cv2.CAP_V4L2)
        opened.append(Capture(camera, device))
        return opened[-1]

    monkeypatch.setattr(cv2, "VideoCapture", open_capture)
    return opened


@pytest.mark.parametrize(
    ("camera", "options", "size_hw", "fps", "note"),
    [
        pytest.param(OBEYS, "", (480, 640), 30, "", id="it does what is asked by default"),
        pytest.param(OBEYS, "?width=1280&height=720&fps=15", (720, 1280), 15, "", id="it does what is asked"),
        pytest.param(OBEYS, "?fourcc=YUYV&buffers=2", (480, 640), 30, "", id="it does it in another format"),
        pytest.param(
            SMALL, "?width=1280&height=720", (480, 640), 15,
            "asked for 1280x720 at 30 FPS in MJPG, the camera gives 640x480 at 15 FPS in MJPG",
            id="it gives another size",
        ),
        pytest.param(
            UNCOMPRESSED, "?width=1280&height=720", (720, 1280), 10,
            "asked for 1280x720 at 30 FPS in MJPG, the camera gives 1280x720 at 10 FPS in YUYV",
            id="it has no MJPG",
        ),
    ],
)  # fmt: skip
def test_what_the_camera_gives_is_read_back_and_told(
    camera: Recorded, options: str, size_hw: tuple[int, int], fps: float, note: str,
    device: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plug_in(camera, device, monkeypatch)
    with V4l2Source(f"v4l2://{device}{options}", first=5) as source:
        captured = source.read()
    assert (source.frame_hw, source.fps, source.notes) == (size_hw, fps, (note,) if note else ())
    assert (source.name, source.place, source.live) == ("video0", device.parent / "v4l" / BY_ID, True)
    assert captured is not None and captured.pixels is not None and captured.pixels.shape == (*size_hw, 3)
    assert (captured.sequence, captured.name) == (5, "video0-000005")


def test_the_format_comes_first_then_size_rate_and_buffers(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = plug_in(OBEYS, device, monkeypatch)
    V4l2Source(f"v4l2://{device}?width=1280&height=720").close()
    assert opened[0].calls == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 30),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ]
    assert opened[0].released == 1


@pytest.mark.parametrize(("stamps", "clock"), [(True, "driver"), (False, "read")])
def test_the_time_of_capture_is_the_drivers_where_it_tells(
    stamps: bool, clock: str, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(Recorded(stamps=stamps), device, monkeypatch)
    before = time.monotonic_ns()
    with V4l2Source(f"v4l2://{device}") as source:
        captured = source.read()
    assert captured is not None and captured.clock == clock
    assert (captured.captured_ns < before) == stamps


def test_a_frame_is_read_into_the_room_that_is_given_where_it_fits(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(OBEYS, device, monkeypatch)
    with V4l2Source(f"v4l2://{device}") as source:
        room, other = np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640, 4), np.uint8)
        for out in (room, other):
            captured = source.read(out)
            assert captured is not None and captured.pixels is not None
            assert np.shares_memory(captured.pixels, out) == (out is room)


def test_damaged_frames_are_told_apart_and_counted(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(Recorded(faults={1: "empty", 3: "fails"}), device, monkeypatch)
    with V4l2Source(f"v4l2://{device}?fps=30") as source:
        frames = [captured for captured in (source.read() for _ in range(5)) if captured is not None]
        source.stop()
        assert source.read() is None
    assert [captured.pixels is None for captured in frames] == [False, True, False, True, False]
    assert [captured.sequence for captured in frames] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        pytest.param({2: "unplugged"}, "was unplugged", id="it is unplugged"),
        pytest.param({0: "", 1: "", -1: "empty"}, "damaged frames alone", id="it says that empty frames are good"),
        pytest.param({0: "", 1: "", -1: "fails"}, "damaged frames alone", id="every read fails"),
    ],
)
def test_a_camera_that_is_gone_is_lost(
    faults: dict[int, str], told: str, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v4l2, "DAMAGED_S", 0.2)
    plug_in(Recorded(faults=faults), device, monkeypatch)
    good = 0
    with pytest.raises(SourceLost, match=told) as caught, V4l2Source(f"v4l2://{device}") as source:
        for captured in source:
            good += captured.pixels is not None
    assert good == 2 and caught.value.hint


def test_a_lasting_path_finds_the_camera_under_another_number(
    device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting = tmp_path / "dev/v4l" / BY_ID
    address = lasting_address(f"v4l2://{device}?width=1280&height=720")
    assert address == f"v4l2://{lasting}?width=1280&height=720"
    assert lasting_address(address) == address
    device.unlink()
    again = Kernel(monkeypatch).add(add_node(tmp_path, 3, links=(BY_ID,)))
    plug_in(OBEYS, again, monkeypatch)
    with V4l2Source(address) as source:
        assert source.read() is not None
        assert (source.name, source.place) == ("video3", lasting)


def test_a_camera_without_a_lasting_path_keeps_its_address_and_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Kernel(monkeypatch).add(add_node(tmp_path, 0))
    plug_in(OBEYS, device, monkeypatch)
    assert lasting_address(f"v4l2://{device}?width=320") == f"v4l2://{device}?width=320"
    with V4l2Source(f"v4l2://{device}") as source:
        assert source.place == device and "has no lasting path" in source.notes[0]


@pytest.mark.parametrize("uri", ["97", "/dev/video97", "v4l2:///dev/video97", "v4l2://97", "97?width=320&height=240"])
def test_all_ways_to_name_a_camera_mean_the_same(uri: str) -> None:
    with pytest.raises(SourceLost, match="There is no camera at /dev/video97"):
        V4l2Source(uri)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param("widht=640", "Did you mean 'width'", id="a misspelt option"),
        pytest.param("width=wide", "does not fit", id="a word for a number"),
        pytest.param("fourcc=MJPEG", "does not fit", id="five letters for four"),
        pytest.param("buffers=0", "does not fit", id="no buffer at all"),
    ],
)
def test_options_are_looked_at_before_anything_is_opened(options: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        V4l2Source(f"/dev/video97?{options}")
    assert told in str(caught.value)


def test_a_camera_in_use_is_told_before_opencv_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Kernel(monkeypatch).add(add_node(tmp_path, 0), busy=True)
    opened = plug_in(OBEYS, device, monkeypatch)
    with pytest.raises(SourceLost, match="in use by another program"):
        V4l2Source(f"v4l2://{device}")
    assert opened == []


def test_what_opencv_can_not_read_is_told(device: Path) -> None:
    with pytest.raises(SourceLost, match="OpenCV can't read") as caught:
        V4l2Source(f"v4l2://{device}")
    assert "--list-formats-ext" in caught.value.hint
