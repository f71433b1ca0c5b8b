"""Engines frame by frame in turns, from a camera's frame to its class map."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edgeseg.bench.lane import Lane
from edgeseg.bench.stages import LATENCY
from edgeseg.bench.statistics import least_samples

__all__ = ["CONFIRMED", "ROUNDS", "race", "scout", "times_ms"]

UInt8 = npt.NDArray[np.uint8]
#: Frames that the 90th percentile needs.
ROUNDS = least_samples(90)
#: Frames that an engine is timed on by itself, once it is built with its gate.
CONFIRMED = 2 * ROUNDS
#: Frames by which an engine that is far too slow is known, and those before that do not count.
SCOUTED, WARM_UP = 10, 3


def scout(lane: Lane, frames: Sequence[UInt8]) -> list[float]:
    """Times of a few frames, milliseconds."""
    taken = [lane.path.run(frames[number % len(frames)])[LATENCY] for number in range(WARM_UP + SCOUTED)]
    return [ns / 1e6 for ns in taken[WARM_UP:]]


def race(
    lanes: Sequence[Lane],
    frames: Sequence[UInt8],
    *,
    rounds: int = ROUNDS,
    on_round: Callable[[float], None] = lambda _: None,
) -> None:
    """One frame for each engine in turn, until each has had `rounds`; one that fails is out."""
    for number in range(rounds):
        begin = number % len(lanes)
        for lane in (*lanes[begin:], *lanes[:begin]):
            if lane.failed:
                continue
            with lane.turn():
                begun = time.perf_counter_ns()
                lane.note(begun, lane.path.run(frames[number % len(frames)]))
        on_round((number + 1) / rounds)


def times_ms(lane: Lane) -> npt.NDArray[np.float64]:
    """The latencies of an engine's frames, milliseconds."""
    return np.asarray(lane.samples_ns[LATENCY], np.float64) / 1e6
