"""A picture that can't be taken for live: dimmed, and saying why."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.stream.hud import banner
from edgeseg.stream.lettering import Chip, can_write
from edgeseg.web.monitor import Standing

__all__ = ["draw_banner"]

UInt8 = npt.NDArray[np.uint8]
#: Height and width of what is shown before there was any picture.
BLANK_HW = (360, 640)
DIMMED = 0.45


def draw_banner(picture: UInt8, standing: Standing) -> UInt8:
    """The picture dimmed and grey, with the stream's state and its reason across the middle.

    Args:
        picture: `(H, W, 3)` uint8 BGR, left as it is; of no size where there never was one.
        standing: What to say.

    Returns:
        `(H, W, 3)` uint8 BGR, new.
    """
    if not picture.size:
        picture = np.full((*BLANK_HW, 3), 60, np.uint8)
    grey = cv2.convertScaleAbs(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), alpha=DIMMED)
    dimmed = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    height, width = dimmed.shape[:2]
    if can_write():
        band = _band(standing.state, standing.reason, (height, width))
        band.draw(dimmed, 0, (height - band.ink.shape[0]) // 2)
    return dimmed


@functools.lru_cache(maxsize=2)
def _band(title: str, reason: str, size_hw: tuple[int, int]) -> Chip:
    """Kept, because a frozen picture comes as often as a live one."""
    return banner(title, reason, size_hw)
