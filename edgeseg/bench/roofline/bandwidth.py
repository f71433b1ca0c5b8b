"""How fast this machine moves bytes, in caches and beyond them."""

from __future__ import annotations

import functools
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

__all__ = ["bandwidths"]

#: Bytes that the smallest and the largest copy touch, at least; the largest is several times the last cache.
SMALLEST, LARGEST, BEYOND = 1 << 20, 256 << 20, 4
#: Of the memory that is free, a copy takes this share at most.
FREE_SHARE = 0.25
#: Bytes moved in one timing, and timings of each size, of which the best counts.
MOVED, TIMINGS = 64 << 20, 6
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@functools.cache
def bandwidths(threads: int) -> dict[int, float]:
    """Bytes read and written a second when `threads` copy arrays, by the bytes that all of them touch.

    It is the copy of STREAM (McCalpin 1995), by numpy: of libraries' own elementwise operators none was faster.
    """
    largest = max(LARGEST, BEYOND * _last_cache())
    largest = max(SMALLEST, min(largest, int(FREE_SHARE * psutil.virtual_memory().available)))
    steps = max(1, round(math.log(largest / SMALLEST, 4)))
    with ThreadPoolExecutor(threads) as pool:
        return {
            size: _copied(pool, threads, size)
            for size in (round(SMALLEST * (largest / SMALLEST) ** (step / steps)) for step in range(steps + 1))
        }


def _copied(pool: ThreadPoolExecutor, threads: int, touched: int) -> float:
    parts = [np.ones((2, touched // (2 * threads)), np.uint8) for _ in range(threads)]
    times = max(1, MOVED // touched)

    def copy(part: np.ndarray) -> None:
        for _ in range(times):
            np.copyto(part[0], part[1])

    best = math.inf
    for _ in range(TIMINGS):
        begin = time.perf_counter()
        list(pool.map(copy, parts))
        best = min(best, time.perf_counter() - begin)
    return sum(part.nbytes for part in parts) * times / best


def _last_cache() -> int:
    """Bytes of the largest cache of the first core; 0 where the system does not tell."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    told = [path.read_text().strip() for path in CACHES.glob("index*/size")]
    return max((int(text[:-1]) * units[text[-1]] for text in told if text[-1:] in units), default=0)
