"""The thread that reads frames and puts them through the session."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.backends.session import Array, Session, Ticket
from edgeseg.data.resize import frame_for_card
from edgeseg.errors import EdgesegError, UsageError
from edgeseg.stream.meter import Meter
from edgeseg.stream.options import StreamOptions
from edgeseg.stream.roi import Region
from edgeseg.stream.slot import Slot
from edgeseg.stream.source import Captured, Source, frame_of

__all__ = ["Answer", "Inference", "SessionHangs"]

UInt8 = npt.NDArray[np.uint8]
logger = logging.getLogger(__name__)
#: A live source's frame that is older than this is not inferred: it would be shown as if it were live.
STALE_S = 2.0
#: Seconds between two looks for an answer, and until a session that gives none is given up.
LOOK_S = 0.25
DEADLINE_S = 10.0


class SessionHangs(EdgesegError):
    """The session has not answered for so long that it never will; only the end of the process frees what it holds."""


@dataclass
class Answer:
    """What the session gave for a frame.

    Attributes:
        captured: The frame.
        pixels: Its pixels, which are given back to the source when the frame is done with.
        small: Class map `(h, w)` uint8 or logits `(C, h, w)` float32; a buffer that is used again after `done`.
        stage_ms: Milliseconds by stage so far.
    """

    captured: Captured
    pixels: UInt8
    small: Array
    stage_ms: dict[str, float]


class Inference(threading.Thread):
    """Reads, resizes and infers, and leaves the answers in a slot, until the source ends or it is told to stop.

    A live source gets each answer before the next frame is awaited, so that no result waits for a newer frame; of
    others a frame is read and resized while the one before is inferred.

    Args:
        session: Used by this thread alone while it runs.
        source: The same.
        answers: Where the answers go. It is ended with this thread.
        meter: For counts and times.
        options: What is asked for.
        region: What of each frame the network sees.

    Attributes:
        error: What ended it before its time.
    """

    def __init__(
        self,
        session: Session,
        source: Source,
        answers: Slot[Answer],
        meter: Meter,
        options: StreamOptions,
        region: Region,
    ) -> None:
        super().__init__(name="edgeseg-inference", daemon=True)
        self.error: BaseException | None = None
        self._session, self._source, self._answers, self._meter = session, source, answers, meter
        self._preprocess, self._batch = session.card.preprocess, len(session.input_buffer())
        self._region, self._limit = region, options.limit
        self._asks, self._silent = False, 0
        self._stopped = False
        self._skipper = Skipper(source, options.target_fps)
        self._damage = Damage(source.name)
        self._depth = 1 if source.live else 2
        self._under_way: deque[tuple[list[tuple[Captured, UInt8]], Ticket, dict[str, float]]] = deque()
        self._spare: deque[UInt8] = deque()
        self._small: deque[Array] = deque()

    def run(self) -> None:
        """See the class. What ends it before its time lies in `error`."""
        try:
            while self._step():
                pass
        except BaseException as error:
            self.error = error
        try:
            while self._under_way:
                self._finish()
        except BaseException as error:
            self.error = self.error or error
        finally:
            self._answers.end()

    def stop(self) -> None:
        """Finish the frames under way and read no more. Called by any thread."""
        self._stopped = True
        self._source.stop()

    def is_silent(self) -> None:
        """There was no answer for another `LOOK_S`. Counted, not timed: a process may be stopped, and go on later.

        Raises:
            SessionHangs: That was for 10 s while the session was asked.
        """
        self._silent = self._silent + 1 if self._asks else 0
        self.check()

    def check(self) -> None:
        """Raises SessionHangs where the session hangs."""
        if self.hangs:
            raise SessionHangs(
                f"The engine has not answered for {DEADLINE_S:.0f} s: it hangs, or this machine is too slow for it.",
                hint="edgeseg doctor looks at the machine; the engine's driver tells in dmesg what went wrong.",
            )

    @property
    def hangs(self) -> bool:
        """Whether the session will never answer, so that this thread never ends."""
        return self._silent * LOOK_S >= DEADLINE_S

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        self._asks = True
        try:
            yield
        finally:
            self._asks, self._silent = False, 0

    def done(self, answer: Answer) -> None:
        """Take back the buffers of an answer. Called by the thread that takes answers."""
        self._spare.append(answer.pixels)
        self._small.append(answer.small)

    def _step(self) -> bool:
        """Start one round of frames, and finish what must be finished for the next; False at the end."""
        times: dict[str, float] = {}
        frames = self._gather(times)
        if frames:
            with self._meter.timed("resize", times):
                buffers = self._session.input_buffer()
                for buffer, (captured, pixels) in zip(buffers, frames, strict=False):
                    self._resize(captured.source, pixels, buffer)
            with self._asking():
                ticket = self._session.submit()
            self._under_way.append((frames, ticket, times))
            for captured, _ in frames:
                self._meter.submitted(captured)
            if len(self._under_way) == self._depth:
                self._finish()
        return len(frames) == self._batch or (bool(frames) and self._source.live)

    def _gather(self, times: dict[str, float]) -> list[tuple[Captured, UInt8]]:
        """The next frames that can be used, as many as the session takes; fewer at the end or where none are ready."""
        frames: list[tuple[Captured, UInt8]] = []
        while len(frames) < self._batch and not self._stopped and not self._is_enough(len(frames)):
            if frames and self._source.live and not self._source.ready():
                break
            with self._meter.timed("capture", times):
                captured = self._source.read(self._spare.popleft() if self._spare else None)
            if captured is None:
                break
            pixels = self._looked_at(captured)
            if pixels is not None:
                frames.append((captured, pixels))
        return frames

    def _is_enough(self, more: int) -> bool:
        return self._limit is not None and self._meter.inferred + more >= self._limit

    def _looked_at(self, captured: Captured) -> UInt8 | None:
        """The pixels of a frame that is to be inferred; of others it is noted why not."""
        self._meter.captured(captured)
        pixels = frame_of(captured.pixels)
        late_s = (time.monotonic_ns() - captured.captured_ns) / 1e9
        self._damage.note(pixels is None)
        if pixels is None:
            self._meter.dropped(captured, "corrupt")
        elif self._is_live(captured) and late_s > STALE_S:
            self._meter.dropped(captured, "stale")
        elif self._skipper.skips(captured):
            self._meter.dropped(captured, "skipped")
        else:
            return pixels
        if captured.pixels is not None:
            self._spare.append(captured.pixels)
        return None

    def _is_live(self, captured: Captured) -> bool:
        of_parts = (part.live for part in self._source.parts if part.name == captured.source)
        return next(of_parts, self._source.live)

    def _resize(self, source: str, pixels: UInt8, buffer: UInt8) -> None:
        """Put a frame into its buffer. A session that resizes takes frames of one size alone."""
        pixels = self._region.window(source, (pixels.shape[0], pixels.shape[1])).of(pixels)
        given, wanted = pixels.shape[:2], buffer.shape[:2]
        if given != wanted != self._session.card.size_hw:
            raise UsageError(
                f"Frames of {wanted[1]}x{wanted[0]} were to be resized on the GPU, and one is {given[1]}x{given[0]}.",
                hint="Let the processor resize: leave out --gpu-resize.",
            )
        frame_for_card(pixels, self._preprocess, buffer)

    def _finish(self) -> None:
        """Take the oldest answers and hand them on."""
        frames, ticket, times = self._under_way.popleft()
        with self._asking():
            answers = ticket.result()
        for stage, ms in ticket.stage_ms.items():
            self._meter.took(stage, ms)
            times[stage] = ms
        for (captured, pixels), answer in zip(frames, answers, strict=False):
            small = self._small.popleft() if self._small else np.empty_like(answer)
            np.copyto(small, answer)
            answer_of = Answer(captured, pixels, small, times)
            left = self._answers.put(answer_of, captured.source, waits=not self._is_live(captured))
            if left is not None:
                self.done(left)


class Damage:
    """Warns, once a minute at most, while more than 30 % of the frames of the last ten seconds arrive damaged."""

    SHARE, SECONDS, AT_LEAST, SILENT_S = 0.3, 10.0, 20, 60.0

    def __init__(self, name: str) -> None:
        self._name = name
        self._recent: deque[tuple[float, bool]] = deque()
        self._damaged = 0
        self._warned = -math.inf

    def note(self, damaged: bool) -> None:
        """A frame arrived."""
        now = time.monotonic()
        self._recent.append((now, damaged))
        self._damaged += damaged
        while self._recent[0][0] < now - self.SECONDS:
            self._damaged -= self._recent.popleft()[1]
        count = len(self._recent)
        if self._damaged > self.SHARE * count and count >= self.AT_LEAST and now - self._warned > self.SILENT_S:
            self._warned = now
            logger.warning(
                "'%s': %d of the last %d frames arrived damaged. Is its cable, or the network, at its limit?",
                self._name, self._damaged, count,
            )  # fmt: skip


class Skipper:
    """Leaves out frames, evenly, so that of each source no more than some are inferred in a second."""

    def __init__(self, source: Source, target_fps: float | None) -> None:
        self._fps = 0.0 if source.live else source.fps
        self._period = 1 / target_fps if target_fps else 0.0
        self._due: dict[str, float] = {}

    def skips(self, captured: Captured) -> bool:
        """Whether a frame comes before its time: by its place in a file, by its capture else."""
        if not self._period:
            return False
        now = captured.sequence / self._fps if self._fps else captured.captured_ns / 1e9
        due = self._due.get(captured.source, now)
        if now < due - 0.1 * self._period:
            return True
        self._due[captured.source] = max(due, now - 0.5 * self._period) + self._period
        return False
