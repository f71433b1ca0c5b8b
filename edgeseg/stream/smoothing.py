"""Class maps without the flicker that the picture gives no reason for."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.card import Resize
from edgeseg.data.resize import resize_frame
from edgeseg.errors import UsageError

__all__ = ["Smoothing"]

UInt8 = npt.NDArray[np.uint8]

#: At full strength: frames that a class waits for where nothing moves, and grey levels of change where it does not.
FRAMES, GREY_LEVELS = 5, 12
#: Frames are compared at about this height, over windows of so many pixels, so that noise is no change.
HEIGHT, WINDOW = 180, 5
#: A mean change by more grey levels than this is a cut to another scene.
CUT = 40
#: What was shown longer ago than this tells nothing about now.
GAP_S = 0.5
#: Doubt at which a pixel changes its class; sums of bytes end here by themselves.
FULL = 255


class Smoothing:
    """Lets a pixel change its class only once that is beyond doubt.

    Each frame in a row that contradicts the class of a pixel adds to its doubt: a fixed part, and more the more the
    picture changed there, so that what moves changes its class at once. What is as it was before waits for 1 to 5
    frames. Each source has a `Smoothing` of its own.
    """

    def __init__(self, strength: float, resize: Resize | None = None) -> None:
        """Start without a past.

        Args:
            strength: 0 changes nothing, 1 smooths the most.
            resize: How frames get to the size of the class maps, as on the engine's card; stretched by default.

        Raises:
            UsageError: The strength is out of its range.
        """
        if not 0 <= strength <= 1:
            raise UsageError(f"The strength of the smoothing is {strength}; 0 to 1 is possible.")
        self._strength = strength
        self._resize = Resize(resize.mode if resize else "stretch")
        self._least = FULL / (1 + (FRAMES - 1) * strength)
        self._gain = FULL / (GREY_LEVELS * strength) if strength else 0.0
        self._at_ns: int | None = None
        self._colours: UInt8 = np.empty((0, 0, 3), np.uint8)
        self._grey, self._spare = self._colours[..., 0], self._colours[..., 0]
        self._make(np.empty((0, 0), np.uint8))

    def reset(self) -> None:
        """Forget the past: the next class map is shown as it is."""
        self._make(np.empty((0, 0), np.uint8))

    def update(self, class_map: UInt8, frame: UInt8 | None = None, captured_ns: int | None = None) -> UInt8:
        """Smooth the class map of the next frame.

        It starts anew where the size changes, after a cut, and after half a second without a frame.

        Args:
            class_map: `(h, w)` uint8 at the network's size, changed in place; 255 is a class like the others.
            frame: `(H, W, 3)` or `(H, W, 4)` uint8 that it was made from, of any size. Without it nothing is known to
                move, and what does lags behind.
            captured_ns: Time of its capture, where time has a part in it.

        Returns:
            `class_map`.
        """
        if not self._strength:
            return class_map
        anew = class_map.shape != self._shown.shape or self._is_gap(captured_ns)
        self._at_ns = captured_ns
        if anew:
            self._make(class_map)
        if self._measure(frame):
            self._make(class_map, self._grey)
        cv2.compare(class_map, self._shown, cv2.CMP_NE, dst=self._mask)
        cv2.add(self._doubt, self._step, dst=self._doubt)
        cv2.bitwise_and(self._doubt, self._mask, dst=self._doubt)
        cv2.threshold(self._doubt, FULL - 1, FULL, cv2.THRESH_BINARY, dst=self._mask)
        cv2.copyTo(class_map, self._mask, self._shown)
        cv2.subtract(self._doubt, self._mask, dst=self._doubt)
        np.copyto(class_map, self._shown)
        return class_map

    def _make(self, class_map: UInt8, grey: UInt8 | None = None) -> None:
        """Show this class map, of the picture `grey`, without any doubt."""
        self._shown = class_map.copy()
        self._doubt, self._mask, self._step = (np.zeros_like(class_map) for _ in range(3))
        self._last = grey

    def _is_gap(self, captured_ns: int | None) -> bool:
        if captured_ns is None or self._at_ns is None:
            return False
        return not 0 <= captured_ns - self._at_ns <= GAP_S * 1e9

    def _measure(self, frame: UInt8 | None) -> bool:
        """Find how much doubt a contradiction adds in each pixel, by what changed since the last; True for a cut."""
        last, self._last = self._last, None
        if frame is not None:
            self._last = self._in_grey(frame)
        if last is None or self._last is None:
            self._step.fill(round(self._least))
            return False
        change = cv2.absdiff(self._last, last, dst=last)
        if cv2.mean(change)[0] > CUT:
            return True
        cv2.blur(change, (WINDOW, WINDOW), dst=change)
        cv2.convertScaleAbs(change, dst=change, alpha=self._gain, beta=self._least)
        cv2.resize(change, self._step.shape[::-1], dst=self._step, interpolation=cv2.INTER_NEAREST)
        return False

    def _in_grey(self, frame: UInt8) -> UInt8:
        """The frame in grey where the class map is, `(about 180, ...)`; stays as it is for two calls."""
        height, width = self._shown.shape
        part = max(1, round(height / HEIGHT))
        shape = (-(-height // part), -(-width // part), frame.shape[2])
        if self._colours.shape != shape:
            self._colours = np.empty(shape, np.uint8)
            self._grey, self._spare = np.empty(shape[:2], np.uint8), np.empty(shape[:2], np.uint8)
        resize_frame(frame, shape[:2], self._resize, self._colours)
        self._grey, self._spare = self._spare, self._grey
        cv2.cvtColor(self._colours, cv2.COLOR_BGR2GRAY if shape[2] == 3 else cv2.COLOR_BGRA2GRAY, dst=self._grey)
        return self._grey
