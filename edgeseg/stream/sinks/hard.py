"""The frames that the network is least sure of, to calibrate or train on."""

from __future__ import annotations

import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from filelock import BaseFileLock, FileLock, Timeout

from edgeseg.errors import EdgesegError, UsageError
from edgeseg.files import write_bytes
from edgeseg.stream.report import StreamReport
from edgeseg.stream.sink import Segmented, Sink

__all__ = ["HardFrames"]

UInt8 = npt.NDArray[np.uint8]
#: Frames lie at least so far apart, so that one scene does not fill the folder, and no more than that are encoded.
APART = timedelta(seconds=1)
#: Margin, time of capture in UTC, and the frame's own name.
NAME = re.compile(r"(?P<margin>[01]\.\d{4})-(?P<time>\d{8}T\d{6}\.\d{3})Z-.+\.png")
TIME = "%Y%m%dT%H%M%S.%f"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(order=True, frozen=True)
class _Kept:
    """A frame in the folder, or on its way there; ordered by margin."""

    margin: float
    at: datetime
    name: str


class HardFrames(Sink):
    """Keeps the frames of the lowest mean margin as PNG, whole and as the camera gave them.

    Names begin with the margin, so that the hardest come first. What lies in the folder from earlier runs competes
    with what comes; files of other names are left alone. Frames are encoded by a thread of its own. The session has to
    be one for logits.
    """

    def __init__(self, folder: Path, count: int, fps: float = 0.0) -> None:
        """Make the folder and see what lies there.

        Args:
            folder: Of one process at a time.
            count: So many frames are kept.
            fps: Of a file, whose frames are as far apart as they were recorded; 0 where the clock tells.

        Raises:
            UsageError: `count` is below 1, or another process keeps its frames in that folder.
        """
        if count < 1:
            raise UsageError(f"{count} hard frames can't be kept; 1 and more can.", hint="Such as --save-hard 100")
        self._lock = _locked(folder)
        self.output = str(folder)
        self._folder, self._count, self._fps = folder, count, fps
        self._begun_ns = time.time_ns()
        self._clock_ns = self._begun_ns - time.monotonic_ns()
        self._kept = _tidy(folder)
        self._last = max((kept.at for kept in self._kept), default=_EPOCH)
        self._hardest: _Kept | None = None
        self._due = _EPOCH
        self._pixels: UInt8 = np.empty((0, 0, 3), np.uint8)
        self._spare = self._pixels
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="edgeseg-hard-frames")
        self._writing: Future[None] | None = None

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`. Costs the copy of a frame at most.

        Raises:
            UsageError: The session gives class maps, which tell no margins.
        """
        if segmented.margin is None:
            raise UsageError("Hard frames are found by their margin, which class maps do not tell.")
        at = self._time_of(segmented)
        if self._hardest is not None and not self._due - APART <= at < self._due:
            self._keep(wait=bool(self._fps))
        frame = _Kept(round(segmented.margin, 4), at, _plain(segmented.captured.name))
        if self._is_harder(frame):
            self._note(frame, segmented.frame)

    def idle(self, report: StreamReport) -> None:
        """See `Sink.idle`."""
        self._keep(wait=False)

    def close(self) -> None:
        """See `Sink.close`."""
        with self._thread:
            try:
                self._keep(wait=True)
                self._wait()
            finally:
                self._lock.release()

    def _time_of(self, segmented: Segmented) -> datetime:
        captured = segmented.captured
        recorded_ns = self._begun_ns + round(captured.sequence / self._fps * 1e9) if self._fps else None
        at_ns = captured.captured_ns + self._clock_ns if recorded_ns is None else recorded_ns
        return _EPOCH + timedelta(milliseconds=at_ns // 1_000_000)

    def _is_harder(self, frame: _Kept) -> bool:
        """Whether it is harder than what it would replace: the hardest of this second, or the easiest of all."""
        if self._hardest is not None:
            return frame.margin < self._hardest.margin
        free = len(self._kept) < self._count
        return not abs(frame.at - self._last) < APART and (free or frame.margin < self._kept[-1].margin)

    def _note(self, frame: _Kept, pixels: UInt8) -> None:
        if self._hardest is None:
            self._due = frame.at + APART
        if self._pixels.shape != pixels.shape:
            self._pixels = np.empty_like(pixels)
        np.copyto(self._pixels, pixels)
        self._hardest = frame

    def _keep(self, *, wait: bool) -> None:
        """Have the hardest frame of this second written; later, where the one before is being written and none waits.

        Raises:
            EdgesegError, OSError: The one before could not be written.
        """
        if self._hardest is None or not (wait or self._writing is None or self._writing.done()):
            return
        frame, self._hardest = self._hardest, None
        self._wait()
        self._last = frame.at
        self._kept = sorted([*self._kept, frame])
        self._kept, out = self._kept[: self._count], self._kept[self._count :]
        self._pixels, self._spare = self._spare, self._pixels
        self._writing = self._thread.submit(self._replace, self._spare, frame, out)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _replace(self, pixels: UInt8, frame: _Kept, out: list[_Kept]) -> None:
        """Write a frame, and only then remove those that it puts out."""
        done, encoded = cv2.imencode(".png", pixels, (cv2.IMWRITE_PNG_COMPRESSION, 1))
        if not done:
            raise EdgesegError(f"OpenCV can't write a frame of {pixels.shape} as PNG.")
        write_bytes(self._folder / _file_name(frame), encoded.tobytes())
        for easier in out:
            (self._folder / _file_name(easier)).unlink(missing_ok=True)


def _locked(folder: Path) -> BaseFileLock:
    """The lock of a folder, which is gone with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"Another process keeps its hard frames in {folder}.", hint="Run this one in a folder of its own."
        ) from None
    return lock


def _tidy(folder: Path) -> list[_Kept]:
    """Remove what a process left half written when it was killed; what else lies in the folder, hardest first."""
    for path in folder.glob(".[01].????-*.part.png"):
        path.unlink(missing_ok=True)
    return sorted(_kept(match) for path in folder.iterdir() if (match := NAME.fullmatch(path.name)))


def _kept(match: re.Match[str]) -> _Kept:
    at = datetime.strptime(match["time"], TIME).replace(tzinfo=timezone.utc)
    return _Kept(float(match["margin"]), at, match[0][match.end("time") + 2 : -len(".png")])


def _file_name(frame: _Kept) -> str:
    return f"{frame.margin:.4f}-{frame.at.strftime(TIME)[:-3]}Z-{frame.name}.png"


def _plain(name: str) -> str:
    """A frame's name without what makes it a path."""
    return re.sub(r"[^\w.-]+", "-", name)[-80:] or "frame"
