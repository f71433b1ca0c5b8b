"""The names of the classes in a picture, small along its lower edge."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.labels import LabelSet

__all__ = ["Legend"]

logger = logging.getLogger(__name__)
UInt8 = npt.NDArray[np.uint8]

#: A class is named from this share of the pixels on, and for so many frames after: noise does not flicker.
SHARE = 0.001
HOLD = 12
#: Largest share of the height that names may cover.
ROOM = 0.25


@dataclass(frozen=True)
class _Chip:
    """A name on a dark ground: what is added to a picture, and what share of it stays (0 to 255)."""

    ink: UInt8
    keep: UInt8

    def draw(self, picture: UInt8, left: int, top: int) -> None:
        height, width = self.ink.shape[:2]
        below = picture[top : top + height, left : left + width]
        cv2.multiply(below, self.keep, dst=below, scale=1 / 255)
        cv2.add(below, self.ink, dst=below)


class Legend:
    """Draws swatch and name of each class that occurs. A name that was drawn once keeps its place."""

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._can_write = _has_pillow()
        self._size: tuple[int, int] = (0, 0)
        self._chips: list[_Chip] = []
        self._places: dict[int, tuple[int, int]] = {}
        self._last_seen = np.full(256, -HOLD - 1)
        self._frames = 0

    def draw(self, picture: UInt8, class_map: UInt8) -> None:
        """Draw into `picture`.

        Args:
            picture: `(H, W, 3)` uint8 BGR, changed in place.
            class_map: `(H, W)` uint8 class indices; 255 is not named.
        """
        size = (picture.shape[0], picture.shape[1])
        if size != self._size:
            self._size = size
            self._chips = _make_chips(self._labels, size[0]) if self._can_write else []
            self._places = {}
        if not self._can_write:
            return
        named = self._note(class_map)
        if not self._places.keys() >= set(named):
            self._places = self._arrange([*self._places, *(c for c in named if c not in self._places)])
            if not self._places.keys() >= set(named):
                self._places = self._arrange(named)
        for index in named:
            if index in self._places:
                self._chips[index].draw(picture, *self._places[index])

    def _note(self, class_map: UInt8) -> list[int]:
        """The classes to name, by what this frame and those just before it show."""
        step = max(1, min(class_map.shape) // 96)
        counts = np.bincount(class_map[::step, ::step].ravel(), minlength=256)
        self._frames += 1
        self._last_seen[counts > SHARE * counts.sum()] = self._frames
        fresh = self._last_seen[: len(self._labels)] >= self._frames - HOLD
        return [int(index) for index in np.flatnonzero(fresh)]

    def _arrange(self, order: list[int]) -> dict[int, tuple[int, int]]:
        """Left and top of each name, from the lower left corner on in rows; without those that find no room."""
        height, width = self._size
        gap = max(1, self._chips[0].ink.shape[0] // 8)
        left, bottom, places = gap, height - gap, {}
        for index in order:
            tall, wide = self._chips[index].ink.shape[:2]
            if left > gap and left + wide + gap > width:
                left, bottom = gap, bottom - tall - gap
            if left + wide + gap <= width and bottom - tall >= height * (1 - ROOM):
                places[index] = (left, bottom - tall)
                left += wide + gap
        return places


def _has_pillow() -> bool:
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError:
        logger.warning("Pillow is not installed: pictures have no names of classes.")
        return False
    return True


def _make_chips(labels: LabelSet, height: int) -> list[_Chip]:
    """The names in a size that can be read in a picture of that height."""
    from PIL import ImageFont

    size = min(30, max(11, round(height / 38)))
    font = ImageFont.load_default(size)
    return [
        _make_chip(name, colour, font, round(size * 1.3))
        for name, colour in zip(labels.names, labels.palette, strict=True)
    ]


def _make_chip(name: str, colour: tuple[int, int, int], font: Any, height: int) -> _Chip:
    from PIL import Image, ImageDraw

    pad = max(2, height // 5)
    swatch = height - 2 * pad
    width = round(font.getlength(name)) + swatch + 3 * pad + 1
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((0, 0, width - 1, height - 1), radius=pad, fill=(16, 16, 16, 170))
    pen.rectangle((pad, pad, pad + swatch - 1, height - pad - 1), fill=(*colour, 255), outline=(255, 255, 255, 255))
    pen.text((2 * pad + swatch, height / 2), name, fill=(255, 255, 255, 255), font=font, anchor="lm")
    pixels = np.asarray(image, np.float32)
    alpha = pixels[..., 3:]
    ink = np.rint(pixels[..., 2::-1] * alpha / 255).astype(np.uint8)
    return _Chip(np.ascontiguousarray(ink), np.repeat(np.rint(255 - alpha).astype(np.uint8), 3, axis=2))
