"""What share of each picture each class covers, as lines of JSON."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import io
import logging
import os
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError
from edgeseg.labels import VOID, LabelSet
from edgeseg.stream.sink import Segmented, Sink
from edgeseg.stream.source import Clock

__all__ = ["AreaLine", "AreaLines"]

UInt8 = npt.NDArray[np.uint8]
logger = logging.getLogger(__name__)


class AreaLine(msgspec.Struct, omit_defaults=True):
    """One frame.

    Attributes:
        source: Its name.
        sequence: Number of the frame in that source.
        captured_at: Wall time of the capture in UTC, ISO 8601 with milliseconds.
        clock: Who took that time; see `Clock`.
        age_ms: Milliseconds from capture until this line was made.
        area: Share of the pixels by class, 0 to 1; classes that do not occur are left out.
        unknown: Share of the pixels of which nothing is known; left out where there are none.
    """

    source: str
    sequence: int
    captured_at: str
    clock: Clock
    age_ms: float
    area: dict[str, float]
    unknown: float | None = None


class AreaLines(Sink):
    """A line for each frame at the end of a file, which may be read while it grows.

    The wall time is looked up once: setting the machine's clock later moves no frame against another.
    """

    def __init__(self, path: Path, labels: LabelSet) -> None:
        """Open the file. What it holds already stays, but for half a line that a killed process left at its end.

        Raises:
            EdgesegError: Another process writes to it.
            OSError: It can't be written to.
        """
        self.output = str(path)
        self._names = labels.names
        self._wall_ns = time.time_ns() - time.monotonic_ns()
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            # Unbuffered and appending, so that each line is one call to the system, whole after a kill.
            self._file = stack.enter_context(open(path, "ab+", buffering=0))
            _lock(self._file, path)
            _mend(self._file, path)
            stack.pop_all()

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`."""
        captured = segmented.captured
        shares = _shares(segmented.class_map)
        line = AreaLine(
            captured.source,
            captured.sequence,
            _iso(self._wall_ns + captured.captured_ns),
            captured.clock,
            round((time.monotonic_ns() - captured.captured_ns) / 1e6, 1),
            {name: share for name, share in zip(self._names, shares, strict=False) if share},
            shares[VOID] or None,
        )
        if not os.fstat(self._file.fileno()).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "somebody has removed it", self.output)
        content = msgspec.json.encode(line) + b"\n"
        end = self._file.seek(0, io.SEEK_END)
        if self._file.write(content) != len(content):
            self._file.truncate(end)
            raise OSError(errno.ENOSPC, "the disk took only a part of a line", self.output)

    def close(self) -> None:
        """See `Sink.close`."""
        self._file.close()


def _shares(class_map: UInt8) -> list[float]:
    """The share of the pixels that each of 256 classes covers."""
    counts = cv2.calcHist([class_map], [0], None, [256], [0, 256])
    return [round(float(count) / class_map.size, 6) for count in counts.ravel()]


def _iso(wall_ns: int) -> str:
    moment = datetime.datetime.fromtimestamp(wall_ns / 1e9, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _lock(file: io.FileIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EdgesegError(
            f"Another process is writing to {path} at this time.", hint="Name another file, or end that process."
        ) from None


def _mend(file: io.FileIO, path: Path) -> None:
    """End the last line where it has no end: whole ones get one, half ones are dropped."""
    size = file.seek(0, io.SEEK_END)
    begin = max(0, size - (1 << 20))
    file.seek(begin)
    tail = file.read().rpartition(b"\n")[2]
    if not tail:
        return
    try:
        msgspec.json.decode(tail)
        file.write(b"\n")
    except msgspec.DecodeError:
        if len(tail) == size - begin and begin:
            raise EdgesegError(
                f"The last line of {path} is no JSON, and too long for one of ours.", hint="Name another file."
            ) from None
        file.truncate(size - len(tail))
        logger.warning("Half a line at the end of %s was dropped (%d bytes).", path, len(tail))
