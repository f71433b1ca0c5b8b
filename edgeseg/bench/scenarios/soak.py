"""Soak: single-stream for long, to see whether it slows down or grows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeseg.bench.lane import Lane
from edgeseg.bench.record import Drift
from edgeseg.device.conditions import Moment

__all__ = ["drift"]

Floats = npt.NDArray[np.float64]

#: A run that slows down by more, as a share, is not steady; neither is one that grows by more megabytes in ten minutes.
SLOWER, GROWTH_MB = 0.05, 1.0
#: Less is what a library takes now and then, however short the run.
LEAST_MB = 1.0
#: Memory is looked at from here on, as a share of the run: before, libraries still take what they keep.
SETTLED = 0.2


def drift(lane: Lane, lanes: Sequence[Lane], moments: Sequence[Moment]) -> Drift | None:
    """How a run changed; None where it was too short to tell.

    Args:
        lane: Whose run it is.
        lanes: All that took turns, it among them: memory is that of their process.
        moments: Of the machine, during the run.
    """
    ends = np.asarray(lane.begins_ns) + np.asarray(lane.samples_ns["latency"])
    if len(ends) < 50 or len(moments) < 10:
        return None
    fifths = np.array_split(np.asarray(lane.samples_ns["latency"], np.float64), 5)
    first, last = (1e9 * lane.session.card.batch / float(np.mean(part)) for part in (fifths[0], fifths[-1]))
    settled = moments[int(SETTLED * len(moments)) :]
    rss_mb = np.array([one.rss_mb for one in settled]) - sum(
        _samples_mb(one, [moment.at_ns for moment in settled]) for one in lanes
    )
    slope = float(np.polyfit([one.at_ns / 6e11 for one in settled], rss_mb, 1)[0])
    faults = []
    if last < (1 - SLOWER) * first:
        faults.append(f"it slowed down by {1 - last / first:.0%}")
    grown = float(rss_mb[-1] - rss_mb[0])
    if slope > GROWTH_MB and grown > LEAST_MB:
        faults.append(f"its memory grew by {grown:.1f} MB, {slope:.1f} MB in ten minutes")
    verdict = f"{' and '.join(faults)}." if faults else "Speed and memory stayed as they were."
    return Drift(
        fps_first=first, fps_last=last, rss_slope_mb=slope, verdict=verdict[0].upper() + verdict[1:], steady=not faults
    )


def _samples_mb(lane: Lane, at_ns: list[int]) -> Floats:
    """What the samples themselves take by these times: eight bytes for each stage, and for three times of a frame."""
    frames = np.searchsorted(np.asarray(lane.begins_ns), np.asarray(at_ns))
    return np.asarray(frames * 8 * (len(lane.samples_ns) + 3) / 1e6, np.float64)
