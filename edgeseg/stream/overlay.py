"""Class maps over frames, in the colours of the palette and with their legend."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.labels import LabelSet
from edgeseg.stream.legend import Legend

__all__ = ["Overlay"]

UInt8 = npt.NDArray[np.uint8]

#: Of classes that are not highlighted.
GREY = 90


class Overlay:
    """Draws class maps over frames; its buffers are made once per frame size.

    Attributes:
        opacity: Of the colours, from 0 (frame alone) to 1 (colours alone). May be changed between frames.
    """

    def __init__(self, labels: LabelSet, opacity: float = 0.5) -> None:
        """Keep the colours.

        Args:
            labels: Names and colours of the classes.
            opacity: See the attribute.

        Raises:
            UsageError: `opacity` is out of its range.
        """
        if not 0 <= opacity <= 1:
            raise UsageError(f"The opacity is {opacity}; 0 to 1 is possible.")
        self._palette = labels.colours(order="bgr")[:, None]
        self._table = self._palette
        self.opacity = opacity
        self._legend = Legend(labels)
        self._colours: UInt8 = np.empty((0, 0, 3), np.uint8)
        self._picture: UInt8 = np.empty((0, 0, 3), np.uint8)

    def highlight(self, index: int | None) -> None:
        """Show one class in its colour and all others in grey; None gives all their colours back."""
        self._table = self._palette
        if index is not None:
            self._table = np.full_like(self._palette, GREY)
            self._table[index] = self._palette[index]

    def draw(self, frame: UInt8, class_map: UInt8) -> UInt8:
        """Blend the colours of the classes over the frame and name them in its lower left corner.

        Args:
            frame: `(H, W, 3)` uint8 BGR.
            class_map: `(H, W)` uint8 class indices in the frame's coordinates; 255 darkens the frame.

        Returns:
            `(H, W, 3)` uint8 BGR, valid until the next call.
        """
        if self._picture.shape != frame.shape:
            self._colours, self._picture = np.empty_like(frame), np.empty_like(frame)
        cv2.applyColorMap(class_map, self._table, dst=self._colours)
        cv2.addWeighted(frame, 1 - self.opacity, self._colours, self.opacity, 0, dst=self._picture)
        self._legend.draw(self._picture, class_map)
        return self._picture
