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
    one core would not do: where a host has put the cores far apart, engines are slower, and it is not.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._large, self._small = (_Maps(rng.standard_normal((side, side), np.float32)) for side in (LARGE, SMALL))

    def run(self) -> int:
        """Nanoseconds of one call."""
        self._small.there_and_back(cv2.INTER_LINEAR)  # Wakes OpenCV's threads.
        begin = time.perf_counter_ns()
        for _ in range(LARGE_RUNS):
            self._large.there_and_back(cv2.INTER_CUBIC)
        for _ in range(SMALL_RUNS):
            self._small.there_and_back(cv2.INTER_LINEAR)
        return time.perf_counter_ns() - begin


class _Maps:
    """An image, and what is made of it: twice as large, and as small as it was."""

    def __init__(self, image: Float32) -> None:
        self.image, self._again = image, np.empty_like(image)
        self._doubled = np.empty((2 * image.shape[0], 2 * image.shape[1]), np.float32)

    def there_and_back(self, interpolation: int) -> None:
        for made, given in ((self._doubled, self.image), (self._again, self._doubled)):
            cv2.resize(given, made.shape[::-1], made, interpolation=interpolation)
