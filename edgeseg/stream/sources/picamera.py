"""`picamera://0`: cameras at the camera port of a Raspberry Pi, through libcamera and picamera2."""

from __future__ import annotations

import contextlib
import importlib
import time
from concurrent.futures import TimeoutError as SilentError
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.errors import MissingDependency, SourceLost
from edgeseg.stream.source import Captured, Clock, Source
from edgeseg.stream.sources.camera import Rate, Side, camera_number, monotonic_ns, parse_camera

__all__ = ["Picamera", "PicameraSource"]

UInt8 = npt.NDArray[np.uint8]
#: libcamera names formats by their bits from the highest down, so that this one is blue, green, red in memory.
BGR_IN_MEMORY = "RGB888"
#: One is filled, one is copied, one waits.
BUFFERS = 3
#: Seconds without a frame after which a camera is lost.
SILENT_S = 10.0
BUSY = "Is another program using it? Try: rpicam-hello --list-cameras"


class Picamera(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `picamera://0?key=value&…` asks for: the frames' width and height in pixels, and frames per second."""

    width: Side = 1280
    height: Side = 720
    fps: Rate = 30.0


class PicameraSource(Source):
    """A camera at a Raspberry Pi's port; frames are `(H, W, 3)` uint8 BGR."""

    live = True

    def __init__(self, uri: str, *, first: int = 0) -> None:
        """Open the camera.

        Args:
            uri: `picamera://0`, with options of `Picamera`.
            first: Number of the first frame.

        Raises:
            UsageError: An option does not fit.
            MissingDependency: picamera2 is not seen by this Python.
            SourceLost: There is no such camera, or another program has it.
        """
        super().__init__()
        place, asked = parse_camera(uri, Picamera)
        number = camera_number(place, uri)
        self._library = _import_picamera2()
        self.name = f"picamera{number}"
        self._next = first
        self._camera = _open(self._library, number)
        with contextlib.ExitStack() as stack:
            stack.callback(self._camera.close)
            width, height = _start(self._camera, asked)
            stack.pop_all()
        self.fps, self.frame_hw = asked.fps, (height, width)
        if (width, height) != (asked.width, asked.height):
            self.notes = (f"asked for {asked.width}x{asked.height}, the camera gives {width}x{height}",)

    def read(self, out: UInt8 | None = None) -> Captured | None:
        """See `Source.read`.

        Raises:
            SourceLost: The camera was silent for long, or libcamera gave it up.
        """
        if self._stopped.is_set():
            return None
        try:
            request = self._camera.capture_request(wait=SILENT_S)
        except (SilentError, RuntimeError) as error:
            reason = f"it gave no frame for {SILENT_S:g} s" if isinstance(error, SilentError) else str(error)
            raise SourceLost(f"The camera {self.name} failed: {reason}.", hint="Is its cable in? " + BUSY) from error
        try:
            stamp_ns = monotonic_ns(request.get_metadata().get("SensorTimestamp", 0))
            read_ns = time.monotonic_ns()
            with self._library.MappedArray(request, "main", write=False) as mapped:
                pixels = _copy(mapped.array, out)
        finally:
            request.release()
        index, self._next = self._next, self._next + 1
        captured: tuple[int, Clock] = (read_ns, "read") if stamp_ns is None else (stamp_ns, "sensor")
        return Captured(pixels, index, captured[0], f"{self.name}-{index:06d}", self.name, captured[1])

    def close(self) -> None:
        """Give the camera back. It ignores being closed twice."""
        self._camera.close()


def _import_picamera2() -> Any:
    try:
        return importlib.import_module("picamera2")
    except ImportError as error:
        raise MissingDependency(
            f"picamera2, which reads the cameras of a Raspberry Pi, can't be used from this Python: {error}.",
            hint="sudo apt install python3-picamera2, and a venv made by: python3 -m venv --system-site-packages VENV",
        ) from error


def _open(library: Any, number: int) -> Any:
    models = [camera["Model"] for camera in library.Picamera2.global_camera_info()]
    if number >= len(models):
        found = ", ".join(f"picamera://{index} ({model})" for index, model in enumerate(models))
        raise SourceLost(
            f"There is no camera number {number} at the camera ports.",
            hint=f"Cameras found: {found}."
            if found
            else "No camera was found. Switch the board off and check its cable.",
        )
    try:
        return library.Picamera2(number)
    except RuntimeError as error:
        raise SourceLost(f"The camera picamera://{number} can't be opened: {error}", hint=BUSY) from error


def _start(camera: Any, asked: Picamera) -> tuple[int, int]:
    """Start the camera; width and height that it gives."""
    period_us = round(1e6 / asked.fps)
    try:
        configuration = camera.create_video_configuration(
            main={"size": (asked.width, asked.height), "format": BGR_IN_MEMORY},
            buffer_count=BUFFERS,
            controls={"FrameDurationLimits": (period_us, period_us)},
        )
        camera.configure(configuration)
        camera.start()
    except RuntimeError as error:
        raise SourceLost(
            f"The camera does not give {asked.width}x{asked.height} at {asked.fps:g} FPS: {error}.", hint=BUSY
        ) from error
    width, height = camera.camera_configuration()["main"]["size"]
    return width, height


def _copy(picture: UInt8, out: UInt8 | None) -> UInt8:
    """A picture out of the camera's memory, whose rows may be padded."""
    pixels = out if out is not None and out.shape == picture.shape else np.empty(picture.shape, np.uint8)
    np.copyto(pixels, picture)
    return pixels
