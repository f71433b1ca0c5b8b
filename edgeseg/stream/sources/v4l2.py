"""`/dev/video0`: USB cameras and all else that gives pictures through Video4Linux."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.data.uri import split_scheme
from edgeseg.device.cameras import lasting_path, refuse_unusable
from edgeseg.errors import SourceLost
from edgeseg.stream.source import Captured, Clock, Source, frame_of
from edgeseg.stream.sources.camera import Rate, Side, monotonic_ns, parse_camera

__all__ = ["V4l2", "V4l2Source", "lasting_address"]

UInt8 = npt.NDArray[np.uint8]
#: A camera that gives nothing but damaged frames for so long, seconds, is lost.
DAMAGED_S = 1.0


class V4l2(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `/dev/video0?key=value&…` asks for; cameras give what comes nearest.

    Attributes:
        width, height: Of the frames, pixels.
        fps: Frames per second.
        fourcc: How frames travel. Over USB only compressed ones (`MJPG`) come at full rate in large sizes.
        buffers: Frames that the driver may hold. One is never old; two keep the rate of cameras that halve it with one.
    """

    width: Side = 640
    height: Side = 480
    fps: Rate = 30.0
    fourcc: Annotated[str, msgspec.Meta(pattern=r"^[\x20-\x7e]{4}$")] = "MJPG"
    buffers: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.fps:g} FPS in {self.fourcc}"


class V4l2Source(Source):
    """A camera of Video4Linux, read by OpenCV."""

    live = True

    def __init__(self, uri: str, *, first: int = 0) -> None:
        """Open the camera.

        Args:
            uri: `0`, `/dev/video0`, `/dev/v4l/by-id/...` or `v4l2:///dev/video0`, with options of `V4l2`.
            first: Number of the first frame.

        Raises:
            UsageError: An option does not fit.
            SourceLost: There is no such camera, this user may not open it, or another program has it.
        """
        super().__init__()
        place, asked = parse_camera(uri, V4l2)
        device = _device(place)
        refuse_unusable(device)
        lasting = device if device.is_symlink() else lasting_path(device)
        self.place = self._device = lasting or device
        self.name = self._device.resolve().name
        self._capture = cv2.VideoCapture(str(self._device), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise SourceLost(
                f"OpenCV can't read {self._device}: it is no camera, or gives its pictures in a format of its own.",
                hint=f"See which formats it has: v4l2-ctl -d {self._device} --list-formats-ext",
            )
        given = _negotiate(self._capture, asked)
        self.fps, self.frame_hw = given.fps, (given.height, given.width)
        self.notes = tuple(_differences(asked, given))
        if lasting is None:
            self.notes += (f"{device} has no lasting path: plugged in again, it may have another number",)
        self._next = first
        self._damaged_since: float | None = None

    def read(self, out: UInt8 | None = None) -> Captured | None:
        """See `Source.read`.

        Raises:
            SourceLost: The camera was unplugged, or gives damaged frames alone.
        """
        if self._stopped.is_set():
            return None
        fits = out is not None and self.frame_hw is not None and out.shape == (*self.frame_hw, 3)
        found, picture = self._capture.read(out if fits else None)
        pixels = frame_of(np.asarray(picture)) if found and picture is not None else None
        self._watch(pixels is None)
        captured_ns, clock = self._captured() if pixels is not None else (time.monotonic_ns(), "read")
        index, self._next = self._next, self._next + 1
        return Captured(pixels, index, captured_ns, f"{self.name}-{index:06d}", self.name, clock)

    def close(self) -> None:
        """Give the camera back."""
        self._capture.release()

    def _captured(self) -> tuple[int, Clock]:
        """When the driver had the last frame, in nanoseconds; now, where it does not tell."""
        stamp_ns = monotonic_ns(round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6))
        return (time.monotonic_ns(), "read") if stamp_ns is None else (stamp_ns, "driver")

    def _watch(self, damaged: bool) -> None:
        """Tell single damaged frames, which happen, from a camera that is gone."""
        if not damaged:
            self._damaged_since = None
            return
        now = time.monotonic()
        self._damaged_since = self._damaged_since or now
        if not self._device.exists():
            raise SourceLost(f"{self._device} was unplugged.", hint="Plug it in again, and look at its cable and hub.")
        if now - self._damaged_since >= DAMAGED_S:
            raise SourceLost(
                f"{self._device} gave damaged frames alone for {DAMAGED_S:g} s.",
                hint="Try another cable or port, a smaller size, or ?fourcc=YUYV",
            )
        self._stopped.wait(min(1 / self.fps, 0.1))  # A driver whose camera is gone fails at once, over and over.


def lasting_address(uri: str) -> str:
    """The same camera and options by a path that stays its own when it is plugged in again; else `uri` itself."""
    before, mark, options = split_scheme(uri)[1].partition("?")
    path = lasting_path(_device(before))
    return uri if path is None else f"v4l2://{path}{mark}{options}"


def _device(place: str) -> Path:
    return Path(f"/dev/video{place or 0}" if place.isdecimal() or not place else place)


def _negotiate(capture: cv2.VideoCapture, asked: V4l2) -> V4l2:
    """Ask for all of it and read back what the camera gives.

    The order matters: the format decides about sizes, the size about rates, and each change before the last starts the
    negotiation anew.
    """
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*asked.fourcc))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, asked.width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, asked.height)
    capture.set(cv2.CAP_PROP_FPS, asked.fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, asked.buffers)
    fps = capture.get(cv2.CAP_PROP_FPS)
    return V4l2(
        width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        fps=fps if 0 < fps <= 1000 else 30.0,
        fourcc=(int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, "little").decode("ascii", "replace"),
        buffers=int(capture.get(cv2.CAP_PROP_BUFFERSIZE)),
    )


def _differences(asked: V4l2, given: V4l2) -> list[str]:
    wanted = (asked.width, asked.height, asked.fourcc, round(asked.fps))
    if wanted != (given.width, given.height, given.fourcc, round(given.fps)):
        return [f"asked for {asked}, the camera gives {given}"]
    return []
