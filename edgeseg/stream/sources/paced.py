"""A file played as a camera would give it."""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.stream.source import Captured, Source

__all__ = ["Paced"]

UInt8 = npt.NDArray[np.uint8]


class Paced(Source):
    """The frames of a file at its own pace: who reads too slowly misses frames, as with a camera."""

    live = True

    def __init__(self, source: Source, *, first: int = 0) -> None:
        """Play `source` from frame `first` on.

        Raises:
            UsageError: It has no frame rate.
        """
        super().__init__()
        if not source.fps:
            raise UsageError(
                f"'{source.name}' has no frame rate to be played at.", hint="Give each frame: --policy all"
            )
        self._source, self._first = source, first
        self._begin = math.nan
        self.name, self.place, self.fps = source.name, source.place, source.fps
        self.frame_hw, self.total = source.frame_hw, source.total

    def read(self, out: UInt8 | None = None) -> Captured | None:
        """See `Source.read`."""
        while not self._stopped.is_set() and (captured := self._source.read(out)) is not None:
            if captured.sequence < self._first:
                continue
            if math.isnan(self._begin):
                self._begin = time.monotonic()
            due = self._begin + (captured.sequence - self._first) / self.fps
            late = time.monotonic() - due
            if late < 1 / self.fps or captured.sequence + 1 == self.total:
                self._stopped.wait(max(0.0, -late))
                return dataclasses.replace(captured, captured_ns=int(due * 1e9))
        return None

    def close(self) -> None:
        """Close the file."""
        self._source.close()
