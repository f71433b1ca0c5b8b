"""Text in pictures: drawn once by Pillow, laid over every frame by OpenCV."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "DIM",
    "ROW",
    "WHITE",
    "Chip",
    "Colour",
    "Row",
    "can_write",
    "font_of",
    "ground",
    "panel",
    "text_size",
    "word",
]

logger = logging.getLogger(__name__)
UInt8 = npt.NDArray[np.uint8]
#: Red, green, blue and opacity, 0 to 255.
Colour = tuple[int, int, int, int]

#: Words of a panel, each with its colour, and where its right end is in letters' heights; None sets it after the one
#: before.
Row = Sequence[tuple[str, Colour, float | None]]

WHITE: Colour = (255, 255, 255, 255)
DIM: Colour = (176, 184, 192, 255)
#: From one row of a panel to the next, in letters' heights.
ROW = 1.35
#: What text stands on.
GROUND: Colour = (16, 16, 16, 170)


@dataclass(frozen=True)
class Chip:
    """A small translucent picture: what is added to a larger one, and what share of that stays (0 to 255).

    Attributes:
        ink, keep: `(H, W, 3)` uint8 BGR.
    """

    ink: UInt8
    keep: UInt8

    @classmethod
    def of(cls, image: Image) -> Chip:
        """The chip that an RGBA image makes."""
        pixels = np.asarray(image, np.float32)
        alpha = pixels[..., 3:]
        ink = np.rint(pixels[..., 2::-1] * alpha / 255).astype(np.uint8)
        return cls(np.ascontiguousarray(ink), np.repeat(np.rint(255 - alpha).astype(np.uint8), 3, axis=2))

    def draw(self, picture: UInt8, left: int, top: int) -> None:
        """Lay it over `picture`, `(H, W, 3)` uint8 BGR, in place; what does not fit is left out."""
        height, width = self.ink.shape[:2]
        below = picture[top : top + height, left : left + width]
        height, width = below.shape[:2]
        cv2.multiply(below, self.keep[:height, :width], dst=below, scale=1 / 255)
        cv2.add(below, self.ink[:height, :width], dst=below)

    def put(self, other: Chip, left: int, top: int) -> None:
        """Lay another chip over this one, in place."""
        height, width = other.ink.shape[:2]
        other.draw(self.ink, left, top)
        below = self.keep[top : top + height, left : left + width]
        cv2.multiply(below, other.keep[: below.shape[0], : below.shape[1]], dst=below, scale=1 / 255)


@functools.lru_cache(maxsize=512)
def word(text: str, size: int, colour: Colour) -> Chip:
    """A word without a ground, 1.4 times as high as its letters' size. Needs Pillow."""
    from PIL import Image, ImageDraw

    font = font_of(size)
    image = Image.new("RGBA", (max(1, round(font.getlength(text) + 1)), round(size * 1.4)), (*colour[:3], 0))
    ImageDraw.Draw(image).text((0, image.height / 2), text, fill=colour, font=font, anchor="lm")
    return Chip.of(image)


def ground(width: int, height: int, radius: int) -> Chip:
    """A dark ground with round corners, to put words on. Needs Pillow."""
    made = _ground(width, height, radius)
    return Chip(made.ink.copy(), made.keep.copy())


@functools.lru_cache
def _ground(width: int, height: int, radius: int) -> Chip:
    from PIL import Image, ImageDraw

    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    ImageDraw.Draw(image).rounded_rectangle((0, 0, width - 1, height - 1), radius=radius, fill=GROUND)
    return Chip.of(image)


def panel(rows: Sequence[Row], size: int) -> Chip:
    """Rows of words on a dark ground. Needs Pillow."""
    step, pad = round(size * ROW), round(size * 0.6)
    placed: list[tuple[Chip, int, int]] = []
    right = 0
    for number, row in enumerate(rows):
        left = pad
        for text, colour, column in row:
            chip = word(text, size, colour)
            if column is not None:
                left = max(left, pad + round(column * size) - chip.ink.shape[1])
            placed.append((chip, left, pad // 2 + number * step))
            right = max(right, left + chip.ink.shape[1])
            left += chip.ink.shape[1] + round(size * 0.4)
    wide = -(-(right + pad) // size) * size  # In steps, so that the panel does not tremble with its figures.
    made = ground(wide, len(rows) * step + pad, pad // 2)
    for chip, left, top in placed:
        made.put(chip, left, top)
    return made


@functools.lru_cache
def font_of(size: int) -> Any:
    """The font that Pillow brings, `size` pixels high. Needs Pillow."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def can_write() -> bool:
    """Whether Pillow is there; says so in the log where it is not."""
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError:
        logger.warning("Pillow is not installed: pictures have no words in them.")
        return False
    return True


def text_size(height: int) -> int:
    """The size of letters, pixels, that can be read in a picture of that height."""
    return min(30, max(11, round(height / 38)))
