"""A fixed kernel, by whose time records of one machine at different hours are compared."""

from __future__ import annotations

import time

import cv2
import numpy as np

__all__ = ["Reference"]

#: Of the image that is filtered: it fits no cache of a small core, as an engine's layers do not.
SIDE = 512


class Reference:
    """Filters an image as a convolution does, on one core: arithmetic and memory.

    It never changes, so that its time tells how fast the machine is just now, whatever engine is measured.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._image = rng.standard_normal((SIDE, SIDE), np.float32)
        self._kernel = rng.standard_normal((7, 7), np.float32)
        self._out = np.empty_like(self._image)

    def run(self) -> int:
        """Nanoseconds of one call."""
        begin = time.perf_counter_ns()
        cv2.filter2D(self._image, cv2.CV_32F, self._kernel, self._out)
        return time.perf_counter_ns() - begin
