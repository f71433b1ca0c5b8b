"""Sinks for several sources at once: one each, or all side by side in one picture."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError
from edgeseg.labels import VOID
from edgeseg.stream.hud import dim, trouble
from edgeseg.stream.report import StreamReport
from edgeseg.stream.sink import Segmented, Sink

__all__ = ["Mosaic", "PerSource"]

UInt8 = npt.NDArray[np.uint8]
#: Seconds between two pictures of all sources.
PERIOD_S = 1 / 30


class PerSource(Sink):
    """One sink for each source, opened at its first frame.

    Args:
        output: Where the results lie, `%s` for the source's name.
        open_one: Opens the sink of a source, by its name.
    """

    def __init__(self, output: str, open_one: Callable[[str], Sink]) -> None:
        self.output = output
        self._open_one = open_one
        self._sinks: dict[str, Sink] = {}

    @property
    def wants_to_stop(self) -> bool:  # type: ignore[override]
        return any(sink.wants_to_stop for sink in self._sinks.values())

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`."""
        name = segmented.captured.source
        if name not in self._sinks:
            self._sinks[name] = self._open_one(name)
        self._sinks[name].write(segmented)

    def idle(self, report: StreamReport) -> None:
        """See `Sink.idle`."""
        for sink in self._sinks.values():
            sink.idle(report)

    def close(self) -> None:
        """See `Sink.close`. All are closed, also where one fails."""
        errors = []
        sinks, self._sinks = self._sinks, {}
        for sink in sinks.values():
            try:
                sink.close()
            except (EdgesegError, OSError) as error:
                errors.append(error)
        if errors:
            raise errors[0]


class Mosaic(Sink):
    """The newest frames of all sources side by side, for a sink that shows one picture.

    Args:
        sink: Gets at most 30 pictures a second.
        names: Of the sources, in the order of reading.
    """

    def __init__(self, sink: Sink, names: Sequence[str]) -> None:
        self._sink = sink
        self._places = {name: place for place, name in enumerate(names)}
        self._columns = math.ceil(math.sqrt(len(names)))
        self._rows = math.ceil(len(names) / self._columns)
        self._frame: UInt8 = np.empty((0, 0, 3), np.uint8)
        self._class_map: UInt8 = np.empty((0, 0), np.uint8)
        self._shown = -PERIOD_S
        self._dimmed: set[str] = set()
        self.output = sink.output

    @property
    def wants_to_stop(self) -> bool:  # type: ignore[override]
        return self._sink.wants_to_stop

    def write(self, segmented: Segmented) -> None:
        """See `Sink.write`. The first frame's size is that of every part of the picture."""
        if not self._frame.size:
            height, width = segmented.class_map.shape
            self._cell = (height, width)
            self._frame = np.zeros((height * self._rows, width * self._columns, 3), np.uint8)
            self._class_map = np.full(self._frame.shape[:2], VOID, np.uint8)
        place = self._places[segmented.captured.source]
        self._dimmed.discard(segmented.captured.source)
        self._put(segmented.frame, self._frame, place, cv2.INTER_AREA)
        self._put(segmented.class_map, self._class_map, place, cv2.INTER_NEAREST_EXACT)
        now = time.monotonic()
        if now - self._shown >= PERIOD_S:
            self._shown = now
            self._dim(segmented.report)
            captured = dataclasses.replace(segmented.captured, pixels=self._frame, source="")
            self._sink.write(
                dataclasses.replace(segmented, captured=captured, pixels=self._frame, class_map=self._class_map)
            )

    def idle(self, report: StreamReport) -> None:
        """See `Sink.idle`."""
        self._sink.idle(report)

    def close(self) -> None:
        """See `Sink.close`."""
        self._sink.close()

    def _dim(self, report: StreamReport) -> None:
        """Make grey what is not live any more, once, and say why; its classes are not known any more."""
        for name, place in self._places.items():
            words = trouble(report, name)
            if words is not None and name not in self._dimmed:
                self._dimmed.add(name)
                dim(self._part(self._frame, place), words)
                self._part(self._class_map, place)[...] = VOID

    def _part(self, whole: UInt8, place: int) -> UInt8:
        (height, width), (row, column) = self._cell, divmod(place, self._columns)
        return whole[row * height : (row + 1) * height, column * width : (column + 1) * width]

    def _put(self, picture: UInt8, whole: UInt8, place: int, interpolation: int) -> None:
        part = self._part(whole, place)
        if picture.shape == part.shape:
            np.copyto(part, picture)
        else:
            cv2.resize(picture, self._cell[::-1], dst=part, interpolation=interpolation)
