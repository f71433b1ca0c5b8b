"""The stream: frames from a source, through a session, into sinks."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeGuard

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends.session import Session, Ticket
from edgeseg.data.resize import frame_for_card, restore_class_map
from edgeseg.errors import SourceLost, UsageError
from edgeseg.labels import LabelSet
from edgeseg.stream.overlay import Overlay
from edgeseg.stream.sinks import Sink
from edgeseg.stream.sources import Captured, Source

__all__ = ["Dropped", "FrameAge", "StreamReport", "run_stream"]

UInt8 = npt.NDArray[np.uint8]
logger = logging.getLogger(__name__)

#: A live source is counted as stalled after this time without a frame, or three frames' time if that is longer.
STALL_S = 2.0
#: Times are told of so many last frames, so that a stream may run for months.
REMEMBERED = 8192


class Dropped(msgspec.Struct):
    """Frames that were captured and not inferred, by reason.

    Attributes:
        newest: Replaced by a newer one before they were read.
        corrupt: Arrived damaged.
        stale: Too old when their turn came.
        skipped: Left out on purpose.
    """

    newest: int = 0
    corrupt: int = 0
    stale: int = 0
    skipped: int = 0


class FrameAge(msgspec.Struct):
    """Milliseconds from capture until all sinks had the result. NaN without a frame."""

    p50: float
    p95: float
    p99: float


class StreamReport(msgspec.Struct):
    """What became of the frames; captured = inferred + all that were dropped.

    Attributes:
        announced: Frames that the source said it has; a video that was cut off gives fewer. None where it has no end.
        captured, inferred, shown: Frames that the source took, that went through the session, that the sinks got.
        dropped: The others, by reason.
        fps: Shown frames over the time from the first read to the last write.
        frame_age_ms: Of the last 8192 frames.
        stage_ms: Median by stage of the last 8192 frames: `capture`, `resize`, `inference` (and what else the backend
            tells), `draw`, `write`. Stages overlap, so that their sum is no period.
        stalls: How often a live source was silent for too long.
        reconnects: How often a source was opened again.
        outputs: Where the results lie.
    """

    announced: int | None
    captured: int
    inferred: int
    shown: int
    dropped: Dropped
    fps: float
    frame_age_ms: FrameAge
    stage_ms: dict[str, float]
    stalls: int
    reconnects: int
    outputs: list[str]


def run_stream(
    session: Session,
    source: Source,
    sinks: Sequence[Sink],
    *,
    opacity: float = 0.5,
    limit: int | None = None,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> StreamReport:
    """Segment the frames of a source, until it ends, `limit` frames were started, or `stop` says True.

    While a frame is inferred, the one before is drawn and written, and the one after is read and resized. A live
    source gets each frame shown before the next is awaited, so that no result waits for a newer frame.

    Args:
        session: For class maps of one frame at a time. Stays open.
        source: Stays open.
        sinks: Closed at the end, also after an error: what they have until then is kept.
        opacity: Of the overlay's colours, 0 to 1.
        on_progress: Told the frames done and, as far as it is known, their total, after each frame.
        stop: Once it says True, frames under way are finished and no more are read.

    Raises:
        UsageError: The engine takes several frames at a time, or the opacity is out of its range.
        SourceLost: The source ended without a frame that could be used.
        EdgesegError: The session or a sink failed.
    """
    total = min((n for n in (limit, source.total) if n is not None), default=None)
    with contextlib.ExitStack() as stack:
        for sink in sinks:
            stack.callback(sink.close)
        stream = _Stream(session, source, sinks, opacity)
        while not stop() and (limit is None or stream.inferred < limit) and stream.step():
            on_progress(stream.shown, total)
        stream.drain()
    if not stream.inferred and not stop():
        raise SourceLost(f"Not one of {stream.captured} frames of '{source.name}' could be used.")
    if stream.dropped.corrupt:
        logger.warning("%d of %d frames were damaged and left out.", stream.dropped.corrupt, stream.captured)
    return stream.report()


class _Stream:
    """The state of one run: frames under way, counts and times."""

    def __init__(self, session: Session, source: Source, sinks: Sequence[Sink], opacity: float) -> None:
        if session.card.batch != 1:
            raise UsageError(f"This engine takes {session.card.batch} frames at a time; a stream gives one.")
        self.captured = self.inferred = self.shown = self.stalls = 0
        self.dropped = Dropped()
        self._session, self._source, self._sinks = session, source, sinks
        self._preprocess = session.card.preprocess
        self._overlay = Overlay(LabelSet(session.card.classes, session.card.palette), opacity)
        self._draws = any(sink.wants == "overlay" for sink in sinks)
        self._class_map: UInt8 = np.empty((0, 0), np.uint8)
        self._depth = 1 if source.live else 2
        self._under_way: deque[tuple[Captured, UInt8, Ticket]] = deque()
        self._spare: deque[UInt8] = deque(maxlen=3)
        self._times: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._ages: deque[float] = deque(maxlen=REMEMBERED)
        self._begin_ns = self._end_ns = time.monotonic_ns()

    def step(self) -> bool:
        """Read and start one frame and finish what must be finished for the next; False at the source's end."""
        captured = self._capture()
        if captured is None:
            return False
        if not _is_frame(captured.pixels):
            self.dropped.corrupt += 1
            return True
        with self._timed("resize"):
            frame_for_card(captured.pixels, self._preprocess, self._buffer_for(captured.pixels))
        self._under_way.append((captured, captured.pixels, self._session.submit()))
        self.inferred += 1
        if len(self._under_way) == self._depth:
            self._finish()
        return True

    def _buffer_for(self, frame: UInt8) -> UInt8:
        """Where the frame goes. A session that resizes takes frames of one size alone."""
        buffer: UInt8 = self._session.input_buffer()[0]
        given, wanted = frame.shape[:2], buffer.shape[:2]
        if given != wanted != self._session.card.size_hw:
            raise UsageError(
                f"Frames of {wanted[1]}x{wanted[0]} were to be resized on the GPU, and one is {given[1]}x{given[0]}.",
                hint="Let the processor resize: leave out --gpu-resize.",
            )
        return buffer

    def drain(self) -> None:
        """Finish all frames under way."""
        while self._under_way:
            self._finish()

    def report(self) -> StreamReport:
        """Counts and times so far."""
        seconds = (self._end_ns - self._begin_ns) / 1e9
        ages = np.percentile(self._ages, (50, 95, 99)) if self._ages else np.full(3, np.nan)
        return StreamReport(
            announced=self._source.total,
            captured=self.captured,
            inferred=self.inferred,
            shown=self.shown,
            dropped=self.dropped,
            fps=self.shown / seconds if seconds > 0 else 0.0,
            frame_age_ms=FrameAge(*(float(age) for age in ages)),
            stage_ms={stage: float(np.median(times)) for stage, times in self._times.items()},
            stalls=self.stalls,
            reconnects=0,
            outputs=[sink.output for sink in self._sinks if sink.output],
        )

    def _capture(self) -> Captured | None:
        begin = time.monotonic()
        with self._timed("capture"):
            captured = self._source.read(self._spare.pop() if self._spare else None)
        waited = time.monotonic() - begin
        if self._source.live and waited > max(STALL_S, 3 / self._source.fps):
            self.stalls += 1
            logger.warning("'%s' was silent for %.1f s.", self._source.name, waited)
        if captured is not None:
            self.dropped.newest += captured.sequence - self.captured
            self.captured = captured.sequence + 1
        return captured

    def _finish(self) -> None:
        """Take the oldest result and hand it to the sinks."""
        captured, pixels, ticket = self._under_way.popleft()
        small = ticket.result()[0]
        for stage, ms in ticket.stage_ms.items():
            self._times[stage].append(ms)
        with self._timed("draw"):
            pictures = self._draw(pixels, small)
        with self._timed("write"):
            for sink in self._sinks:
                sink.write(captured, pictures[sink.wants])
        self._spare.append(pixels)
        self._end_ns = time.monotonic_ns()
        self._ages.append((self._end_ns - captured.captured_ns) / 1e6)
        self.shown += 1

    def _draw(self, pixels: UInt8, small: UInt8) -> dict[str, UInt8]:
        size = (pixels.shape[0], pixels.shape[1])
        if self._class_map.shape != size:
            self._class_map = np.empty(size, np.uint8)
        class_map = restore_class_map(small, size, self._preprocess.resize, self._class_map)
        pictures = {"class_map": class_map}
        if self._draws:
            pictures["overlay"] = self._overlay.draw(pixels, class_map)
        return pictures

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter_ns()
        yield
        self._times[stage].append((time.perf_counter_ns() - begin) / 1e6)


def _is_frame(pixels: UInt8 | None) -> TypeGuard[UInt8]:
    """Some drivers report success and give an empty or foreign array after a camera is gone."""
    return (
        pixels is not None
        and pixels.ndim == 3
        and pixels.shape[2] == 3
        and pixels.dtype == np.uint8
        and pixels.size > 0
    )
