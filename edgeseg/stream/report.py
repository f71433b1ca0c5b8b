"""What a stream tells of itself, while it runs and at its end."""

from __future__ import annotations

import msgspec

from edgeseg.stream.source import Clock, State

__all__ = ["Dropped", "FrameAge", "SourceReport", "StreamReport"]


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
    """Milliseconds since capture: median, and what 95 and 99 of 100 frames stay below. NaN without a frame."""

    p50: float
    p95: float
    p99: float


class SourceReport(msgspec.Struct):
    """One source of the stream.

    Attributes:
        state, frozen, stalls, reconnects, reason: See `Health`.
        captured, inferred, dropped: As of the stream, of this source alone.
        clock: Who took the time of capture; empty before the first frame.
        silent_s: Seconds since its last frame was read; 0 before the first.
        unseen_s: Seconds since its last frame was shown; 0 before the first.
    """

    name: str
    state: State
    frozen: bool
    reason: str
    stalls: int
    reconnects: int
    captured: int
    inferred: int
    dropped: Dropped
    clock: Clock | None
    silent_s: float
    unseen_s: float = 0.0


class StreamReport(msgspec.Struct):
    """What became of the frames; captured = inferred + all that were dropped.

    Attributes:
        announced: Frames that the source said it has; a video that was cut off gives fewer. None where it has no end.
        captured, inferred, shown: Frames that the sources took, that went through the session, that the sinks got.
        dropped: The others, by reason.
        fps: Shown frames over the time from the first read to the last write.
        recent_fps: The same over about the last five seconds.
        frame_age_ms: From capture until all sinks had the result, of the last 8192 frames.
        class_map_age_ms: From capture until the class map was there, in the camera's coordinates.
        cold_start_ms: From the start of this process to its first class map; None before that.
        stage_ms: Median by stage of the last 8192 frames: `capture`, `resize`, `inference` (and what else the backend
            tells), `restore`, `draw`, `encode`. Stages overlap, so that their sum is no period.
        stalls: How often a live source was silent for too long.
        reconnects: How often a source was opened again.
        sources: Each source by itself.
        outputs: Where the results lie.
        failed: Sinks that were switched off, and why.
    """

    announced: int | None
    captured: int
    inferred: int
    shown: int
    dropped: Dropped
    fps: float
    recent_fps: float
    frame_age_ms: FrameAge
    class_map_age_ms: FrameAge
    cold_start_ms: float | None
    stage_ms: dict[str, float]
    stalls: int
    reconnects: int
    sources: list[SourceReport]
    outputs: list[str]
    failed: dict[str, str]
