"""How the stream is, in its pictures: a panel of figures, and a banner that no stale picture is without."""

from __future__ import annotations

import itertools
import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.stream.lettering import DIM, ROW, WHITE, Chip, Colour, Row, can_write, font_of, panel, text_size
from edgeseg.stream.report import FrameAge, SourceReport, StreamReport

__all__ = ["Hud", "banner", "dim", "trouble"]

UInt8 = npt.NDArray[np.uint8]

GREEN: Colour = (64, 208, 112, 255)
AMBER: Colour = (255, 184, 48, 255)
RED: Colour = (255, 92, 80, 255)
_STATES = {"connecting": AMBER, "live": GREEN, "stalled": AMBER, "lost": RED}
#: Largest share of the height that the panel may cover.
ROOM = 0.3
#: What is left of the brightness of a picture that is not live.
DIMMED = 0.45
#: Seconds after which a picture is not called live any more, whatever its source says of itself.
STALE_S = 2.0
#: Right ends of the columns of figures, in letters' heights.
_COLUMNS = (11.5, 14.5, 17.5)


class Hud:
    """Draws the state of a stream into its pictures; words are made anew only when there is a new report."""

    def __init__(self) -> None:
        self._can_write = can_write()
        self._height = 0
        self._made: dict[str, tuple[StreamReport, Chip]] = {}
        self._banner: tuple[tuple[str, str], tuple[int, int], Chip] | None = None

    def draw(self, picture: UInt8, report: StreamReport, source: str = "") -> None:
        """Draw the panel; where the source is not live, dim the picture and say why in a banner.

        Args:
            picture: `(H, W, 3)` uint8 BGR, changed in place.
            report: Of the stream.
            source: Name of the one that the picture came from. Without it the state is that of the best one.
        """
        size = (picture.shape[0], picture.shape[1])
        words = trouble(report, source)
        if words is not None:
            _dim(picture)
        if not self._can_write:
            return
        if size[0] != self._height:
            self._height, self._made = size[0], {}
        made = self._made.get(source)
        if made is None or made[0] is not report:
            made = self._made[source] = report, _panel(report, _source_of(report, source), size[0])
        gap = max(2, text_size(size[0]) // 2)
        made[1].draw(picture, gap, gap)
        if words is not None:
            self._draw_banner(picture, words)

    def _draw_banner(self, picture: UInt8, words: tuple[str, str]) -> None:
        size = (picture.shape[0], picture.shape[1])
        if self._banner is None or self._banner[:2] != (words, size):
            self._banner = words, size, banner(*words, size)
        band = self._banner[2]
        band.draw(picture, 0, (size[0] - band.ink.shape[0]) // 2)


def dim(picture: UInt8, words: tuple[str, str]) -> None:
    """Make a picture grey and dark, and say in a banner why, as `trouble` tells it."""
    _dim(picture)
    if can_write():
        band = banner(*words, (picture.shape[0], picture.shape[1]))
        band.draw(picture, 0, (picture.shape[0] - band.ink.shape[0]) // 2)


def trouble(report: StreamReport, source: str = "") -> tuple[str, str] | None:
    """What to say of a picture that is not live, and why; None where it is.

    Args:
        report: Of the stream.
        source: Name of the one that the picture came from. Without it all sources must be in trouble.
    """
    found = _source_of(report, source)
    if found is None:
        return None
    if found.state == "live" and found.unseen_s > STALE_S:
        return f"no picture for {found.unseen_s:.1f} s", found.reason
    if found.state == "live" and not found.frozen:
        return None
    if found.state == "live":
        return "frozen picture", "the same picture has been coming for long"
    if found.state == "lost":
        return f"{found.name} is lost", found.reason
    if found.state == "connecting":
        return f"connecting to {found.name}", found.reason
    return f"stalled for {found.silent_s:.1f} s, opening again", found.reason


def banner(title: str, reason: str, size_hw: tuple[int, int], colour: Colour = AMBER) -> Chip:
    """A band of the picture's width with a title and, smaller below it, the reason. Needs Pillow."""
    from PIL import Image, ImageDraw

    height, width = size_hw
    room = width * 0.94
    large, small = _font_for(title, text_size(height) * 2, room), _font_for(reason, text_size(height), room)
    line = max(2, height // 160)
    inside = round(large.size * 1.5) + (round(small.size * 1.6) if reason else 0)
    tall = inside + round(large.size * 0.7) + 2 * line
    image = Image.new("RGBA", (width, tall), (16, 16, 16, 225))
    pen = ImageDraw.Draw(image)
    for top in (0, tall - line):
        pen.rectangle((0, top, width, top + line - 1), fill=colour)
    middle = (tall - inside) / 2 + large.size * 0.75
    pen.text((width / 2, middle), _fitted(title, large, room), fill=colour, font=large, anchor="mm")
    if reason:
        below = middle + large.size * 0.75 + small.size * 0.7
        pen.text((width / 2, below), _fitted(reason, small, room), fill=WHITE, font=small, anchor="mm")
    return Chip.of(image)


def _source_of(report: StreamReport, source: str) -> SourceReport | None:
    named = [found for found in report.sources if found.name == source]
    good = [found for found in report.sources if found.state == "live" and not found.frozen]
    return next(iter([*named, *good, *report.sources]), None)


def _dim(picture: UInt8) -> None:
    """Make it grey and dark with an amber edge, which needs no words to be understood."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    cv2.convertScaleAbs(grey, dst=grey, alpha=DIMMED)
    cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR, dst=picture)
    height, width = picture.shape[:2]
    cv2.rectangle(picture, (0, 0), (width - 1, height - 1), AMBER[2::-1], thickness=max(2, height // 80))


def _panel(report: StreamReport, source: SourceReport | None, height: int) -> Chip:
    """The figures that find room in a picture of that height, the most important ones first."""
    size = text_size(height)
    return panel(_rows(report, source)[: max(1, int(height * ROOM / size / ROW))], size)


def _colour_of(source: SourceReport | None) -> Colour:
    if source is None:
        return DIM
    return AMBER if source.frozen else _STATES[source.state]


def _rows(report: StreamReport, source: SourceReport | None) -> list[Row]:
    state = "no source" if source is None else "frozen" if source.frozen else source.state
    dropped = {reason: getattr(report.dropped, reason) for reason in report.dropped.__struct_fields__}
    counts = " · ".join(f"{count} {reason}" for reason, count in dropped.items() if count)
    stages: list[Row] = [[(stage, DIM, None), (f"{ms:.1f}", WHITE, None)] for stage, ms in report.stage_ms.items()]
    return [
        [
            (state, _colour_of(source), None),
            (source.name if source is not None else "", WHITE, None),
            (f"{report.recent_fps:.1f} FPS", WHITE, _COLUMNS[-1]),
        ],
        [("ms since capture", DIM, None), *_figures(["p50", "p95", "p99"], DIM)],
        [("frame", DIM, None), *_ages(report.frame_age_ms)],
        [("class map", DIM, None), *_ages(report.class_map_age_ms)],
        [("dropped", DIM, None), (counts or "none", WHITE, None)],
        *(list(itertools.chain(*stages[first : first + 3])) for first in range(0, len(stages), 3)),
    ]


def _ages(age: FrameAge) -> Row:
    figures = [f"{ms:.0f}" if math.isfinite(ms) else "-" for ms in (age.p50, age.p95, age.p99)]
    return _figures(figures, WHITE)


def _figures(texts: list[str], colour: Colour) -> Row:
    return [(text, colour, column) for text, column in zip(texts, _COLUMNS, strict=True)]


def _font_for(text: str, size: int, room: float) -> Any:
    """The largest letters up to `size` in which the text fits, but not below what can be read."""
    while size > 11 and font_of(size).getlength(text) > room:
        size -= 1
    return font_of(size)


def _fitted(text: str, font: Any, room: float) -> str:
    """As much of the text as there is room for."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"
