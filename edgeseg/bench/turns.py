"""Engines in turns, so that what drifts on the machine hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edgeseg.bench.frames import TimedFrames
from edgeseg.bench.lane import Lane
from edgeseg.bench.record import Settings
from edgeseg.bench.reference import Reference

__all__ = ["Turns"]

#: Seconds between two runs of the reference kernel.
REFERENCE_S = 0.5
#: Seconds after which a warm-up ends, steady or not.
LONGEST_WARM_UP_S = 30.0


class Turns:
    """What all scenarios have in common: the engines, the frames, the reference kernel, and who is told of progress.

    Args:
        lanes: The engines.
        frames: What they are given, all the same.
        settings: How long.
        on_progress: Told the share done, 0 to 1, and what is under way.
        stopped: Asked after each turn whether to end before the time.

    Attributes:
        reference_ns: When the reference kernel began, and how long it took.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        frames: TimedFrames,
        settings: Settings,
        on_progress: Callable[[float, str], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.lanes, self.frames, self.settings, self.stopped = lanes, frames, settings, stopped
        self.reference_ns: list[tuple[int, int]] = []
        self._on_progress = on_progress
        self._reference = Reference()
        self._referred = 0.0

    def active(self) -> list[Lane]:
        """Those that have not failed."""
        return [lane for lane in self.lanes if not lane.failed]

    def measure(self, turn: Callable[[Lane, int], None], done: Callable[[Lane], float]) -> None:
        """Give each engine its turn until all have enough, so that none is ever measured without the others.

        Args:
            turn: Measures an engine once; told the number of the round.
            done: The share of its frames that an engine has had.
        """
        number = 0
        self.refer()
        while not self.stopped() and any(done(lane) < 1 for lane in self.active()):
            lanes = self.active()
            begin = number % len(lanes)  # None is always the first after the reference kernel.
            for lane in (*lanes[begin:], *lanes[:begin]):
                with lane.turn():
                    turn(lane, number)
            self.refer()
            number += 1
            self._on_progress(min(1.0, min((done(lane) for lane in self.active()), default=1.0)), "measuring")

    def refer(self) -> None:
        """Run the reference kernel, if it is time."""
        now = time.monotonic()
        if now - self._referred >= REFERENCE_S:
            self._referred = now
            begin = time.perf_counter_ns()
            self.reference_ns.append((begin, self._reference.run()))

    def warm_up(self) -> None:
        """Frames in turns that are no samples, until all engines' times are steady; none where no time is given."""
        if not self.settings.warm_up_s:
            return
        begin, number = time.monotonic(), 0
        while (lanes := self.active()) and (spent := time.monotonic() - begin) < LONGEST_WARM_UP_S:
            if self.stopped() or (spent >= self.settings.warm_up_s and all(lane.steady for lane in lanes)):
                break
            frame, encoded = self.frames.at(number)
            for lane in lanes:
                with lane.turn():
                    lane.warm_up(lane.path.run(frame, encoded))
            number += 1
            self._on_progress(0.0, "warm-up")
        for lane in self.lanes:
            del lane.turn_begins_ns[:], lane.turn_ends_ns[:]
