"""What makes a video file of pictures: FFmpeg through PyAV, or OpenCV where that is not installed."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.data.video import VideoFile
from edgeseg.errors import EdgesegError, SourceLost
from edgeseg.stream.sinks.recording import Recording

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["Encoder", "OpenCvEncoder", "PyAvEncoder", "open_encoder"]

logger = logging.getLogger(__name__)
UInt8 = npt.NDArray[np.uint8]

#: Of all that OpenCV's wheels can write, this plays in most players: they hold no H.264 encoder.
_FALLBACK = "mp4v"
#: A second thread costs processor time and makes a picture of a camera's size no sooner.
_THREADS = 1
_CODECS = {
    "libx264": {"preset": "ultrafast", "tune": "zerolatency"},
    # By default it keeps to a bit rate that suits small pictures alone.
    "mpeg4": {"qmin": "3", "qmax": "6", "b": "8M"},
}
#: Fragments while it grows, so that what lies on disk plays. One with a plain index once it is closed (FFmpeg 8), for
#: which the place of every frame is kept in memory; the other for recordings that may have no end.
_INDEXED, _ENDLESS = "hybrid_fragmented+frag_keyframe", "frag_keyframe+empty_moov"
_TICKS = 90_000
_DISK_FULL = "Is the disk full?"
_SECOND_NS = 10**9


class Encoder(Protocol):
    """Takes pictures of one size, and writes them to a recording's file."""

    def write(self, picture: UInt8, captured_ns: int) -> None:
        """Add a picture, `(H, W, 3)` uint8 BGR, that was captured at that time."""
        ...

    def close(self) -> None:
        """Write what is left.

        Raises:
            EdgesegError: Not all frames are in the file.
        """
        ...


def open_encoder(recording: Recording, size_hw: tuple[int, int], fps: float, by_capture_time: bool) -> Encoder:
    """The best encoder there is.

    Args:
        recording: The file to write to.
        size_hw: Of the pictures, pixels.
        fps: Frames per second that the video states.
        by_capture_time: Each picture is shown when it was captured, else for the same time.

    Raises:
        EdgesegError: There is no way to write such a video.
    """
    try:
        import av  # noqa: F401
    except ModuleNotFoundError:
        logger.warning(
            "A recording that is killed is lost, and its pace is even: pip install 'edgeseg[video]' mends both."
        )
        return OpenCvEncoder(recording, size_hw, fps)
    return PyAvEncoder(recording, size_hw, fps, by_capture_time)


class OpenCvEncoder:
    """MPEG-4 at an even pace. What it writes does not play before it is closed."""

    def __init__(self, recording: Recording, size_hw: tuple[int, int], fps: float) -> None:
        """See `open_encoder`."""
        self._recording = recording
        self._frames = 0
        height, width = size_hw
        codec = cv2.VideoWriter.fourcc(*_FALLBACK)
        self._writer = cv2.VideoWriter(str(recording.part), codec, fps, (width, height))
        if not self._writer.isOpened():
            raise EdgesegError(f"OpenCV can't write a video of {width}x{height} pixels to {recording.path}.")

    def write(self, picture: UInt8, captured_ns: int) -> None:
        """See `Encoder.write`."""
        self._writer.write(picture)
        self._frames += 1

    def close(self) -> None:
        """See `Encoder.close`. OpenCV reports no error in writing, such as a full disk: what arrived is counted."""
        self._writer.release()
        try:
            with VideoFile(self._recording.part) as video:
                arrived = video.announced
        except SourceLost:
            arrived = 0
        if arrived != self._frames:
            raise EdgesegError(
                f"Of {self._frames} frames {arrived} could be written to {self._recording.path}.",
                hint=_DISK_FULL,
            )


class PyAvEncoder:
    """H.264, else MPEG-4, with a fragment on disk for each second."""

    def __init__(self, recording: Recording, size_hw: tuple[int, int], fps: float, by_capture_time: bool) -> None:
        """See `open_encoder`."""
        self._recording = recording
        rate = Fraction(fps).limit_denominator(1001)
        self._tick = Fraction(1, _TICKS) if by_capture_time else 1 / rate
        self._duration = round(1 / rate / self._tick)
        self._by_capture_time = by_capture_time
        height, width = size_hw
        # The colours of two lines and two columns are one in the video, so its sides are even.
        self._even = np.empty((height + height % 2, width + width % 2, 3), np.uint8)
        self._planes = np.empty((self._even.shape[0] * 3 // 2, self._even.shape[1]), np.uint8)
        self._frames = self._fragments = 0
        self._last = self._begin_ns = 0
        self._syncs = ThreadPoolExecutor(1, "fdatasync")
        self._synced: Future[None] | None = None
        with _told(recording):
            self._container, self._stream = self._open(rate)

    def write(self, picture: UInt8, captured_ns: int) -> None:
        """See `Encoder.write`. Each second begins with a key frame, and brings the second before it to the disk."""
        from av import VideoFrame
        from av.video.frame import PictureType

        if not self._frames:
            self._begin_ns = captured_ns
        frame = VideoFrame.from_ndarray(self._converted(picture), "yuv420p")
        frame.pts, frame.time_base = self._next_pts(captured_ns), self._tick
        second = math.floor(frame.pts * self._tick)
        begins = second >= self._fragments or not self._frames
        if begins:
            self._fragments = second + 1
            frame.pict_type = PictureType.I
        with _told(self._recording):
            self._mux(frame)
            if begins:
                self._sync()
        self._last, self._frames = frame.pts, self._frames + 1

    def close(self) -> None:
        """See `Encoder.close`."""
        self._syncs.shutdown()
        with _told(self._recording), contextlib.closing(self._container):
            self._mux(None)
        if not _ends_whole(self._recording.part):  # FFmpeg 7.0 tells no error in writing the end.
            raise EdgesegError(f"The end of the video {self._recording.path} can't be written.", hint=_DISK_FULL)

    def _mux(self, frame: VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            packet.duration = packet.duration or self._duration
            self._container.mux(packet)

    def _open(self, rate: Fraction) -> tuple[OutputContainer, VideoStream]:
        """The file with its header; FFmpeg refuses options that it does not know."""
        if not self._by_capture_time:
            with contextlib.suppress(ValueError):
                return self._start(_INDEXED, rate)
        return self._start(_ENDLESS, rate)

    def _start(self, movflags: str, rate: Fraction) -> tuple[OutputContainer, VideoStream]:
        import av

        options = {"movflags": movflags, "flush_packets": "1"}
        container = av.open(str(self._recording.part), "w", format="mp4", options=options)
        try:
            stream = self._add_stream(container, rate)
            container.start_encoding()
        except BaseException:
            container.close()
            raise
        return container, stream

    def _add_stream(self, container: OutputContainer, rate: Fraction) -> VideoStream:
        import av

        codec = next(name for name in _CODECS if name in av.codecs_available)
        stream = cast("VideoStream", container.add_stream(codec, rate=rate, options=dict(_CODECS[codec])))
        context = stream.codec_context
        context.height, context.width = self._even.shape[:2]
        context.pix_fmt, context.thread_count = "yuv420p", _THREADS
        context.time_base = stream.time_base = self._tick
        context.gop_size = 600  # The most there is: key frames are asked for, by time.
        context.colorspace, context.color_range = 6, 1  # BT.601 in 16 to 235, as OpenCV converts.
        return stream

    def _converted(self, picture: UInt8) -> UInt8:
        """Brightness and colours in planes; by OpenCV, in less than half of the time that FFmpeg takes."""
        if picture.shape != self._even.shape:
            cv2.copyMakeBorder(
                picture, 0, picture.shape[0] % 2, 0, picture.shape[1] % 2, cv2.BORDER_REPLICATE, dst=self._even
            )
            picture = self._even
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420, dst=self._planes))

    def _next_pts(self, captured_ns: int) -> int:
        if not self._frames:
            return 0
        if not self._by_capture_time:
            return self._last + 1
        return max(self._last + 1, (captured_ns - self._begin_ns) * _TICKS // _SECOND_NS)

    def _sync(self) -> None:
        """Bring what is written to the disk, in a thread of its own: cards take long."""
        if self._synced is None or self._synced.done():
            if self._synced is not None:
                self._synced.result()
            self._synced = self._syncs.submit(self._recording.sync)


def _ends_whole(path: Path) -> bool:
    """Whether the boxes that an MP4 file is made of end where the file does."""
    size, end = path.stat().st_size, 0
    with path.open("rb") as file:
        while end < size:
            file.seek(end)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:], "big")
            if length < 8:
                return False
            end += length
    return end == size > 0


@contextlib.contextmanager
def _told(recording: Recording) -> Iterator[None]:
    """Turn FFmpeg's errors into one that says what could not be written."""
    import av

    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        hint = _DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO) else ""
        raise EdgesegError(f"The video {recording.path} can't be written on: {error.strerror}.", hint=hint) from error
