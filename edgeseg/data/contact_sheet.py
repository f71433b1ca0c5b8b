"""Contact sheets: many frames in one picture, small, each with its number and name."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from edgeseg.data.calibration import NamedFrame

__all__ = ["MOST_THUMBNAILS", "ContactSheet"]

UInt8 = npt.NDArray[np.uint8]
RGB = tuple[int, int, int]

#: Thumbnails of a sheet that can still be looked over, and opened by any viewer.
MOST_THUMBNAILS = 200
#: Pixels: the area of a thumbnail, the space around it, its coloured frame, and the text.
AREA, GAP, BORDER, TEXT, TITLE = 192 * 144, 10, 5, 13, 20
#: Width of a sheet over its height that fits a screen.
ASPECT = 1.5
GROUND, INK, MUTED = (24, 24, 27), (244, 244, 245), (161, 161, 170)
#: By the first word of a mark. The tag's text is black or white, whichever is told from it more easily.
COLOURS: dict[str, RGB] = {
    "leak": (220, 38, 38),
    "black": (192, 132, 252),
    "overexposed": (192, 132, 252),
    "flat": (192, 132, 252),
    "duplicate": (245, 158, 11),
}


class ContactSheet:
    """Takes frames one by one, and keeps small pictures of at most 200 of them, evenly spaced.

    Args:
        numbers: What to write under each frame, in the order in which they come.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        shown = min(len(numbers), MOST_THUMBNAILS)
        self._wanted = {(2 * i + 1) * len(numbers) // (2 * shown) for i in range(shown)}
        self._seen = 0
        self._thumbnails: dict[int, tuple[str, Image.Image]] = {}

    def add(self, named: NamedFrame) -> None:
        """Take the next frame, `(H, W, 3)` uint8 BGR of any size."""
        if self._seen in self._wanted:
            self._thumbnails[self._seen] = (named.name, _thumbnail(named.frame))
        self._seen += 1

    def png(self, title: str, marks: Mapping[int, Sequence[str]] | None = None) -> bytes:
        """The sheet as a PNG.

        Args:
            title: One line above the thumbnails.
            marks: For frames by their index, the words to write on them; the first gives the colour of the frame.
        """
        width = max((picture.width for _, picture in self._thumbnails.values()), default=1)
        height = max((picture.height for _, picture in self._thumbnails.values()), default=1)
        cell = (width + GAP, height + GAP + 2 * TEXT)
        columns = _columns(len(self._thumbnails), cell)
        lines = self._title(title, GAP + columns * cell[0])
        top = 2 * GAP + len(lines) * (TITLE + GAP)
        rows = -(-len(self._thumbnails) // columns)
        sheet = Image.new("RGB", (GAP + columns * cell[0], top + rows * cell[1] + GAP), GROUND)
        pen = ImageDraw.Draw(sheet)
        for row, (line, colour) in enumerate(lines):
            pen.text((GAP, GAP + row * (TITLE + GAP)), line, fill=colour, font=ImageFont.load_default(TITLE))
        for place, (index, (name, picture)) in enumerate(self._thumbnails.items()):
            left, upper = GAP + place % columns * cell[0], top + place // columns * cell[1]
            box = (left, upper + height - picture.height, left + picture.width, upper + height)
            sheet.paste(picture, box)
            _mark(pen, box, (marks or {}).get(index, ()))
            _write(pen, (left, upper + height + 3), _label(self._numbers[index], name), width)
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        return buffer.getvalue()

    def _title(self, title: str, width: int) -> list[tuple[str, RGB]]:
        """Lines and their colours, no wider than the sheet."""
        font = ImageFont.load_default(TITLE)
        lines = [(line, INK) for line in _wrapped(title, width - 2 * GAP, font)]
        if len(self._thumbnails) < self._seen:
            note = f"Shown are {len(self._thumbnails)} of the {self._seen} frames, evenly spaced."
            lines += [(line, MUTED) for line in _wrapped(note, width - 2 * GAP, font)]
        return lines


def _thumbnail(frame: UInt8) -> Image.Image:
    """A frame at about the area of all thumbnails, its aspect ratio kept."""
    height, width = frame.shape[:2]
    scale = math.sqrt(AREA / (height * width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return Image.fromarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))


def _columns(count: int, cell: tuple[int, int]) -> int:
    """How many cells in a row give a sheet that fits a screen; at least two, so that a title has room."""
    fitting = math.sqrt(count * ASPECT * cell[1] / cell[0])
    return max(2, min(count, round(fitting)))


def _mark(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], words: Sequence[str]) -> None:
    """A frame around a thumbnail, and the words in its corner."""
    if not words:
        return
    font: Any = ImageFont.load_default(TEXT)
    colour = COLOURS[words[0].split()[0]]
    ink = (0, 0, 0) if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128 else (255, 255, 255)
    left, top, right, bottom = box
    pen.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=BORDER)
    text = _fitting(", ".join(words), right - left - 3 * BORDER, font)
    pen.rectangle((left, top, left + round(font.getlength(text)) + 3 * BORDER, top + TEXT + 2 * BORDER), fill=colour)
    pen.text((left + BORDER, top + BORDER + TEXT / 2), text, fill=ink, font=font, anchor="lm")


def _write(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int) -> None:
    font = ImageFont.load_default(TEXT)
    pen.text(place, _fitting(text, width, font), fill=MUTED, font=font)


def _label(number: int, name: str) -> str:
    short = PurePath(name).name
    return short if short.endswith(f"#{number}") else f"#{number}  {short}"


def _fitting(text: str, width: float, font: Any) -> str:
    """The text, its middle left out where it is too wide."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 2, 1, -1):
        short = f"{text[: -(-kept // 2)]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(short) <= width:
            return short
    return "…"


def _wrapped(text: str, width: float, font: Any) -> list[str]:
    """The text in lines of whole words; a word that is too wide loses its middle."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_fitting(word, width, font))
    return lines
