"""`csi://0`: cameras at the camera port of a Jetson, through NVIDIA's Argus and GStreamer."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.device.gstreamer import load_gstreamer, missing_elements
from edgeseg.errors import MissingDependency, SourceLost
from edgeseg.stream.gstreamer import buffer_bytes, bus_error
from edgeseg.stream.source import Captured, Clock, Source
from edgeseg.stream.sources.camera import Rate, Side, camera_number, monotonic_ns, parse_camera

__all__ = ["ARGUS", "Csi", "CsiSource"]

UInt8 = npt.NDArray[np.uint8]
#: What gives the pictures, to be filled in from `Csi`: the image processor leaves them in its own memory, and BGRx is
#: the only format of theirs that needs no further conversion.
ARGUS = (
    "nvarguscamerasrc sensor-id={number} sensor-mode={sensor_mode} "
    "! video/x-raw(memory:NVMM),width={width},height={height},framerate={rate},format=NV12 "
    "! nvvidconv flip-method={flip} ! video/x-raw,format=BGRx"
)
NEWEST = " ! appsink name=newest drop=true max-buffers=1 sync=false"
#: Seconds without a frame after which a camera is lost, and between two looks at what the pipeline told.
SILENT_S, LOOK_S = 10.0, 0.1
#: The camera service keeps a session that was not closed, and then no program gets one.
RESTART = "Is the cable in, and no other program using the camera? Else: sudo systemctl restart nvargus-daemon"


class Csi(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `csi://0?key=value&…` asks for.

    Attributes:
        width, height: Of the frames, pixels, before they are turned.
        fps: Frames per second.
        flip: `nvvidconv`'s flip-method: 0 none, 1 a quarter left, 2 half a turn, 3 a quarter right, 4 mirrored.
        sensor_mode: As `nvarguscamerasrc` numbers them; -1 takes the one that fits.
    """

    width: Side = 1280
    height: Side = 720
    fps: Rate = 30.0
    flip: Annotated[int, msgspec.Meta(ge=0, le=7)] = 0
    sensor_mode: Annotated[int, msgspec.Meta(ge=-1, le=255)] = -1


class CsiSource(Source):
    """A camera at a Jetson's port; frames are `(H, W, 4)` uint8 BGRx."""

    live = True

    def __init__(self, uri: str, *, first: int = 0, camera: str = ARGUS) -> None:
        """Open the camera and wait for its first frame.

        Args:
            uri: `csi://0`, with options of `Csi`.
            first: Number of the first frame.
            camera: Beginning of a GStreamer pipeline that gives BGRx.

        Raises:
            UsageError: An option does not fit.
            MissingDependency: GStreamer, or NVIDIA's part of it, is not there.
            SourceLost: The camera gives no frames.
        """
        super().__init__()
        place, asked = parse_camera(uri, Csi)
        number = camera_number(place, uri)
        self._gst, self._video = load_gstreamer("GstVideo")
        _require(camera)
        self.name = f"csi{number}"
        self.fps = asked.fps
        self._first, self._next = first, first
        options = msgspec.to_builtins(asked) | {"number": number, "rate": "{}/{}".format(*_fraction(asked.fps))}
        self._pipeline = self._gst.parse_launch(camera.format(**options) + NEWEST)
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            # This clock is the one of `time.monotonic_ns()`.
            self._pipeline.use_clock(self._gst.SystemClock.obtain())
            self._pipeline.set_state(self._gst.State.PLAYING)
            self._newest = self._pipeline.get_by_name("newest")
            self._waiting = self._pull()
            stack.pop_all()
        caps = self._waiting.get_caps().get_structure(0)
        self.frame_hw = (caps.get_value("height"), caps.get_value("width"))

    def read(self, out: UInt8 | None = None) -> Captured | None:
        """See `Source.read`.

        Raises:
            SourceLost: The camera's pipeline failed or ended, or was silent for long.
        """
        sample, self._waiting = self._waiting or self._pull(), None
        if self._stopped.is_set():
            return None
        captured_ns, clock = self._captured(sample)
        index = self._number(sample.get_buffer())
        return Captured(self._copy(sample, out), index, captured_ns, f"{self.name}-{index:06d}", self.name, clock)

    def close(self) -> None:
        """Stop the pipeline, which gives the camera back."""
        self._waiting = None
        self._pipeline.set_state(self._gst.State.NULL)

    def _pull(self) -> Any:
        """The newest sample, waited for in short turns, so that errors and Ctrl-C are seen; None once it is stopped."""
        end = time.monotonic() + SILENT_S
        while time.monotonic() < end:
            if self._stopped.is_set():
                return None
            sample = self._newest.emit("try-pull-sample", int(LOOK_S * self._gst.SECOND))
            if sample is not None:
                return sample
            reason = bus_error(self._pipeline)
            if reason or self._newest.get_property("eos"):
                raise SourceLost(f"The camera {self.name} failed: {reason or 'its stream ended'}.", hint=RESTART)
        raise SourceLost(f"The camera {self.name} gave no frame for {SILENT_S:g} s.", hint=RESTART)

    def _captured(self, sample: Any) -> tuple[int, Clock]:
        """When the driver had the frame, in nanoseconds; now, where it does not tell."""
        running = sample.get_segment().to_running_time(self._gst.Format.TIME, sample.get_buffer().pts)
        known = running != self._gst.CLOCK_TIME_NONE
        stamp_ns = monotonic_ns(self._pipeline.get_base_time() + running) if known else None
        return (time.monotonic_ns(), "read") if stamp_ns is None else (stamp_ns, "driver")

    def _number(self, buffer: Any) -> int:
        """The camera's own number of a frame where it counts them, so that those that were replaced leave a gap."""
        counted = self._first + buffer.offset if buffer.offset != self._gst.BUFFER_OFFSET_NONE else 0
        index = max(self._next, counted)
        self._next = index + 1
        return index

    def _copy(self, sample: Any, out: UInt8 | None) -> UInt8:
        """The picture out of memory that the pipeline uses again, row by row where its rows are padded."""
        caps, buffer = sample.get_caps().get_structure(0), sample.get_buffer()
        shape = (caps.get_value("height"), caps.get_value("width"), 4)
        meta = self._video.buffer_get_video_meta(buffer)
        offset, stride = (meta.offset[0], meta.stride[0]) if meta is not None else (0, shape[1] * 4)
        pixels = out if out is not None and out.shape == shape else np.empty(shape, np.uint8)
        with buffer_bytes(buffer) as data:
            np.copyto(pixels, np.ndarray(shape, np.uint8, data, offset, (stride, 4, 1)))
        return pixels


def _require(camera: str) -> None:
    """Refuse where an element of the pipeline is not installed."""
    words = [part.split()[0] for part in camera.split("!")]
    missing = missing_elements(word for word in words if "/" not in word)
    if missing:
        raise MissingDependency(
            f"GStreamer has no {' and no '.join(missing)} on this machine, which cameras at a Jetson's port need.",
            hint="On a Jetson: sudo apt install nvidia-l4t-gstreamer. Elsewhere: /dev/video0, or picamera://0 on a Pi.",
        )


def _fraction(fps: float) -> tuple[int, int]:
    """A frame rate as GStreamer has them: 29.97 is 30000/1001."""
    if abs(fps - round(fps)) < 1e-3:
        return round(fps), 1
    thousands = round(fps * 1001 / 1000)
    return (thousands * 1000, 1001) if abs(thousands * 1000 / 1001 - fps) < 1e-2 else (round(fps * 1000), 1000)
