"""`display://0`: the overlays in a window, with keys to look closer."""

from __future__ import annotations

import datetime
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError, MissingDependency
from edgeseg.files import write_bytes
from edgeseg.labels import LabelSet
from edgeseg.stream.hud import Hud, banner
from edgeseg.stream.lettering import DIM, WHITE, Row, can_write, panel, text_size
from edgeseg.stream.overlay import Overlay
from edgeseg.stream.report import StreamReport
from edgeseg.stream.sink import Segmented, Sink
from edgeseg.stream.sinks.images import encode_image
from edgeseg.stream.sinks.screen import CLOSED, Screen

__all__ = ["WindowSink", "has_display", "open_window"]

logger = logging.getLogger(__name__)
UInt8 = npt.NDArray[np.uint8]

#: Opacity of the classes' colours in each view, None for the one that keys change.
VIEWS: dict[str, float | None] = {"overlay": None, "mask alone": 1.0, "frame alone": 0.0}
HELP = {
    "+ -": "opacity of the colours",
    "m": "mask alone, frame alone, overlay",
    "c": "next class alone",
    "s": "screenshot",
    "p": "pause",
    "h": "these keys",
    "q": "end",
}
#: Seconds that the name of a screenshot is shown.
NOTE_S = 2.0
#: Shown before there is any frame.
BLANK_HW = (360, 640)
_INSTEAD = "Or watch in a browser: web://127.0.0.1:8080"


def has_display() -> bool:
    """Whether a window may be opened: there is a display, and OpenCV was built with windows."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and bool(cv2.currentUIFramework())


def open_window(labels: LabelSet, output: str = "display://0") -> WindowSink:
    """A window that overlays are shown in, named as it was asked for.

    Raises:
        MissingDependency: There is no display, OpenCV was built without windows, or it can't open one.
    """
    if not cv2.currentUIFramework():
        raise MissingDependency(
            "This OpenCV can't open windows: it is opencv-python-headless.",
            hint=f"pip uninstall opencv-python-headless && pip install opencv-python\n{_INSTEAD}",
        )
    if not has_display():
        raise MissingDependency(
            "There is no display to open a window on: neither DISPLAY nor WAYLAND_DISPLAY is set.",
            hint=f"Over SSH: ssh -X. {_INSTEAD}",
        )
    try:
        return WindowSink(labels, Screen(), output)
    except EdgesegError as error:
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        raise MissingDependency(
            f"OpenCV can't open a window on the display '{display}': {error.message}",
            hint=f"Is it this user's display, and running? {_INSTEAD}",
        ) from error


class WindowSink(Sink):
    """Shows each frame. What keys change is of the window alone: recordings stay as they are.

    Args:
        labels: Names and colours of the classes.
        screen: Ended by `close`.
        output: As it was asked for.
    """

    def __init__(self, labels: LabelSet, screen: Screen, output: str = "display://0") -> None:
        self.output = output
        self._screen = screen
        self._names = labels.names
        self._overlay, self._hud = Overlay(labels), Hud()
        self._can_write = can_write()
        self._frame: UInt8 = np.full((*BLANK_HW, 3), 48, np.uint8)
        self._class_map: UInt8 = np.empty((0, 0), np.uint8)
        self._source = ""
        self._paused = self._helps = False
        self._view, self._only = 0, -1
        self._opacity = self._overlay.opacity
        self._note, self._note_until = "", 0.0
        self._picture = self._frame
        self._keys: dict[str, Callable[[], None]] = {
            "+": lambda: self._change_opacity(0.1), "=": lambda: self._change_opacity(0.1),
            "-": lambda: self._change_opacity(-0.1),
            "m": self._next_view, "c": self._next_class, "s": self._save, "h": self._toggle_help,
            "p": self._toggle_pause, " ": self._toggle_pause, "q": self._end, "\x1b": self._end,
            CLOSED.decode(): self._end,
        }  # fmt: skip

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`."""
        if not self._paused:
            self._frame = _copied(segmented.frame, self._frame)
            self._class_map = _copied(segmented.class_map, self._class_map)
            self._source = segmented.captured.source
        self.idle(segmented.report)

    def idle(self, report: StreamReport) -> None:
        """Do what was typed, and show the last frame with the state of the stream."""
        if self.wants_to_stop:
            return
        for key in self._screen.typed().lower():
            self._keys.get(key, _do_nothing)()
        if not self.wants_to_stop:
            self._picture = self._draw(report)
            self._screen.show(self._picture)

    def close(self) -> None:
        """See `Sink.close`."""
        self._screen.end()

    def _draw(self, report: StreamReport) -> UInt8:
        if not self._class_map.size:
            picture = self._frame.copy()
        else:
            opacity = list(VIEWS.values())[self._view]
            self._overlay.opacity = self._opacity if opacity is None else opacity
            picture = self._overlay.draw(self._frame, self._class_map)
        if self._paused:
            self._draw_paused(picture)
        else:
            self._hud.draw(picture, report, self._source)
        if self._can_write:
            self._draw_words(picture)
        return picture

    def _draw_paused(self, picture: UInt8) -> None:
        """Say that this is no live picture; the stream itself goes on."""
        height, width = picture.shape[:2]
        if self._can_write:
            banner("PAUSED", "p goes on", (height, width)).draw(picture, 0, 0)
        else:
            cv2.rectangle(picture, (0, 0), (width - 1, height - 1), (255, 255, 255), thickness=max(2, height // 40))

    def _draw_words(self, picture: UInt8) -> None:
        """What is shown other than usual, in the upper right corner, and below it the keys."""
        height, width = picture.shape[:2]
        size = text_size(height)
        rows: list[Row] = []
        if self._view:
            rows.append([(list(VIEWS)[self._view], WHITE, None)])
        elif self._opacity != 0.5:
            rows.append([("opacity", DIM, None), (f"{self._opacity:.0%}", WHITE, None)])
        if self._only >= 0:
            rows.append([(self._names[self._only], WHITE, None), ("alone", DIM, None)])
        if time.monotonic() < self._note_until:
            rows.append([(self._note, WHITE, None)])
        if self._helps:
            rows += [[(keys, WHITE, None), (does, DIM, None)] for keys, does in HELP.items()]
        if rows:
            chip = panel(rows, size)
            top = height // 5 if self._paused else max(2, size // 2)
            chip.draw(picture, max(0, width - chip.ink.shape[1] - max(2, size // 2)), top)

    def _change_opacity(self, step: float) -> None:
        self._view = 0
        self._opacity = min(1.0, max(0.0, round(self._opacity + step, 1)))

    def _next_view(self) -> None:
        self._view = (self._view + 1) % len(VIEWS)

    def _next_class(self) -> None:
        self._only = self._only + 1 if self._only + 1 < len(self._names) else -1
        self._overlay.highlight(self._only if self._only >= 0 else None)

    def _toggle_help(self) -> None:
        self._helps = not self._helps

    def _toggle_pause(self) -> None:
        self._paused = not self._paused

    def _end(self) -> None:
        self.wants_to_stop = True

    def _save(self) -> None:
        """Keep what is shown as a PNG in the current folder."""
        path = Path(f"edgeseg-{datetime.datetime.now():%Y%m%d-%H%M%S-%f}.png")
        self._note_until = time.monotonic() + NOTE_S
        try:
            write_bytes(path, encode_image(self._picture, ".png"))
            self._note = str(path)
        except (EdgesegError, OSError) as error:
            logger.warning("The screenshot can't be kept: %s", error)
            self._note = "the screenshot can't be kept"


def _do_nothing() -> None:
    """What other keys do."""


def _copied(pixels: UInt8, into: UInt8) -> UInt8:
    """A copy, in the same memory where it fits."""
    if into.shape != pixels.shape:
        return pixels.copy()
    np.copyto(into, pixels)
    return into
