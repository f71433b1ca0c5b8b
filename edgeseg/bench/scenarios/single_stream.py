"""Single-stream: the next frame when the answer of the one before is there, as MLPerf Inference has it."""

from __future__ import annotations

import time

from edgeseg.bench.lane import Lane
from edgeseg.bench.stages import LATENCY
from edgeseg.bench.turns import Turns

__all__ = ["measure"]


def measure(turns: Turns) -> None:
    """One frame a turn, the same for all engines."""
    settings = turns.settings

    def turn(lane: Lane, number: int) -> None:
        frame, encoded = turns.frames.at(number)
        begin = time.perf_counter_ns()
        times = lane.path.run(frame, encoded)
        lane.note(begin, times)
        lane.seconds += times[LATENCY] / 1e9

    def done(lane: Lane) -> float:
        enough = lane.seconds / settings.duration_s if settings.duration_s else 1.0
        return min(enough, lane.frames / settings.iterations)

    turns.measure(turn, done)
