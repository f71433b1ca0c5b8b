"""A video of the overlays."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg.card import Resize
from edgeseg.data.resize import resize_frame
from edgeseg.data.video import VideoFile
from edgeseg.errors import EdgesegError, SourceLost
from edgeseg.stream.sink import Segmented, Sink
from edgeseg.stream.sinks.encoders import Encoder, open_encoder
from edgeseg.stream.sinks.recording import Recording

__all__ = ["VideoSink"]

UInt8 = npt.NDArray[np.uint8]


class VideoSink(Sink):
    """A video of the overlays. It appears in its place when it is closed, whole; see `Recording`."""

    def __init__(self, path: Path, fps: float, *, by_capture_time: bool = False) -> None:
        """Make the file. Its size is that of the first frame.

        Args:
            path: Of the video, `.mp4`.
            fps: Frames per second that the video states.
            by_capture_time: Each frame is shown when it was captured, as of a camera that leaves frames out; else all
                are shown for the same time.

        Raises:
            EdgesegError: Another process is recording to `path`.
            OSError: No file can be made there.
        """
        self.output = str(path)
        self._fps = fps
        self._by_capture_time = by_capture_time
        self._recording: Recording | None = Recording(path)
        self._encoder: Encoder | None = None
        self._fitted: UInt8 = np.empty((0, 0, 3), np.uint8)

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`. A picture of another size than the first is letterboxed into the video."""
        if self._recording is None:
            raise EdgesegError(f"The video {self.output} is closed and takes no more frames.")
        picture = segmented.overlay
        if picture.shape != self._fitted.shape and self._encoder is not None:
            picture = resize_frame(picture, self._fitted.shape[:2], Resize("letterbox"), self._fitted)
        try:
            if self._encoder is None:
                self._fitted = np.empty_like(picture)
                self._encoder = open_encoder(self._recording, picture.shape[:2], self._fps, self._by_capture_time)
            self._encoder.write(picture, segmented.captured.captured_ns)
        except EdgesegError:
            self._give_up()
            raise

    def close(self) -> None:
        """See `Sink.close`."""
        if self._recording is None:
            return
        if self._encoder is None:
            self._recording.discard()
        else:
            try:
                self._encoder.close()
            except EdgesegError:
                self._encoder = None
                self._give_up()
                raise
            self._recording.finish()
        self._recording = None

    def _give_up(self) -> None:
        """End a recording that can't go on; what plays of it is kept beside its place."""
        recording, self._recording = self._recording, None
        if recording is None:
            return
        if self._encoder is not None:
            with contextlib.suppress(EdgesegError):
                self._encoder.close()
        if _plays(recording.part):
            recording.cut_off("could not be finished")
        else:
            recording.discard()


def _plays(path: Path) -> bool:
    try:
        with VideoFile(path) as video:
            return video.read() is not None
    except SourceLost:
        return False
