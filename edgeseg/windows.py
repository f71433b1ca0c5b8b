"""Where a frame lies in a network's input: the geometry of getting it there and back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["PADDING", "Window", "windows_of"]

UInt8 = npt.NDArray[np.uint8]
#: Grey around a letterboxed frame, which is zero for networks trained on `(x - 128) / 128`.
PADDING = 128


class Window(NamedTuple):
    """A rectangle of whole pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part of `image` inside the window; no copy."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def fill_outside(self, image: UInt8, value: int) -> None:
        """Set every pixel of `image` outside of the window."""
        image[: self.top] = value
        image[self.top + self.height :] = value
        beside = image[self.top : self.top + self.height]
        beside[:, : self.left] = value
        beside[:, self.left + self.width :] = value


@lru_cache(maxsize=64)
def windows_of(frame_hw: tuple[int, int], size_hw: tuple[int, int], mode: str) -> tuple[Window, Window]:
    """The part of the frame that the network sees, and the part of the network's input that shows it."""
    if mode == "letterbox":
        return Window(0, 0, *frame_hw), _centred(size_hw, aspect_hw=frame_hw)
    if mode == "crop":
        return _centred(frame_hw, aspect_hw=size_hw), Window(0, 0, *size_hw)
    return Window(0, 0, *frame_hw), Window(0, 0, *size_hw)


def _centred(outer_hw: tuple[int, int], *, aspect_hw: tuple[int, int]) -> Window:
    """The largest centred window of `outer_hw` with the aspect ratio of `aspect_hw`, to the nearest pixel."""
    scale = min(outer_hw[0] / aspect_hw[0], outer_hw[1] / aspect_hw[1])
    height, width = (min(max(1, round(a * scale)), o) for a, o in zip(aspect_hw, outer_hw, strict=True))
    return Window((outer_hw[0] - height) // 2, (outer_hw[1] - width) // 2, height, width)
