"""The frames that engines are timed on."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.data.calibration import open_frames
from edgeseg.data.scene import Scene

__all__ = ["TimedFrames"]

UInt8 = npt.NDArray[np.uint8]
#: So many different frames go round, so that none is always in the cache and all fit in memory.
COUNT = 32
QUALITY = 90


class TimedFrames:
    """A few frames in memory, and each as a JPEG, whose decoding is timed too.

    Args:
        source: A folder, a video, or empty for a rendered street of `size_hw`.
        size_hw: Height and width of rendered frames.

    Raises:
        UsageError, SourceLost: There are no such frames.
    """

    def __init__(self, source: str, size_hw: tuple[int, int]) -> None:
        if source:
            self._frames = [frame for _, frame in open_frames(source, limit=COUNT)]
        else:
            scene = Scene(size_hw, seed=0)
            self._frames = [scene.render(number) for number in range(COUNT)]
        self._encoded = [_jpeg(frame) for frame in self._frames]

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Of the first."""
        return self._frames[0].shape[0], self._frames[0].shape[1]

    def at(self, number: int) -> tuple[UInt8, UInt8]:
        """A frame `(H, W, 3)` uint8 BGR, and the same as a JPEG; after the last comes the first."""
        place = number % len(self._frames)
        return self._frames[place], self._encoded[place]


def _jpeg(frame: UInt8) -> UInt8:
    return np.asarray(cv2.imencode(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1], np.uint8)
