"""A fixed kernel, by whose time records of one machine at different hours are compared."""

from __future__ import annotations

import time
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["VERSION", "Reference"]

#: Of what is computed: times of different versions tell nothing of each other.
VERSION: Final = 2
Float32 = npt.NDArray[np.float32]
#: Of the images. In these runs both halves take as long; `benchmarks/regression.py` tells how well they follow engines.
LARGE, SMALL = 512, 256
LARGE_RUNS, SMALL_RUNS = 3, 12


class Reference:
    """Does what an engine does, in OpenCV: it computes maps on all cores, which read what others wrote and wait for
    each other again and again. One half is arithmetic, with large maps, the other waiting, with small ones.

    It never changes, so that its time tells how fast the machine is just now, whatever engine is measured. A kernel on
    one core would not do: cores that a host has put far apart slow engines down by a third, and leave it as it is.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._large, self._small = (rng.standard_normal((side, side), np.float32) for side in (LARGE, SMALL))
        self._large_doubled, self._small_doubled = (
            np.empty((2 * side, 2 * side), np.float32) for side in (LARGE, SMALL)
        )

    def run(self) -> int:
        """Nanoseconds of one call."""
        _there_and_back(self._small, self._small_doubled, cv2.INTER_LINEAR)  # Wakes OpenCV's threads.
        begin = time.perf_counter_ns()
        for _ in range(LARGE_RUNS):
            _there_and_back(self._large, self._large_doubled, cv2.INTER_CUBIC)
        for _ in range(SMALL_RUNS):
            _there_and_back(self._small, self._small_doubled, cv2.INTER_LINEAR)
        return time.perf_counter_ns() - begin


def _there_and_back(image: Float32, doubled: Float32, interpolation: int) -> None:
    height, width = image.shape
    cv2.resize(image, (2 * width, 2 * height), doubled, interpolation=interpolation)
    cv2.resize(doubled, (width, height), image, interpolation=interpolation)
