"""Sinks: where class maps and overlays go, opened by one word."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.card import Resize
from edgeseg.data.resize import resize_frame
from edgeseg.data.uri import local_path, split_scheme
from edgeseg.data.video import VideoFile
from edgeseg.errors import EdgesegError, SourceLost, UsageError
from edgeseg.files import atomic_path, write_bytes
from edgeseg.labels import LabelSet
from edgeseg.stream.sources import Captured, Source

__all__ = ["ClassMapFolder", "NullSink", "NumberedImages", "Sink", "StillImage", "VideoSink", "open_sink"]

UInt8 = npt.NDArray[np.uint8]

#: What plays in most players of all that OpenCV's wheels can write: they hold no H.264 encoder.
_CODEC = "mp4v"
_IMAGES = (".png", ".jpg", ".jpeg")
_POSSIBLE = (
    "Possible: a video (out.mp4), an image (out.png, out.jpg), numbered images (out_%i.jpg), "
    "a folder for class maps (maps/), null://"
)


class Sink(Protocol):
    """Takes what was made of each frame. Used by one thread.

    Attributes:
        wants: What `write` is given: the overlay, or the class map.
        output: Where the result lies; empty where nothing is kept.
    """

    wants: Literal["overlay", "class_map"]
    output: str

    def write(self, captured: Captured, picture: UInt8) -> None:
        """Take one frame's picture, at the frame's size.

        Args:
            captured: The frame that it was made of.
            picture: Overlay `(H, W, 3)` uint8 BGR, or class map `(H, W)` uint8; valid during this call.

        Raises:
            EdgesegError, OSError: It can't be kept.
        """
        ...

    def close(self) -> None:
        """Finish what was written so far and put it into its place. Closing twice is allowed.

        Raises:
            EdgesegError, OSError: The result is not whole; what was in its place before is unchanged.
        """
        ...


def open_sink(uri: str, source: Source, labels: LabelSet, *, still: int | None = None) -> Sink:
    """The sink that `uri` means.

    Args:
        uri: `out.mp4` for an overlay video; `out.png` or `out.jpg` for the overlay of one frame;
            `out_%i.jpg` for all of them; a folder for class maps; `null://` for nothing. `file://` may be before.
        source: Its frame rate is the video's, and its files are never written over.
        labels: Classes and their colours.
        still: Number of the frame that `out.png` shows, counted from 0; None for one in the second half.

    Raises:
        UsageError: There is no such kind of sink, or it would write into its source.
    """
    if uri == "null://":
        return NullSink()
    path = local_path(uri) if split_scheme(uri)[0] in ("", "file") else None
    suffix = path.suffix.lower() if path is not None and not path.is_dir() else ""
    if path is None or (suffix not in (".mp4", *_IMAGES, "") and not uri.endswith("/")):
        raise UsageError(f"'{uri}' is no sink that can be opened.", hint=_POSSIBLE)
    _refuse_source(path, source)
    if suffix == ".mp4":
        return VideoSink(path, source.fps or 25.0)
    if suffix in _IMAGES:
        return NumberedImages(path) if "%i" in path.name else StillImage(path, still)
    return ClassMapFolder(path, labels)


def _refuse_source(path: Path, source: Source) -> None:
    if source.place is None:
        return
    read, written = source.place.resolve(), path.resolve()
    beside = read.is_file() and written == read.parent
    if read == written or beside or (read.is_dir() and read in written.parents):
        raise UsageError(
            f"{path} could overwrite the source {source.place}, which is never written to.", hint="Name another place."
        )


class NullSink:
    """Keeps nothing."""

    wants: Literal["overlay", "class_map"] = "class_map"
    output = ""

    def write(self, captured: Captured, picture: UInt8) -> None:
        """See `Sink.write`."""

    def close(self) -> None:
        """See `Sink.close`."""


class VideoSink:
    """A video of the overlays. It appears in its place when it is closed, whole."""

    wants: Literal["overlay", "class_map"] = "overlay"

    def __init__(self, path: Path, fps: float) -> None:
        """Nothing is written before the first frame, whose size is the video's.

        Args:
            path: Of the video, `.mp4`.
            fps: Frames per second that the video states.
        """
        self.output = str(path)
        self._path = path
        self._fps = fps
        self._frames = 0
        self._stack = contextlib.ExitStack()

    def write(self, captured: Captured, picture: UInt8) -> None:
        """See `Sink.write`. A picture of another size than the first is letterboxed into the video."""
        if not self._frames:
            self._open(picture.shape[0], picture.shape[1])
        self._frames += 1
        if picture.shape != self._fitted.shape:
            picture = resize_frame(picture, self._fitted.shape[:2], Resize("letterbox"), self._fitted)
        self._writer.write(picture)

    def close(self) -> None:
        """See `Sink.close`."""
        written, self._frames = self._frames, 0
        with self._stack:
            if written:
                self._writer.release()
                self._check(written)

    def _open(self, height: int, width: int) -> None:
        self._fitted = np.empty((height, width, 3), np.uint8)
        codec = cv2.VideoWriter.fourcc(*_CODEC)
        with contextlib.ExitStack() as stack:
            self._part = stack.enter_context(atomic_path(self._path))
            self._writer = cv2.VideoWriter(str(self._part), codec, self._fps, (width, height))
            if not self._writer.isOpened():
                raise EdgesegError(f"OpenCV can't write a video of {width}x{height} pixels to {self._path}.")
            self._stack = stack.pop_all()

    def _check(self, written: int) -> None:
        """OpenCV reports no error in writing, such as a full disk: count what arrived."""
        try:
            with VideoFile(self._part) as video:
                arrived = video.announced
        except SourceLost:
            arrived = 0
        if arrived != written:
            raise EdgesegError(
                f"Of {written} frames {arrived} could be written to {self._path}; the video is not kept.",
                hint="Is the disk full?",
            )


class StillImage:
    """The overlay of one frame."""

    wants: Literal["overlay", "class_map"] = "overlay"

    def __init__(self, path: Path, at: int | None = None) -> None:
        """`at`: number of the frame, counted from 0; None keeps one in the second half, wherever the end is."""
        self.output = str(path)
        self._path = path
        self._at = at
        self._frames = 0
        self._kept: UInt8 | None = None

    def write(self, captured: Captured, picture: UInt8) -> None:
        """See `Sink.write`. Frames whose number is a power of two stand in, should that one never come."""
        number, self._frames = self._frames, self._frames + 1
        stand_in = number & (number - 1) == 0 and (self._at is None or number < self._at)
        if number == self._at or stand_in:
            self._kept = picture.copy()

    def close(self) -> None:
        """See `Sink.close`."""
        if self._kept is not None:
            write_bytes(self._path, _encode(self._kept, self._path.suffix))
        self._kept = None


class NumberedImages:
    """The overlay of every frame as an image; `%i` in the name stands for the frame's number."""

    wants: Literal["overlay", "class_map"] = "overlay"

    def __init__(self, pattern: Path) -> None:
        self.output = str(pattern)
        self._pattern = pattern
        pattern.parent.mkdir(parents=True, exist_ok=True)

    def write(self, captured: Captured, picture: UInt8) -> None:
        """See `Sink.write`."""
        path = self._pattern.with_name(self._pattern.name.replace("%i", f"{captured.sequence:06d}"))
        path.write_bytes(_encode(picture, path.suffix))

    def close(self) -> None:
        """See `Sink.close`."""


class ClassMapFolder:
    """The class map of every frame as PNG: class indices in 8 bits, shown in the palette's colours with Pillow."""

    wants: Literal["overlay", "class_map"] = "class_map"

    def __init__(self, folder: Path, labels: LabelSet) -> None:
        """Make the folder, which may hold files already: those of the same name are replaced."""
        self.output = str(folder)
        self._folder = folder
        self._palette = labels.colours().tobytes()
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, captured: Captured, picture: UInt8) -> None:
        """See `Sink.write`."""
        path = self._folder / f"{captured.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            from PIL import Image
        except ModuleNotFoundError:  # On a bare board they are grey.
            path.write_bytes(_encode(picture, ".png"))
            return
        image = Image.fromarray(picture)
        image.putpalette(self._palette)
        image.save(path, compress_level=1)

    def close(self) -> None:
        """See `Sink.close`."""


def _encode(picture: UInt8, suffix: str) -> bytes:
    done, encoded = cv2.imencode(suffix, picture)
    if not done:
        raise EdgesegError(f"OpenCV can't write {suffix} images.")
    return encoded.tobytes()
