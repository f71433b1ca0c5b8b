"""Frames from video files."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import SourceLost

__all__ = ["VideoFile"]

Frame = npt.NDArray[np.uint8]
logger = logging.getLogger(__name__)


class VideoFile:
    """A video file, read from its first frame to its last.

    Attributes:
        path: Of the file.
        fps: Frames per second that the file states; 25 where it states none that makes sense.
        frame_hw: Height and width that the file states, pixels, turned upright.
        announced: How many frames the file states; 0 where it states none. Damaged files hold fewer.
        decoded: Frames taken so far.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            SourceLost: It is missing, or OpenCV can't decode it.
        """
        if not path.is_file():
            raise SourceLost(f"There is no video at {path}.")
        self.path = path
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise SourceLost(
                f"The file {path} is no video that OpenCV can decode ({path.stat().st_size} bytes).",
                hint="Was it copied or recorded to its end? MP4 files that were cut off can't be opened.",
            )
        fps, announced = (self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.fps = fps if math.isfinite(fps) and 1 <= fps <= 1000 else 25.0
        self.announced = int(announced) if math.isfinite(announced) and 0 < announced < 2**31 else 0
        sides = (self._capture.get(key) for key in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        height, width = (int(side) for side in sides)
        self.frame_hw = (height, width)
        self.decoded = 0

    def read(self, out: Frame | None = None) -> Frame | None:
        """The next frame, or None at the end.

        Args:
            out: `(H, W, 3)` uint8 to decode into; it is left aside where its size is not the video's.

        Returns:
            `(H, W, 3)` uint8 BGR, which is `out` where that fits.

        Raises:
            SourceLost: The file does not hold a single frame.
        """
        found, frame = self._capture.read(out)
        self._count(found)
        return np.asarray(frame, np.uint8) if found else None

    def skip(self) -> bool:
        """Pass over the next frame; False at the end.

        Raises:
            SourceLost: The file does not hold a single frame.
        """
        found = self._capture.grab()
        self._count(found)
        return found

    def _count(self, found: bool) -> None:
        if found:
            self.decoded += 1
        elif not self.decoded:
            raise SourceLost(f"Not one frame of the video {self.path} could be decoded.")
        elif self.decoded < self.announced * 0.99 - 1:
            logger.warning(
                "%s ends after %d of %d frames: it was cut off or is damaged.", self.path, self.decoded, self.announced
            )

    def close(self) -> None:
        """Close the file. Closing twice is allowed."""
        self._capture.release()

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
