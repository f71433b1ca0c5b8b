"""How much class maps flicker from frame to frame, where no labels are needed to tell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeseg.labels import VOID

__all__ = ["WITHIN", "Flicker"]

UInt8 = npt.NDArray[np.uint8]

#: A class that lasted for at most so many frames was a flicker, if the one before it comes back.
WITHIN = 5


class Flicker:
    """Share of the pixels that, from one frame to the next, go back to the class they left at most 5 frames ago.

    A moving edge takes a pixel from one class to another and leaves it there, which is none; A, B, A and A, B, B, A
    are one each. What is narrower than the way that it moves in 5 frames counts all the same, as do the edges of
    labels that were painted frame by frame: compare with the score of the labels, or of the same frames.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._returned = self._compared = 0
        self._now: UInt8 = np.empty((0, 0), np.uint8)
        self._before, self._lasted = self._now, self._now

    def update(self, class_map: UInt8) -> None:
        """Add the next frame. One of another size than the last starts anew; what was counted stays.

        Args:
            class_map: `(H, W)` uint8 class indices. Pixels with 255 are left out, and forget what they were.
        """
        if class_map.shape != self._now.shape:
            self.frames = 0
            self._before, self._lasted = np.full_like(class_map, VOID), np.zeros_like(class_map)
            self._now = class_map.copy()
        known = (class_map != VOID) & (self._now != VOID)
        changed = class_map != self._now
        self._lasted += self._lasted < WITHIN + 1
        if self.frames > 1:
            returned = changed & known & (class_map == self._before) & (self._lasted <= WITHIN)
            self._returned += int(np.count_nonzero(returned))
            self._compared += int(np.count_nonzero(known))
        np.copyto(self._before, self._now, where=changed)
        self._lasted[changed] = 0
        np.copyto(self._now, class_map)
        self.frames += 1

    def score(self) -> float:
        """The share, 0 to 1, as a mean over frames; NaN with fewer than three."""
        return self._returned / self._compared if self._compared else float("nan")
