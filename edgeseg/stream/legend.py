"""The names of the classes in a picture, small along its lower edge."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeseg.labels import VOID, LabelSet
from edgeseg.stream.lettering import Chip, can_write, ground, text_size, word

__all__ = ["Legend"]

UInt8 = npt.NDArray[np.uint8]

#: A class is named from this share of the pixels on, and for so many frames after: noise does not flicker.
SHARE = 0.001
HOLD = 12
#: Largest share of the height that names may cover.
ROOM = 0.25


class Legend:
    """Draws swatch and name of each class that occurs. A name that was drawn once keeps its place."""

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._can_write = can_write()
        self._size: tuple[int, int] = (0, 0)
        self._chips: dict[int, Chip] = {}
        self._places: dict[int, tuple[int, int]] = {}
        self._last_seen = np.full(256, -HOLD - 1)
        self._frames = 0

    def draw(self, picture: UInt8, class_map: UInt8) -> None:
        """Draw into `picture`.

        Args:
            picture: `(H, W, 3)` uint8 BGR, changed in place.
            class_map: `(H, W)` uint8 class indices; 255 is named "unknown".
        """
        size = (picture.shape[0], picture.shape[1])
        if size != self._size:
            self._size = size
            self._chips = _make_chips(self._labels, size[0]) if self._can_write else {}
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
        fresh = self._last_seen >= self._frames - HOLD
        return [int(index) for index in np.flatnonzero(fresh) if int(index) in self._chips]

    def _arrange(self, order: list[int]) -> dict[int, tuple[int, int]]:
        """Left and top of each name, from the lower left corner on in rows; without those that find no room."""
        height, width = self._size
        gap = max(1, self._chips[VOID].ink.shape[0] // 8)
        left, bottom, places = gap, height - gap, {}
        for index in order:
            tall, wide = self._chips[index].ink.shape[:2]
            if left > gap and left + wide + gap > width:
                left, bottom = gap, bottom - tall - gap
            if left + wide + gap <= width and bottom - tall >= height * (1 - ROOM):
                places[index] = (left, bottom - tall)
                left += wide + gap
        return places


def _make_chips(labels: LabelSet, height: int) -> dict[int, Chip]:
    """The names by class index, in a size that can be read in a picture of that height."""
    size = text_size(height)
    named = [*enumerate(zip(labels.names, labels.palette, strict=True)), (VOID, ("unknown", (0, 0, 0)))]
    return {index: _make_chip(name, colour, size) for index, (name, colour) in named}


def _make_chip(name: str, colour: tuple[int, int, int], size: int) -> Chip:
    height = round(size * 1.3)
    pad = max(2, height // 5)
    swatch = height - 2 * pad
    text = word(name, size, (255, 255, 255, 255))
    chip = ground(text.ink.shape[1] + swatch + 3 * pad, height, pad)
    square = (slice(pad, height - pad), slice(pad, pad + swatch))
    chip.keep[square] = 0
    chip.ink[square] = 255
    chip.ink[pad + 1 : height - pad - 1, pad + 1 : pad + swatch - 1] = colour[::-1]
    chip.put(text, 2 * pad + swatch, 0)
    return chip
