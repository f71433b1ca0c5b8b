"""A file that begins anew at its end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgeseg.stream.source import Captured, Source

__all__ = ["Looped"]

UInt8 = npt.NDArray[np.uint8]


class Looped(Source):
    """The frames of a file again and again; their numbers go on."""

    def __init__(self, open_once: Callable[[], Source]) -> None:
        """Open the file for the first time; `open_once` opens it from its beginning."""
        super().__init__()
        self._open_once = open_once
        self._source = source = open_once()
        self._before = self._count = 0
        self.name, self.place, self.fps, self.frame_hw = source.name, source.place, source.fps, source.frame_hw

    def read(self, out: UInt8 | None = None) -> Captured | None:
        """See `Source.read`; there is no end but for a file without frames."""
        captured = self._source.read(out)
        if captured is None:
            self._before += self._count
            self._source.close()
            self._source = self._open_once()
            captured = self._source.read(out)
        if captured is None:
            return None
        self._count = captured.sequence + 1
        sequence = self._before + captured.sequence
        return dataclasses.replace(captured, sequence=sequence, name=f"{self.name}-{sequence:06d}")

    def close(self) -> None:
        """Close the file."""
        self._source.close()
