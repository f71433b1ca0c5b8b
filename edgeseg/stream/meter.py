"""Counts and times of a stream."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np

from edgeseg.stream.report import Dropped, FrameAge, SourceReport, StreamReport
from edgeseg.stream.source import Captured, Clock, Source
from edgeseg.timing import process_age_s

__all__ = ["Meter", "Reason"]

#: Times are told of so many last frames, so that a stream may run for months.
REMEMBERED = 8192
#: Recent frames a second are those of so many seconds.
RECENT_S = 5.0
Reason = Literal["corrupt", "stale", "skipped"]


class _Times:
    """The last times of one kind, milliseconds. One thread adds while another looks."""

    def __init__(self) -> None:
        self._ms = np.full(REMEMBERED, np.nan)
        self._count = 0

    def add(self, ms: float) -> None:
        self._ms[self._count % REMEMBERED] = ms
        self._count += 1

    def percentiles(self) -> FrameAge:
        if not self._count:
            return FrameAge(np.nan, np.nan, np.nan)
        return FrameAge(*(float(ms) for ms in np.percentile(self._ms[: self._count], (50, 95, 99))))


@dataclass
class _Counts:
    """Of one source."""

    captured: int = 0
    inferred: int = 0
    dropped: Dropped = field(default_factory=Dropped)
    clock: Clock | None = None
    read_s: float = 0.0
    shown_s: float = 0.0


class Meter:
    """Filled by the threads of a stream, each of which has its own part of it; anyone may ask for a report.

    Attributes:
        inferred, shown: Frames so far.
        failed: Sinks that were switched off, and why.
    """

    def __init__(self, source: Source) -> None:
        self.inferred = self.shown = 0
        self.failed: dict[str, str] = {}
        self._source = source
        self._counts: dict[str, _Counts] = {}
        self._stages: dict[str, _Times] = {}
        self._class_map_age, self._shown_age = _Times(), _Times()
        self._cold_start_ms: float | None = None
        self._begin = self._end = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque([(self._begin, 0)])

    def captured(self, frame: Captured) -> None:
        """A frame was read; those between it and the one before were replaced by it."""
        counts = self._counts.setdefault(frame.source, _Counts())
        counts.dropped.newest += frame.sequence - counts.captured
        counts.captured = frame.sequence + 1
        counts.clock, counts.read_s = frame.clock, time.monotonic()

    def dropped(self, frame: Captured, reason: Reason) -> None:
        """A frame that was read is left out, for one of the reasons of `Dropped`."""
        dropped = self._counts[frame.source].dropped
        setattr(dropped, reason, getattr(dropped, reason) + 1)

    def submitted(self, frame: Captured) -> None:
        """A frame goes through the session."""
        self._counts[frame.source].inferred += 1
        self.inferred += 1

    def answered(self, frame: Captured) -> float:
        """The class map of a frame is there: milliseconds since its capture."""
        age_ms = (time.monotonic_ns() - frame.captured_ns) / 1e6
        self._class_map_age.add(age_ms)
        if self._cold_start_ms is None:
            self._cold_start_ms = process_age_s() * 1e3
        return age_ms

    def was_shown(self, frame: Captured) -> None:
        """All sinks have a frame's result."""
        self._end = self._counts[frame.source].shown_s = time.monotonic()
        self._shown_age.add((time.monotonic_ns() - frame.captured_ns) / 1e6)
        self.shown += 1

    def took(self, stage: str, ms: float) -> None:
        """A stage took so long for one frame, milliseconds."""
        if stage not in self._stages:
            self._stages = {**self._stages, stage: _Times()}  # Another thread may be looking at the one before.
        self._stages[stage].add(ms)

    @contextlib.contextmanager
    def timed(self, stage: str, into: dict[str, float] | None = None) -> Iterator[None]:
        """Measure what is done inside; `into` is told too."""
        begin = time.perf_counter_ns()
        yield
        ms = (time.perf_counter_ns() - begin) / 1e6
        self.took(stage, ms)
        if into is not None:
            into[stage] = ms

    def beats(self) -> int:
        """Goes up while frames are read and shown, or somebody waits for them."""
        read = sum(counts.captured for counts in tuple(self._counts.values()))
        return self.shown + read + sum(part.health.beats for part in self._source.parts)

    def report(self, outputs: Sequence[str] = ()) -> StreamReport:
        """Counts and times so far."""
        sources = [self._report_of(part) for part in self._source.parts]
        seconds = self._end - self._begin
        dropped = [msgspec.structs.asdict(source.dropped) for source in sources]
        return StreamReport(
            announced=self._source.total,
            captured=sum(source.captured for source in sources),
            inferred=sum(source.inferred for source in sources),
            shown=self.shown,
            dropped=Dropped(**{reason: sum(one[reason] for one in dropped) for reason in Dropped.__struct_fields__}),
            fps=self.shown / seconds if seconds > 0 else 0.0,
            recent_fps=self._recent_fps(),
            frame_age_ms=self._shown_age.percentiles(),
            class_map_age_ms=self._class_map_age.percentiles(),
            cold_start_ms=self._cold_start_ms,
            stage_ms={stage: times.percentiles().p50 for stage, times in self._stages.items()},
            stalls=sum(source.stalls for source in sources),
            reconnects=sum(source.reconnects for source in sources),
            sources=sources,
            outputs=list(outputs),
            failed=dict(self.failed),
        )

    def _report_of(self, part: Source) -> SourceReport:
        counts, health = self._counts.get(part.name) or _Counts(), part.health
        return SourceReport(
            name=part.name,
            state=health.state,
            frozen=health.frozen,
            reason=health.reason,
            stalls=health.stalls,
            reconnects=health.reconnects,
            captured=counts.captured,
            inferred=counts.inferred,
            dropped=msgspec.structs.replace(counts.dropped),
            clock=counts.clock,
            silent_s=time.monotonic() - counts.read_s if counts.captured else 0.0,
            unseen_s=time.monotonic() - counts.shown_s if counts.shown_s else 0.0,
        )

    def _recent_fps(self) -> float:
        now = time.monotonic()
        self._recent.append((now, self.shown))
        while len(self._recent) > 2 and self._recent[1][0] <= now - RECENT_S:
            self._recent.popleft()
        begin, shown = self._recent[0]
        return (self.shown - shown) / (now - begin) if now > begin else 0.0
