"""Sources of frames, opened by one word."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgeseg.data.images import IMAGE_SUFFIXES, frame_files, read_frame
from edgeseg.data.scene import Scene
from edgeseg.data.synthetic import Synthetic, parse_synthetic
from edgeseg.data.uri import local_path, split_scheme, without_password
from edgeseg.data.video import VideoFile
from edgeseg.errors import EdgesegError, SourceLost, UsageError

__all__ = ["Captured", "ImageSource", "Source", "SyntheticSource", "VideoSource", "open_source"]

Frame = npt.NDArray[np.uint8]
logger = logging.getLogger(__name__)

_POSSIBLE = "Possible: an image, a folder of images, a video file, demo://bikes, synthetic://?width=640&height=480"


@dataclass(frozen=True)
class Captured:
    """One frame as it came from its source.

    Attributes:
        pixels: `(H, W, 3)` uint8 BGR; None where it arrived damaged.
        sequence: The source's own count from 0. A gap stands for frames that were replaced by newer ones.
        captured_ns: When it was captured, by `time.monotonic_ns()`.
        name: Of this frame: its file without the suffix, or the source's name and its number.
        source: Name of the source.
    """

    pixels: Frame | None
    sequence: int
    captured_ns: int
    name: str
    source: str


class Source(Protocol):
    """Frames, one after the other. Used by one thread.

    Attributes:
        name: A short word for file names.
        place: File or folder that it reads, None for others.
        live: Frames come by the clock, and who is late gets the newest; else each frame waits to be read.
        fps: Frames per second as stated, 0 where time has no part in it.
        frame_hw: Height and width of its frames, pixels; None where that is not known before, or they differ.
        total: Frames to come as far as is known before, else None. Damaged videos hold fewer.
    """

    name: str
    place: Path | None
    live: bool
    fps: float
    frame_hw: tuple[int, int] | None
    total: int | None

    def read(self, out: Frame | None = None) -> Captured | None:
        """Wait for the next frame; None at the end, or when the source was told to stop.

        Args:
            out: `(H, W, 3)` uint8 that may be used for the pixels, where it fits; the caller's again when the frame
                is done with.

        Raises:
            SourceLost: Frames stopped coming before their end.
        """
        ...

    def close(self) -> None:
        """Give the file or device back. Closing twice is allowed."""
        ...


def open_source(uri: str, *, stop: Callable[[], bool] = lambda: False, first: int = 0) -> Source:
    """The source that `uri` means: an image, a folder of images, a video file, `demo://bikes` or `synthetic://`.

    Args:
        uri: A path, with or without `file://`, or an address.
        stop: Once it says True, a source that waits for its clock ends.
        first: Number of the first frame, of a source that goes on where it was.

    Raises:
        UsageError: There is no such kind of source, or an option of `synthetic://` does not fit.
        SourceLost: There is nothing at the path, or it can't be decoded.
        MissingDependency: The package with the demo video is not installed.
    """
    if split_scheme(uri)[0] == "synthetic":
        return SyntheticSource(parse_synthetic(uri), stop, first=first)
    path = local_path(uri)
    if path is None:
        raise UsageError(f"'{without_password(uri)}' is no source that can be opened.", hint=_POSSIBLE)
    if not path.is_dir() and not path.is_file():
        raise SourceLost(f"There is no file and no folder at {path}.", hint=_POSSIBLE)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource(path)
    return VideoSource(path)


class ImageSource:
    """An image, or the images of a folder in the order of their paths."""

    live = False
    fps = 0.0
    frame_hw: tuple[int, int] | None = None

    def __init__(self, path: Path) -> None:
        """Find the images.

        Raises:
            SourceLost: The folder holds none.
        """
        self.name = path.resolve().stem
        self.place: Path | None = path
        root = path if path.is_dir() else path.parent
        self._paths = frame_files(path) if path.is_dir() else [path]
        if not self._paths:
            raise SourceLost(f"There are no images in {path}.", hint=f"Looked for {' '.join(IMAGE_SUFFIXES)}.")
        inside = [image.relative_to(root) for image in self._paths]
        stems = [str(image.with_suffix("")) for image in inside]
        self._names = stems if len(set(stems)) == len(stems) else [str(image) for image in inside]
        self.total: int | None = len(self._paths)
        self._next = 0

    def read(self, out: Frame | None = None) -> Captured | None:
        """See `Source.read`; `out` is left aside."""
        if self._next == len(self._paths):
            return None
        index, self._next = self._next, self._next + 1
        try:
            pixels: Frame | None = read_frame(self._paths[index])
        except EdgesegError as error:
            logger.info("%s", error)
            pixels = None
        return Captured(pixels, index, time.monotonic_ns(), self._names[index], self.name)

    def close(self) -> None:
        """Nothing is held."""


class VideoSource:
    """A video file, from its first frame to its last; each frame waits to be read."""

    live = False

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            SourceLost: OpenCV can't decode it.
        """
        self._video = VideoFile(path)
        self.name = path.stem
        self.place: Path | None = path
        self.fps = self._video.fps
        self.frame_hw: tuple[int, int] | None = self._video.frame_hw
        self.total: int | None = self._video.announced or None

    def read(self, out: Frame | None = None) -> Captured | None:
        """See `Source.read`. A file that was cut off ends early, with a warning; one without a frame is lost."""
        pixels = self._video.read(out)
        if pixels is None:
            return None
        number = self._video.decoded - 1
        return Captured(pixels, number, time.monotonic_ns(), f"{self.name}-{number:06d}", self.name)

    def close(self) -> None:
        """Close the file."""
        self._video.close()


class SyntheticSource:
    """`synthetic://`: a rendered street, at a camera's pace and with a camera's faults where asked for."""

    name = "synthetic"
    place: Path | None = None

    def __init__(self, spec: Synthetic, stop: Callable[[], bool] = lambda: False, *, first: int = 0) -> None:
        """Lay out the street of `spec`, from frame `first` on; waiting ends when `stop` says True."""
        self._spec = spec
        self._stop = stop
        self._scene = Scene(spec.size_at(first), spec.seed)
        self._next = self._first = first
        # Opened again it goes on, and is not silent anew.
        self._stall_at = spec.stall_at if spec.stall_at > first or not first else -1
        self._begin = math.nan
        self.live = spec.fps > 0
        self.fps = spec.fps or 25.0
        self.frame_hw: tuple[int, int] | None = spec.size_at(first)
        self.total: int | None = spec.frames or None

    def read(self, out: Frame | None = None) -> Captured | None:
        """See `Source.read`."""
        if self._next == self.total:
            return None
        captured_s = self._await_clock() if self.live else self._await_stall()
        if self._stop():
            return None
        index, self._next = self._next, self._next + 1
        pixels = None if self._is_corrupt(index) else self._render(index, out)
        return Captured(pixels, index, int(captured_s * 1e9), f"{self.name}-{index:06d}", self.name)

    def close(self) -> None:
        """Nothing is held."""

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._stop():
            time.sleep(min(left, 0.1))

    def _await_stall(self) -> float:
        if self._next == self._stall_at:
            self._wait(self._spec.stall_s)
        return time.monotonic()

    def _await_clock(self) -> float:
        """Wait until a frame is due, pass over those that are older, and return the time of capture in seconds."""
        now = time.monotonic()
        if math.isnan(self._begin):
            self._begin = now
        self._next = max(self._next, self._newest(now))
        if self.total is not None:
            self._next = min(self._next, self.total - 1)
        due = self._due(self._next)
        self._wait(due - now)
        return due

    def _due(self, index: int) -> float:
        stalled = self._spec.stall_s if 0 <= self._stall_at <= index else 0.0
        return self._begin + (index - self._first) / self._spec.fps + stalled

    def _newest(self, now: float) -> int:
        """The last frame that is due by now."""
        begin, stall_at = self._begin - self._first / self._spec.fps, self._stall_at
        index = int((now - begin) * self._spec.fps)
        if 0 <= stall_at <= index:
            return max(stall_at - 1, int((now - begin - self._spec.stall_s) * self._spec.fps))
        return index

    def _is_corrupt(self, index: int) -> bool:
        return float(np.random.default_rng((self._spec.seed, index)).random()) < self._spec.corrupt

    def _render(self, index: int, out: Frame | None) -> Frame:
        if self._scene.size_hw != self._spec.size_at(index):
            self._scene = Scene(self._spec.size_at(index), self._spec.seed)
        return self._scene.render(self._spec.shown_at(index), out)
