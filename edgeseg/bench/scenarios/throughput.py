"""Throughput: several frames under way, so that the library is never without work."""

from __future__ import annotations

import time
from collections import deque

from edgeseg.backends.session import Ticket
from edgeseg.bench.lane import Lane
from edgeseg.bench.stages import LATENCY, UInt8
from edgeseg.bench.turns import Turns
from edgeseg.data.resize import frame_for_card

__all__ = ["measure"]

#: Seconds of a turn.
TURN_S = 1.0
#: A session takes so many.
MOST = 2


def measure(turns: Turns) -> None:
    """A second a turn. The latency is that of a frame among others: from before its resize to its class map."""
    settings = turns.settings

    def turn(lane: Lane, number: int) -> None:
        under_way: deque[tuple[UInt8, int, int, Ticket]] = deque()
        begin = time.perf_counter_ns()
        try:
            run(lane, under_way, begin)
        finally:
            lane.seconds += (time.perf_counter_ns() - begin) / 1e9

    def run(lane: Lane, under_way: deque[tuple[UInt8, int, int, Ticket]], begin: int) -> None:
        while under_way or time.perf_counter_ns() - begin < TURN_S * 1e9:
            if len(under_way) < min(settings.in_flight, MOST) and time.perf_counter_ns() - begin < TURN_S * 1e9:
                frame, _ = turns.frames.at(lane.frames + len(under_way))
                started = time.perf_counter_ns()
                for buffer in lane.session.input_buffer():
                    frame_for_card(frame, lane.session.card.preprocess, buffer)
                under_way.append((frame, started, time.perf_counter_ns(), lane.session.submit()))
                continue
            frame, started, resized, ticket = under_way.popleft()
            answers = ticket.result()
            answered = time.perf_counter_ns()
            lane.path.restore(answers, frame)
            end = time.perf_counter_ns()
            inside = {stage: round(1e6 * ms) for stage, ms in ticket.stage_ms.items()}
            stages = {"resize": resized - started, **inside, "restore": end - answered}
            lane.note(started, {LATENCY: end - started, **stages})

    def done(lane: Lane) -> float:
        enough = lane.seconds / settings.duration_s if settings.duration_s else 1.0
        return min(enough, lane.frames / settings.iterations)

    turns.measure(turn, done)
