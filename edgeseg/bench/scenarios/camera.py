"""Camera: frames come by the camera's clock, whether the engine is ready or not; measured is their age."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from edgeseg.bench.lane import Lane
from edgeseg.bench.stages import LATENCY
from edgeseg.bench.turns import Turns
from edgeseg.errors import SourceLost, UsageError
from edgeseg.stream import open_source
from edgeseg.stream.pipeline import Callbacks, run_stream
from edgeseg.stream.sink import Segmented

__all__ = ["check", "measure"]

#: Seconds of a turn at most.
TURN_S = 5.0


class Answer(NamedTuple):
    """A frame that was answered: when it was captured, by `time.monotonic_ns()`, and what it took since."""

    captured_ns: int
    times_ns: dict[str, int]


def measure(turns: Turns) -> None:
    """Some seconds a turn, each with the camera opened anew. Frames that were dropped are counted, not forgotten."""
    settings = turns.settings

    def share(seconds: float, frames: int) -> float:
        enough = seconds / settings.duration_s if settings.duration_s else 1.0
        return min(enough, frames / settings.iterations)

    def turn(lane: Lane, number: int) -> None:
        answers: list[Answer] = []
        with open_source(settings.source) as source:
            begin_s = time.monotonic()

            def is_over() -> bool:
                seconds, frames = lane.seconds + _seconds(answers, begin_s), lane.frames + len(answers)
                return turns.stopped() or time.monotonic() - begin_s >= TURN_S or share(seconds, frames) >= 1

            callbacks = Callbacks(on_frame=lambda segmented: answers.append(_answer(segmented)))
            report = run_stream(lane.session, source, callbacks=callbacks, stop=is_over)
        if not answers:
            if turns.stopped():
                return
            raise SourceLost(f"'{source.name}' gave no frame in {TURN_S:g} s.")
        # Only now, so that a turn that is broken off counts neither frames nor time.
        for answer in answers:
            lane.note(answer.captured_ns, answer.times_ns)
        lane.frames = len(lane.begins_ns)  # They are answered one by one, whatever the engine's batch.
        lane.seconds += _seconds(answers, begin_s)
        lane.note_camera(
            source.fps,
            report.captured,
            report.inferred,
            {reason: count for reason, count in msgspec.structs.asdict(report.dropped).items() if count},
        )

    turns.measure(turn, lambda lane: share(lane.seconds, lane.frames))


def check(uri: str) -> None:
    """Find out before anything is measured whether there is a camera: an engine is not to blame for that.

    Raises:
        UsageError: There is no such camera, or it can't be opened.
        MissingDependency: The package or library that it needs is not there.
    """
    try:
        open_source(uri).close()
    except SourceLost as error:
        raise UsageError(error.message, hint=error.hint) from error


def _answer(segmented: Segmented) -> Answer:
    stages = {stage: round(1e6 * ms) for stage, ms in segmented.stage_ms.items()}
    times = {LATENCY: round(1e6 * segmented.class_map_age_ms), **stages}
    return Answer(segmented.captured.captured_ns, times)


def _seconds(answers: Sequence[Answer], begin_s: float) -> float:
    """The time of so many frames, each from its capture to that of the next; the last as long as the mean of these."""
    if not answers:
        return 0.0
    first, last, count = answers[0], answers[-1], len(answers)
    if count == 1:
        return (first.captured_ns + first.times_ns[LATENCY]) / 1e9 - begin_s
    return (last.captured_ns - first.captured_ns) / 1e9 * count / (count - 1)
