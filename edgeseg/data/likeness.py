"""Whether pictures look the same, and whether they show anything, by small grey copies of them."""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Fault", "Look", "Looks", "Match", "look_at"]

UInt8 = npt.NDArray[np.uint8]
Fault = Literal["", "black", "overexposed", "flat"]

#: Height and width of the grey copy; the hash's 8x9 means are blocks of 4x4 of its pixels.
GREY_HW, HASH_HW = (32, 36), (8, 9)
#: Grey levels from which a step between two blocks is more than noise and compression.
STEP = 2.0
#: Frames resemble each other up to both. Of CamVid's train images, copies saved smaller, larger, with noise or as JPEG
#: of quality 30 have the same bits and differ by 1.5 levels; images that lie ten and more apart differ by 10 levels.
MOST_BITS, MOST_LEVELS = 8, 5.0
#: Video's black is level 16 (ITU-R BT.601), and a sensor in the dark adds some noise; its white is 235.
BLACK, WHITE = 24, 240
#: A black frame is so nearly everywhere, but for a lamp; an overexposed one in most places.
BLACK_SHARE, WHITE_SHARE = 0.95, 0.75
#: Standard deviation, in levels, below which nothing can be made out. Street frames have 25 and more.
FLAT = 4.0

_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1)


class Look(NamedTuple):
    """What is kept of a frame, a good kilobyte.

    Attributes:
        digest: Of its pixels; equal for exact copies alone.
        bits, steps: `(8,)` uint8, its difference hash, and which of its bits are no noise.
        grey: `(32, 36)` uint8.
        brightness: Mean luminance, 0 to 255.
        fault: Why it shows nothing; empty where it shows something.
    """

    digest: bytes
    bits: UInt8
    steps: UInt8
    grey: UInt8
    brightness: float
    fault: Fault


class Match(NamedTuple):
    """The number of a look that resembles another, and the mean absolute difference of the two, in grey levels."""

    number: int
    levels: float


def look_at(frame: UInt8) -> Look:
    """What a frame looks like.

    The hash is the difference hash of N. Krawetz ("Kind of Like That", The Hacker Factor Blog, 2013): 64 bits that say
    whether a picture of 8x9 grey pixels gets brighter from each pixel to its right neighbour. Where both are about the
    same, as in a clear sky, a bit is noise, which is noted beside it.

    Args:
        frame: `(H, W, 3)` uint8 BGR, any size.
    """
    small = cv2.resize(frame, GREY_HW[::-1], interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
    blocks = grey.reshape(HASH_HW[0], 4, HASH_HW[1], 4).mean((1, 3))
    rise = np.diff(blocks, axis=1)
    bits, steps = np.packbits(rise > 0), np.packbits(np.abs(rise) >= STEP)
    digest = hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=16).digest()
    return Look(digest, bits, steps, grey, float(grey.mean()), _fault(grey))


def _fault(grey: UInt8) -> Fault:
    if (grey <= BLACK).mean() >= BLACK_SHARE:
        return "black"
    if (grey >= WHITE).mean() >= WHITE_SHARE:
        return "overexposed"
    return "flat" if grey.std() < FLAT else ""


class Looks:
    """Looks, numbered as they come, to find those that resemble another."""

    def __init__(self) -> None:
        self._count = 0
        self._bits, self._steps = (np.empty((64, HASH_HW[0]), np.uint8) for _ in range(2))
        self._greys = np.empty((64, *GREY_HW), np.uint8)

    def __len__(self) -> int:
        return self._count

    def add(self, look: Look) -> None:
        """Take a look in."""
        if self._count == len(self._bits):
            self._bits, self._steps, self._greys = (
                np.concatenate([kept, np.empty_like(kept)]) for kept in (self._bits, self._steps, self._greys)
            )
        self._bits[self._count], self._steps[self._count], self._greys[self._count] = look.bits, look.steps, look.grey
        self._count += 1

    def like(self, look: Look) -> list[Match]:
        """The looks that resemble `look`, the most alike first.

        The hash tells scenes apart, even dark ones; the mean absolute difference refuses its false hits.
        """
        bits, steps, greys = (kept[: self._count] for kept in (self._bits, self._steps, self._greys))
        differing = _ONES[(bits ^ look.bits) & (steps | look.steps)].sum(1)
        places = np.flatnonzero(differing <= MOST_BITS)
        levels = np.abs(greys[places].astype(np.int16) - look.grey).mean((1, 2))
        order = np.argsort(levels, kind="stable")
        return [Match(int(places[i]), float(levels[i])) for i in order if levels[i] <= MOST_LEVELS]
