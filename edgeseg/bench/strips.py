"""Picture strips: a frame, its label, what two engines answer, and where they differ."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from edgeseg.bench.explain import Answered, FrameFigures, changes
from edgeseg.labels import VOID, LabelSet
from edgeseg.windows import Window

__all__ = ["BOTH_WRONG", "GAINED", "LOST", "WIDTH", "Layout", "draw_strip"]

UInt8 = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

#: RGB of the pixels where B lost, where it gained, and where both are wrong in different ways: of the colours by Okabe
#: and Ito that stay apart for colour-blind eyes.
LOST, GAINED, BOTH_WRONG = (213, 94, 0), (86, 180, 233), (240, 228, 66)
GAP = 8
#: Width of a strip at most, so that five panels of 480 stand side by side; height of its panels at most; and width of a
#: column at least, pixels.
WIDTH, HEIGHT, COLUMN = 6 * GAP + 5 * 480, 1200, 300
#: Brightness that the grey frame keeps below differences.
DARK = 0.3
GROUND, INK, SOFT_INK = (24, 24, 24), (255, 255, 255), (176, 176, 176)
#: A class is named from this share of the pixels on, in one of the class maps.
NAMED = 0.001


class Panel(NamedTuple):
    """One picture of a strip at the frame's size, `(H, W, 3)` uint8 RGB, and the two lines above it.

    `exact` says that its colours mean classes, which are not to be mixed where it is made smaller.
    """

    title: str
    detail: str
    picture: UInt8
    exact: bool = True


class Mark(NamedTuple):
    """A colour, if it is one, and what it means."""

    colour: Colour | None
    text: str


@dataclass(frozen=True)
class Layout:
    """Where things stand in a strip: columns of equal width, each with two lines, its panel, and the legend below.

    Attributes:
        panel_hw: Height and width of each panel, pixels.
        columns: How many.
        column: Width of each, at least that of a panel.
    """

    panel_hw: tuple[int, int]
    columns: int
    column: int

    @classmethod
    def of(cls, frame_hw: tuple[int, int], columns: int) -> Layout:
        """The largest panels that fit; a small frame is magnified by a whole number, so that captions have room."""
        height, width = frame_hw
        room = (WIDTH - GAP) // columns - GAP
        scale = min(1.0, room / width, HEIGHT / height)
        if width < COLUMN:
            scale = max(scale, min(math.ceil(COLUMN / width), HEIGHT // height))
        panel_hw = max(1, math.floor(height * scale)), max(1, math.floor(width * scale))
        return cls(panel_hw, columns, max(COLUMN, panel_hw[1]))

    @property
    def font_px(self) -> int:
        """Size of letters."""
        return min(19, max(13, self.column // 24))

    @property
    def line(self) -> int:
        """Height of a line of text."""
        return round(1.5 * self.font_px)

    @property
    def width(self) -> int:
        """Of the strip."""
        return GAP + self.columns * (self.column + GAP)

    @property
    def below(self) -> int:
        """Row where the legend begins."""
        return self.panel(0).top + self.panel_hw[0] + GAP

    def left(self, index: int) -> int:
        """Where a column begins."""
        return GAP + index * (self.column + GAP)

    def panel(self, index: int) -> Window:
        """Where a panel lies."""
        return Window(GAP + 2 * self.line, self.left(index), *self.panel_hw)


def draw_strip(shown: Answered, figures: FrameFigures, labels: LabelSet, engines: tuple[str, str]) -> UInt8:
    """One frame as both engines see it, in panels side by side.

    Args:
        shown: Frame, label if there is one, and both class maps.
        figures: Of that frame.
        labels: Names and colours of the classes.
        engines: Backend and precision of A and B, for the captions.

    Returns:
        `(h, w, 3)` uint8 BGR, at most `WIDTH` wide: frame, label, A, B, difference; without a label one panel less.
    """
    panels = _panels(shown, figures, labels, engines)
    layout = Layout.of((shown.frame.shape[0], shown.frame.shape[1]), len(panels))
    font = ImageFont.load_default(layout.font_px)
    last = layout.left(len(panels) - 1)
    marks = [
        *_placed(_classes(shown, labels), (GAP, layout.below), last - layout.line, layout.line, font),
        *_placed(_kinds(shown, figures), (last, layout.below), last + 1, layout.line, font),
    ]
    bottom = max(top for _, top, _ in marks) + layout.line
    strip = Image.new("RGB", (layout.width, bottom + GAP), GROUND)
    pen = ImageDraw.Draw(strip)
    for index, panel in enumerate(panels):
        _draw_panel(strip, pen, panel, layout, index, font)
    for left, top, mark in marks:
        _draw_mark(pen, mark, (left, top), layout.line, font)
    return np.ascontiguousarray(np.asarray(strip)[..., ::-1])


def _panels(shown: Answered, figures: FrameFigures, labels: LabelSet, engines: tuple[str, str]) -> list[Panel]:
    colours = labels.colours()
    panels = [Panel("frame", PurePath(shown.name).name, shown.frame[..., ::-1], exact=False)]
    if shown.label is not None:
        labelled = np.count_nonzero(shown.label != VOID) / shown.label.size
        panels.append(Panel("label", f"{_percent(labelled)} of the pixels are labelled", colours[shown.label]))
    told = [
        "" if share is None else f"{_percent(share)} of the labelled pixels right"
        for share in (figures.right_a, figures.right_b)
    ]
    panels += [
        Panel(f"{side} {engine}", detail, colours[class_map])
        for side, engine, detail, class_map in zip("AB", engines, told, (shown.a, shown.b), strict=True)
    ]
    return [*panels, Panel("difference", _net(figures), _difference(shown, colours), exact=False)]


def _net(figures: FrameFigures) -> str:
    if figures.lost is None or figures.gained is None:
        return f"{_percent(figures.equal)} of the pixels are equal"
    loss = figures.lost - figures.gained
    if not loss:
        return "B gets as many right as A"
    return f"B gets {100 * abs(loss):.2f} points {'fewer' if loss > 0 else 'more'} right"


def _difference(shown: Answered, colours: UInt8) -> UInt8:
    """What differs in strong colours over the frame in dark grey, `(H, W, 3)` uint8 RGB."""
    grey = cv2.convertScaleAbs(cv2.cvtColor(shown.frame, cv2.COLOR_BGR2GRAY), alpha=DARK)
    picture = np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)
    if shown.label is None:
        differs = (shown.a != shown.b) & (shown.a != VOID) & (shown.b != VOID)
        picture[differs] = colours[shown.b[differs]]
        return picture
    found = changes(shown.label, shown.a, shown.b)
    for where, colour in ((found.lost, LOST), (found.gained, GAINED), (found.both_wrong, BOTH_WRONG)):
        picture[where] = colour
    return picture


def _kinds(shown: Answered, figures: FrameFigures) -> list[Mark]:
    """What the colours of the difference mean, and how much there is of each."""
    if shown.label is None:
        return [Mark(None, "where A and B differ: B's class")]
    return [
        Mark(LOST, f"lost, A right and B wrong: {_percent(figures.lost)}"),
        Mark(GAINED, f"gained, A wrong and B right: {_percent(figures.gained)}"),
        Mark(BOTH_WRONG, f"both wrong, not alike: {_percent(figures.both_wrong)}"),
    ]


def _classes(shown: Answered, labels: LabelSet) -> list[Mark]:
    """The classes that are seen in any of the class maps, and void."""
    maps = [one for one in (shown.label, shown.a, shown.b) if one is not None]
    shares = np.max([np.bincount(one.ravel(), minlength=256) / one.size for one in maps], axis=0)
    named = np.flatnonzero(shares[: len(labels)] >= NAMED)
    marks = [Mark(labels.palette[index], labels.names[index]) for index in named]
    return [*marks, Mark((0, 0, 0), "void")] if shares[VOID] >= NAMED else marks


def _placed(
    marks: Iterable[Mark], at: tuple[int, int], right: int, line: int, font: Any
) -> list[tuple[int, int, Mark]]:
    """Left and top of each mark, in rows from `at` on that end before `right`; each has a row of its own at least."""
    placed: list[tuple[int, int, Mark]] = []
    left, top = at
    for mark in marks:
        needed = math.ceil(line + font.getlength(mark.text))
        if placed and left + needed > right:
            left, top = at[0], top + line
        placed.append((left, top, mark))
        left += needed + line
    return placed


def _draw_panel(
    strip: Image.Image, pen: ImageDraw.ImageDraw, panel: Panel, layout: Layout, index: int, font: Any
) -> None:
    for line, (text, ink) in enumerate(((panel.title, INK), (panel.detail, SOFT_INK))):
        at = (layout.left(index), GAP + (line + 0.4) * layout.line)
        pen.text(at, _fitted(text, layout.column, font), fill=ink, font=font, anchor="lm")
    window = layout.panel(index)
    strip.paste(Image.fromarray(_scaled(panel, layout.panel_hw)), (window.left, window.top))


def _draw_mark(pen: ImageDraw.ImageDraw, mark: Mark, at: tuple[int, int], line: int, font: Any) -> None:
    left, top = at
    side = 2 * line // 3
    if mark.colour is not None:
        edge = top + (line - side) // 2
        pen.rectangle((left, edge, left + side - 1, edge + side - 1), fill=mark.colour, outline=SOFT_INK)
        left += line
    pen.text((left, top + line / 2), mark.text, fill=INK, font=font, anchor="lm")


def _scaled(panel: Panel, size_hw: tuple[int, int]) -> UInt8:
    picture = np.ascontiguousarray(panel.picture)
    smaller = size_hw[0] < picture.shape[0]
    how = cv2.INTER_AREA if smaller and not panel.exact else cv2.INTER_NEAREST_EXACT
    return np.asarray(cv2.resize(picture, (size_hw[1], size_hw[0]), interpolation=how), np.uint8)


def _fitted(text: str, width: int, font: Any) -> str:
    """The end of a text that is too wide, since names differ there."""
    if font.getlength(text) <= width:
        return text
    start = next((i for i in range(len(text)) if font.getlength("…" + text[i:]) <= width), len(text))
    return "…" + text[start:]


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.2f} %"
