"""One engine that takes its turns in every race, so that races at different times can be compared."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgeseg.bench.budget.race import race, scout, times_ms
from edgeseg.bench.budget.report import Design
from edgeseg.bench.lane import Lane

__all__ = ["Anchor"]

UInt8 = npt.NDArray[np.uint8]
#: Share of an anchor's frames, the slowest, that do not tell how fast the machine is.
SLOWEST = 0.1
#: Shares by which a machine's speed may move before it is told.
MOVED = 0.1


@dataclass
class Anchor:
    """Tells how fast the machine is in each race, and now.

    Attributes:
        design: What it is; None before one was opened.
        lane: The engine; None where it is not open, and then nothing is compared.
        opened_ms: The mean of a few frames when it was opened.
        took_ms: The mean of its frames in each race without the slowest tenth; None where it took no part, or failed.
    """

    design: Design | None = None
    lane: Lane | None = None
    opened_ms: float = 0.0
    took_ms: list[float | None] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the design; empty where there is none."""
        return self.design.name if self.design is not None else ""

    def open(self, design: Design, lane: Lane, frames: Sequence[UInt8]) -> None:
        """Take an engine, unless it fails."""
        self.opened_ms = statistics.fmean(scout(lane, frames))
        self.design, self.lane = design, lane

    def close(self) -> None:
        """Let go of it."""
        self.lane = None

    def slower_now(self, frames: Sequence[UInt8]) -> float:
        """How many times as long as when it was opened a few frames take now; 1 at least."""
        slower = 1.0
        if self.lane is not None:
            with self.lane.turn():
                slower = max(slower, statistics.fmean(scout(self.lane, frames)) / self.opened_ms)
        return slower

    def race(self, lanes: Sequence[Lane], frames: Sequence[UInt8], on_round: Callable[[float], None]) -> int:
        """Race engines, and this one with them.

        Returns:
            The number of the race, for `slowness`.
        """
        own = [Lane(self.name, self.lane.engine, self.lane.session)] if self.lane is not None else []
        race([*lanes, *own], frames, on_round=on_round)
        self.took_ms.append(_without_slowest(own[0]) if own and not own[0].failed else None)
        return len(self.took_ms) - 1

    def slowness(self, number: int) -> float:
        """How many times as long as in the median of all races everything took in one of them."""
        took = self.took_ms[number]
        return 1.0 if took is None else took / statistics.median(self._told())

    def warnings(self) -> tuple[str, ...]:
        """What is to be said where the machine's speed moved; a sentence."""
        told = self._told()
        moved = max(told) / min(told) - 1 if told else 0.0
        if moved <= MOVED:
            return ()
        return (
            f"The machine's speed moved by {moved:.0%} while engines were timed: their times are scaled by what "
            f"{self.name} took in the same turns.",
        )

    def _told(self) -> list[float]:
        return [ms for ms in self.took_ms if ms is not None]


def _without_slowest(lane: Lane) -> float:
    ms = np.sort(times_ms(lane))
    return float(ms[: max(1, round((1 - SLOWEST) * len(ms)))].mean())
