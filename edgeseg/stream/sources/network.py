"""Cameras on a network: RTSP, and video or a series of JPEGs over HTTP."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Generator
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from edgeseg.data.uri import split_scheme, without_password
from edgeseg.errors import MissingDependency, SourceLost
from edgeseg.stream.source import Captured, Source
from edgeseg.stream.sources.network_errors import ANSWER_S, SILENCE_S, break_reason, place_of, refusal

if TYPE_CHECKING:
    import av

__all__ = ["NetworkSource"]

UInt8 = npt.NDArray[np.uint8]
#: So many damaged frames in a row are no bad luck, but a stream that has to be opened again.
DAMAGED_IN_ROW = 100
DEFAULT_FPS = 25.0
#: An HTTP address may turn out to be a playlist, which must not name files of this machine.
PROTOCOLS = {
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsp,rtsps,rtp,udp,tcp,tls",
    "http": "http,https,httpproxy,tcp,tls,crypto",
    "https": "http,https,httpproxy,tcp,tls,crypto",
}


class NetworkSource(Source):
    """A network camera, read by FFmpeg over TCP.

    Frames carry the time at which their first part arrived. H.264 and H.265 over RTSP are decoded one frame later, as
    FFmpeg takes a frame as whole when the next begins. A recording over HTTP is played at its own pace, and ends.
    """

    live = True

    def __init__(self, uri: str, *, first: int = 0) -> None:
        """Open the camera.

        Args:
            uri: `rtsp://user:password@host:554/path`, or `rtsps`, `http`, `https`.
            first: Number of the first frame.

        Raises:
            UsageError: The address names no host.
            SourceLost: Nothing answers there, it lets nobody in, or it has no video.
            MissingDependency: PyAV is not installed.
        """
        super().__init__()
        av = _import_av()
        self.name = place_of(uri).name
        self._next = first
        self._damaged = 0
        self._whole = False
        self._begin_ns = time.monotonic_ns()
        try:
            self._container = av.open(_quoted(uri), options=_options(uri), timeout=(ANSWER_S, SILENCE_S))
        except av.FFmpegError as error:
            raise refusal(error, uri, (time.monotonic_ns() - self._begin_ns) / 1e9) from None
        if not self._container.streams.video:
            self._container.close()
            raise SourceLost(
                f"'{without_password(uri)}' has no video.", hint="Is it the path of a camera's sound alone?"
            )
        self._stream = self._container.streams.video[0]
        self._prepare()
        self._frames = self._decoded()

    def _prepare(self) -> None:
        """Take over what the stream states of itself, and have it decoded without delay."""
        from av.codec.context import Flags
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        decoder = self._stream.codec_context
        decoder.flags |= Flags.low_delay
        if decoder.name == "mjpeg":
            decoder.options = {"err_detect": "explode"}  # Else the rest of a picture that was cut off is made up.
        stated = self._stream.average_rate
        self.fps = float(stated) if stated and 1 <= stated <= 240 else DEFAULT_FPS
        self.frame_hw = (decoder.height, decoder.width) if decoder.height and decoder.width else None
        # A camera's RTSP may state any duration.
        self._recorded = self._container.format.name != "rtsp" and self._container.duration is not None
        self.total = self._stream.frames or None if self._recorded else None
        # Pictures of a series come whole, and have times that are too coarse for latencies.
        time_base = self._stream.time_base
        self._tick_s = float(time_base) if time_base and time_base <= 1e-3 else math.nan

    def read(self, out: UInt8 | None = None) -> Captured | None:
        """See `Source.read`. Damaged frames have no pixels. While it waits for a packet it does not see `stop`.

        Raises:
            SourceLost: The stream ended or broke off, or holds nothing but damaged frames.
        """
        import av

        if self._stopped.is_set():
            return None
        try:
            found = next(self._frames, None)
        except av.FFmpegError as error:
            raise SourceLost(f"'{self.name}' broke off: {break_reason(error)}.") from None
        if found is None:
            if self._recorded or self._stopped.is_set():
                return None
            raise SourceLost(f"'{self.name}' broke off: the camera ended the stream.")
        frame, captured_ns = found
        self._damaged = self._damaged + 1 if frame is None else 0
        if self._damaged >= DAMAGED_IN_ROW:
            raise SourceLost(
                f"'{self.name}' broke off: the last {DAMAGED_IN_ROW} frames were damaged.",
                hint="Is the network too slow for it? Give the camera a lower bit rate.",
            )
        pixels = self._converted(frame, out) if frame is not None else None
        sequence, self._next = self._next, self._next + 1
        return Captured(pixels, sequence, captured_ns, f"{self.name}-{sequence:06d}", self.name, "arrival")

    def close(self) -> None:
        """See `Source.close`."""
        self._frames.close()
        self._container.close()

    def _decoded(self) -> Generator[tuple[av.VideoFrame | None, int], None, None]:
        """Frames as they come, None where one is damaged, and when they arrived by `time.monotonic_ns()`."""
        import av

        begin, count = time.monotonic(), 0
        for packet in self._container.demux(self._stream):
            arrived_ns = time.monotonic_ns()
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                if self._whole:  # Who joins between key frames can decode nothing yet.
                    yield None, arrived_ns
                continue
            for frame in frames:
                if self._recorded:
                    self._stopped.wait(max(0.0, begin + count / self.fps - time.monotonic()))
                    count, arrived_ns = count + 1, time.monotonic_ns()
                captured_ns, self._whole = self._first_part_ns(frame, arrived_ns), True
                yield None if packet.is_corrupt or frame.is_corrupt else frame, captured_ns

    def _first_part_ns(self, frame: av.VideoFrame, arrived_ns: int) -> int:
        """When the first part of a frame arrived, which FFmpeg notes in place of the camera's own time."""
        if self._recorded or math.isnan(self._tick_s):
            return arrived_ns
        if frame.pts is None:  # That of the first is lost; it came while the stream was opened.
            return arrived_ns if self._whole else self._begin_ns
        age_ns = time.time_ns() - int(frame.pts * self._tick_s * 1e9)
        noted_ns = time.monotonic_ns() - age_ns
        # A clock that was set meanwhile gives nonsense.
        return noted_ns if 0 <= arrived_ns - noted_ns < SILENCE_S * 1e9 else arrived_ns

    def _converted(self, frame: av.VideoFrame, out: UInt8 | None) -> UInt8:
        """The frame as `(H, W, 3)` uint8 BGR, in `out` where that fits."""
        picture = self._reformatter.reformat(frame, format="bgr24")
        shape = (picture.height, picture.width, 3)
        plane = picture.planes[0]
        lines: UInt8 = np.ndarray(shape, np.uint8, memoryview(plane), strides=(plane.line_size, 3, 1))
        pixels = out if out is not None and out.shape == shape else np.empty(shape, np.uint8)
        np.copyto(pixels, lines)
        return pixels


def _import_av() -> ModuleType:
    try:
        import av
        import av.logging
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "Network cameras are read by PyAV, which is not installed.", hint="Install it: pip install 'edgeseg[video]'"
        ) from error
    av.logging.set_level(None)  # FFmpeg's own lines show whole addresses.
    return av


def _options(uri: str) -> dict[str, str]:
    """What FFmpeg is told to open `uri` with."""
    return {
        "rtsp_transport": "tcp",
        "allowed_media_types": "video",
        "protocol_whitelist": PROTOCOLS[split_scheme(uri)[0]],
        # Half a second and three frames are enough to know size and rate. What comes meanwhile is kept: with `nobuffer`
        # it is thrown away, the key frame too, and the first picture waits for the next.
        "analyzeduration": "500000",
        "probesize": "1000000",
        "fpsprobesize": "3",
        "use_wallclock_as_timestamps": "1",
    }


def _quoted(uri: str) -> str:
    """The address with its password percent-encoded where it holds what FFmpeg would take for the end of the host."""
    found = re.fullmatch(r"([^:/]+://)([^:/?#@]+):(.*)@([^@]*)", uri, re.DOTALL)
    if found is None:
        return uri
    scheme, user, password, rest = found.groups()
    if not re.search(r"[/?#]", password) or re.match(r"\d+[/?#]", password):
        return uri  # What follows the host's name is its port, and the path has an @.
    return f"{scheme}{user}:{quote(password, safe='%')}@{rest}"
