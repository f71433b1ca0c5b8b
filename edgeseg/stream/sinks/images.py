"""Pictures: one still, one of every frame, and class maps."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError
from edgeseg.files import write_bytes
from edgeseg.labels import LabelSet
from edgeseg.stream.sink import Segmented, Sink

__all__ = ["ClassMapFolder", "NullSink", "NumberedImages", "StillImage", "encode_image"]

UInt8 = npt.NDArray[np.uint8]


class NullSink(Sink):
    """Keeps nothing."""

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`."""


class StillImage(Sink):
    """The overlay of one frame."""

    def __init__(self, path: Path, at: int | None = None) -> None:
        """`at`: number of the frame, counted from 0; None keeps one in the second half, wherever the end is."""
        self.output = str(path)
        self._path = path
        self._at = at
        self._frames = 0
        self._kept: UInt8 | None = None

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`. Frames whose number is a power of two stand in, should that one never come."""
        number, self._frames = self._frames, self._frames + 1
        stand_in = number & (number - 1) == 0 and (self._at is None or number < self._at)
        if number == self._at or stand_in:
            self._kept = segmented.overlay.copy()

    def close(self) -> None:
        """See `Sink.close`."""
        if self._kept is not None:
            write_bytes(self._path, encode_image(self._kept, self._path.suffix))
        self._kept = None


class NumberedImages(Sink):
    """The overlay of every frame as an image; `%i` in the name stands for the frame's number."""

    def __init__(self, pattern: Path) -> None:
        self.output = str(pattern)
        self._pattern = pattern
        pattern.parent.mkdir(parents=True, exist_ok=True)

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`."""
        path = self._pattern.with_name(self._pattern.name.replace("%i", f"{segmented.captured.sequence:06d}"))
        write_bytes(path, encode_image(segmented.overlay, path.suffix), durable=False)


class ClassMapFolder(Sink):
    """The class map of every frame as PNG: class indices in 8 bits, shown in the palette's colours with Pillow."""

    def __init__(self, folder: Path, labels: LabelSet) -> None:
        """Make the folder, which may hold files already: those of the same name are replaced."""
        self.output = str(folder)
        self._folder = folder
        self._palette = labels.colours().tobytes()
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`."""
        path = self._folder / f"{segmented.captured.name}.png"
        write_bytes(path, self._encoded(segmented.class_map), durable=False)

    def _encoded(self, class_map: UInt8) -> bytes:
        try:
            from PIL import Image
        except ModuleNotFoundError:  # On a bare board they are grey.
            return encode_image(class_map, ".png")
        image, content = Image.fromarray(class_map), io.BytesIO()
        image.putpalette(self._palette)
        image.save(content, "PNG", compress_level=1)
        return content.getvalue()


def encode_image(picture: UInt8, suffix: str) -> bytes:
    """A picture as the content of a file: `(H, W, 3)` uint8 BGR or `(H, W)` uint8.

    Raises:
        EdgesegError: OpenCV has no encoder for `suffix`.
    """
    done, encoded = cv2.imencode(suffix, picture)
    if not done:
        raise EdgesegError(f"OpenCV can't write {suffix} images.")
    return encoded.tobytes()
