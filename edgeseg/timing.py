"""Times: measured in turns, told as percentiles."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Latency", "latency", "process_age_s", "time_in_turns"]


@dataclass(frozen=True)
class Latency:
    """Percentiles of repeated runs, in milliseconds. `fps` is runs over the sum of their times."""

    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    mean_ms: float
    fps: float


def latency(samples_ns: Sequence[int]) -> Latency:
    """Percentiles of at least one sample, each in nanoseconds."""
    ms = np.asarray(samples_ns, np.float64) / 1e6
    p50, p90, p99 = (float(value) for value in np.percentile(ms, (50, 90, 99)))
    return Latency(len(ms), p50, p90, p99, float(ms.min()), float(ms.mean()), 1e3 * len(ms) / float(ms.sum()))


def time_in_turns(
    runs: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    warm_up: int = 5,
    at_least: int = 10,
    on_round: Callable[[float], None] = lambda _: None,
) -> dict[str, list[int]]:
    """Time several callables in turns, so that what drifts on the machine hits all alike.

    Args:
        runs: By name; each is called once per round.
        seconds: Time for the measured rounds together.
        warm_up: Unmeasured rounds before.
        at_least: Rounds even where the time is up.
        on_round: Told the share done, 0 to 1, after every round.

    Returns:
        Nanoseconds of every measured call, by name, all lists of one length.
    """
    samples: dict[str, list[int]] = {name: [] for name in runs}
    for _ in range(warm_up):
        for run in runs.values():
            run()
    start, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds or done < at_least:
        for name, run in runs.items():
            begin = time.perf_counter_ns()
            run()
            samples[name].append(time.perf_counter_ns() - begin)
        done += 1
        on_round(min(1.0, max(elapsed / seconds if seconds else 1.0, 0.0)) if done >= at_least else done / at_least)
    return samples


def process_age_s() -> float:
    """Seconds since this process was started, its interpreter's start among them, to a hundredth."""
    with open("/proc/self/stat", encoding="utf-8") as file:
        started = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
