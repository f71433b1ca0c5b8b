"""What becomes of the answers: class maps in the camera's coordinates, pictures, sinks."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from edgeseg.card import Card
from edgeseg.data.resize import restore_class_map
from edgeseg.labels import VOID, LabelSet
from edgeseg.stream.confidence import ConfidentAnswers
from edgeseg.stream.hud import Hud
from edgeseg.stream.inference import Answer
from edgeseg.stream.meter import Meter
from edgeseg.stream.options import StreamOptions
from edgeseg.stream.overlay import Overlay
from edgeseg.stream.roi import Region
from edgeseg.stream.sink import Segmented, Sink
from edgeseg.stream.smoothing import Smoothing

__all__ = ["Outputs"]

UInt8 = npt.NDArray[np.uint8]
logger = logging.getLogger(__name__)
#: Seconds between two reports to those who show them.
REPORT_S = 0.25


class Outputs:
    """Takes answers one by one, in one thread.

    Args:
        card: Of the engine.
        sinks: Closed by `close`. One that fails is closed at once, and named in the report.
        meter: For counts and times.
        options: What is asked for.
        region: What of each frame the network saw.
        live: The frames come by the clock.
        on_frame: Called with each frame after the sinks.
    """

    def __init__(
        self,
        card: Card,
        sinks: Sequence[Sink],
        meter: Meter,
        options: StreamOptions,
        region: Region,
        *,
        live: bool,
        on_frame: Callable[[Segmented], None] | None,
    ) -> None:
        self._card, self._sinks, self._meter = card, list(sinks), meter
        self._working = list(sinks)
        self._overlay = Overlay(LabelSet(card.classes, card.palette), options.opacity)
        self._hud = Hud() if (live if options.hud is None else options.hud) else None
        self._live = live
        self._options, self._region, self._on_frame = options, region, on_frame
        self._smoothings: dict[str, Smoothing] = {}
        self._confident: ConfidentAnswers | None = None
        self._class_maps: dict[str, UInt8] = {}
        self._error: Exception | None = None
        self._reported = -REPORT_S
        self.report = meter.report()

    @property
    def wants_to_stop(self) -> bool:
        """Whether somebody asked for the end at a sink."""
        return any(sink.wants_to_stop for sink in self._sinks)

    def show(self, answer: Answer) -> None:
        """Give one answer to all sinks.

        Raises:
            Exception: The last sink failed, so that nobody gets anything any more.
        """
        self.renew_report()
        times, captured = answer.stage_ms, answer.captured
        with self._meter.timed("restore", times):
            class_map, margin = self._in_frame(answer)
        age_ms = self._meter.answered(captured)
        segmented = Segmented(captured, answer.pixels, class_map, age_ms, times, margin, self.report, self._draw)
        begin = time.perf_counter_ns()
        for sink in tuple(self._working):
            self._try(sink, partial(sink.write, segmented))
        ms = (time.perf_counter_ns() - begin) / 1e6 - times.get("draw", 0.0)
        self._meter.took("encode", ms)
        self._meter.was_shown(captured)
        if self._on_frame is not None:
            self._on_frame(segmented)
        self._check()

    def idle(self) -> None:
        """Nothing new came: let the sinks show how the source is.

        Raises:
            Exception: See `show`.
        """
        if self.renew_report():
            for sink in tuple(self._working):
                self._try(sink, partial(sink.idle, self.report))
            self._check()

    def _check(self) -> None:
        if self._sinks and not self._working and self._error is not None:
            raise self._error

    def renew_report(self) -> bool:
        """Make the report anew if it is older than a quarter of a second; says whether it was."""
        now = time.monotonic()
        if now - self._reported < REPORT_S:
            return False
        self._reported, self.report = now, self._meter.report(self.outputs())
        return True

    def outputs(self) -> list[str]:
        """Where the results lie."""
        names = [sink.output for sink in self._sinks if sink.output]
        return [name for name in names if name not in self._meter.failed]

    def close(self) -> None:
        """Close all sinks.

        Raises:
            Exception: Every sink failed, the last of them now.
        """
        for sink in tuple(self._working):
            self._try(sink, sink.close)
        if self._error is not None and not self._working:
            raise self._error

    def _try(self, sink: Sink, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # Whatever it is, of a library's too, the others go on.
            name = sink.output or type(sink).__name__
            self._working.remove(sink)
            self._error = error
            self._meter.failed[name] = (str(error) or type(error).__name__).splitlines()[0]
            if self._working:
                logger.error("%s is switched off: %s", name, error)
            with contextlib.suppress(Exception):
                sink.close()

    def _in_frame(self, answer: Answer) -> tuple[UInt8, float | None]:
        """The class map in the frame's coordinates, and the mean margin where logits tell it."""
        small, margin = self._class_map_of(answer)
        frame_hw = (answer.pixels.shape[0], answer.pixels.shape[1])
        resize = self._card.preprocess.resize
        window = self._region.window(answer.captured.source, frame_hw)
        if self._options.smooth:
            name, at_ns = answer.captured.source, answer.captured.captured_ns if self._live else None
            if name not in self._smoothings:
                self._smoothings[name] = Smoothing(self._options.smooth, resize)
            small = self._smoothings[name].update(small, window.of(answer.pixels), at_ns)
        class_map = self._class_maps.get(answer.captured.source)
        if class_map is None or class_map.shape != frame_hw:
            class_map = self._class_maps[answer.captured.source] = np.full(frame_hw, VOID, np.uint8)
        restore_class_map(small, (window.height, window.width), resize, window.of(class_map))
        return class_map, margin

    def _class_map_of(self, answer: Answer) -> tuple[UInt8, float | None]:
        if answer.small.ndim == 2:
            return np.asarray(answer.small, np.uint8), None
        logits = np.asarray(answer.small, np.float32)
        if self._confident is None:
            self._confident = ConfidentAnswers(self._card, logits.shape, self._options.unknown)
        return self._confident.class_map(logits)

    def _draw(self, segmented: Segmented) -> UInt8:
        with self._meter.timed("draw", segmented.stage_ms):
            picture = self._overlay.draw(segmented.frame, segmented.class_map)
            if self._hud is not None:
                self._hud.draw(picture, segmented.report, segmented.captured.source)
        return picture
