"""Images, folders of images, and video files."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg.data.images import IMAGE_SUFFIXES, frame_files, read_frame
from edgeseg.data.video import VideoFile
from edgeseg.errors import EdgesegError, SourceLost
from edgeseg.stream.source import Captured, Source

__all__ = ["ImageSource", "VideoSource"]

Frame = npt.NDArray[np.uint8]
logger = logging.getLogger(__name__)


class ImageSource(Source):
    """An image, or the images of a folder in the order of their paths."""

    def __init__(self, path: Path) -> None:
        """Find the images.

        Raises:
            SourceLost: The folder holds none.
        """
        super().__init__()
        self.name = path.resolve().stem
        self.place = path
        root = path if path.is_dir() else path.parent
        self._paths = frame_files(path) if path.is_dir() else [path]
        if not self._paths:
            raise SourceLost(f"There are no images in {path}.", hint=f"Looked for {' '.join(IMAGE_SUFFIXES)}.")
        inside = [image.relative_to(root) for image in self._paths]
        stems = [str(image.with_suffix("")) for image in inside]
        self._names = stems if len(set(stems)) == len(stems) else [str(image) for image in inside]
        self.total = len(self._paths)
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


class VideoSource(Source):
    """A video file, from its first frame to its last; each frame waits to be read."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            SourceLost: OpenCV can't decode it.
        """
        super().__init__()
        self._video = VideoFile(path)
        self.name = path.stem
        self.place = path
        self.fps = self._video.fps
        self.frame_hw = self._video.frame_hw
        self.total = self._video.announced or None

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
