"""How a machine is while something is measured on it: clocks, heat, what others do, power."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from edgeseg.device.power import Rail
from edgeseg.device.state import celsius, clock_mhz, gpu_mhz, throttled_now

__all__ = ["Moment", "Watch"]

#: Seconds between two looks, at the machine and at its power.
LOOK_S, POWER_S = 1.0, 0.1
#: Seconds that a look spans at least: the kernel counts busy ones in hundredths.
LEAST_S = 0.1
#: Raised where something can't be read, or reads empty. One look or reading is missing then; the others tell.
MISSING = (OSError, ValueError, psutil.Error)


class Moment(NamedTuple):
    """One look at the machine; None where it does not tell.

    Attributes:
        at_ns: By `time.perf_counter_ns()`.
        others: Cores that other processes, or the host of a virtual machine, kept busy since the last look.
        clock_mhz, gpu_mhz: Of the processor's cores in the mean, and of the GPU.
        celsius: The hottest zone, or an NVIDIA card where that is hotter.
        watts: In the mean since the last look.
        rss_mb: Resident memory of this process.
        throttled: What slows the machine down just now, as `throttled_now` names it.
    """

    at_ns: int
    others: float
    clock_mhz: float | None
    gpu_mhz: float | None
    celsius: float | None
    watts: float | None
    rss_mb: float
    throttled: tuple[str, ...] = ()


class Watch:
    """Looks at the machine once a second, and at its power ten times, while `with` is open.

    Args:
        rail: Where power is measured; None for nowhere.
        root: Folder that holds `sys`.

    Attributes:
        moments: In the order of time.
        watts: `(at_ns, watts)`, each reading.
    """

    def __init__(self, rail: Rail | None = None, root: Path = Path("/")) -> None:
        self.rail = rail
        self.moments: list[Moment] = []
        self.watts: list[tuple[int, float]] = []
        self._root = root
        self._process = psutil.Process()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgeseg-conditions", daemon=True)

    def __enter__(self) -> Watch:
        if self.rail is not None:
            with contextlib.suppress(*MISSING):  # A counter of energy counts from here on.
                self.rail.watts()
        self._busy = self._busy_s()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if not self.moments or time.perf_counter_ns() - self.moments[-1].at_ns > LOOK_S * 5e8:
            self._add_moment()

    def _run(self) -> None:
        due = time.monotonic() + LOOK_S
        while not self._ended.wait(POWER_S if self.rail is not None else LOOK_S):
            self._measure_power()
            if time.monotonic() >= due:
                due += LOOK_S
                self._add_moment()

    def _measure_power(self) -> None:
        if self.rail is not None:
            with contextlib.suppress(*MISSING):
                self.watts.append((time.perf_counter_ns(), self.rail.watts()))

    def _add_moment(self) -> None:
        with contextlib.suppress(*MISSING):
            busy = self._busy_s()
            self.moments.append(self._look(busy))
            self._busy = busy

    def _look(self, busy: tuple[float, float, float]) -> Moment:
        elapsed, all_busy, own_busy = (now - before for now, before in zip(busy, self._busy, strict=True))
        since = self.moments[-1].at_ns if self.moments else 0
        recent = [watts for at_ns, watts in self.watts if at_ns > since]
        return Moment(
            at_ns=time.perf_counter_ns(),
            others=max(0.0, all_busy - own_busy) / max(LEAST_S, elapsed),
            clock_mhz=clock_mhz(self._root),
            gpu_mhz=gpu_mhz(self._root),
            celsius=celsius(self._root),
            watts=sum(recent) / len(recent) if recent else None,
            rss_mb=self._process.memory_info().rss / 1e6,
            throttled=throttled_now(self._root),
        )

    def _busy_s(self) -> tuple[float, float, float]:
        """Time, seconds that all processors were busy or a host took, and those of this process and its children."""
        all_times = psutil.cpu_times()
        idle = all_times.idle + getattr(all_times, "iowait", 0.0)
        busy = sum(all_times) - idle - getattr(all_times, "guest", 0.0) - getattr(all_times, "guest_nice", 0.0)
        own = 0.0
        for process in (self._process, *self._process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                # Those of children that have ended are their parents' now.
                own += times.user + times.system + times.children_user + times.children_system
        return time.monotonic(), busy, own
