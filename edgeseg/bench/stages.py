"""One frame through an engine, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.backends import Session
from edgeseg.data.resize import frame_for_card, restore_class_map
from edgeseg.labels import LabelSet
from edgeseg.stream.overlay import Overlay

__all__ = ["BESIDE", "LATENCY", "FramePath", "UInt8"]

UInt8 = npt.NDArray[np.uint8]
#: From a camera's frame in memory to the class map in its coordinates.
LATENCY = "latency"
#: Measured with every frame, but no part of that: before it, and behind it.
BESIDE = ("decode", "draw")


class FramePath:
    """Takes one frame after the other through a session, and times each stage.

    Args:
        session: For class maps; used by this alone.

    Attributes:
        class_map: `(H, W)` uint8 of the last frame, in its coordinates.
    """

    def __init__(self, session: Session) -> None:
        self._session, self._card = session, session.card
        session.time_stages()
        self._overlay = Overlay(LabelSet(self._card.classes, self._card.palette))
        self.class_map: UInt8 = np.empty((0, 0), np.uint8)

    def run(self, frame: UInt8, encoded: UInt8 | None = None) -> dict[str, int]:
        """Nanoseconds by stage of one frame; a session for several frames gets it as often.

        Args:
            frame: `(H, W, 3)` uint8 BGR.
            encoded: The same as a file, where decoding is to be timed.
        """
        times: dict[str, int] = {}
        if encoded is not None:
            times["decode"] = _timed(lambda: cv2.imdecode(encoded, cv2.IMREAD_COLOR))
        begin = time.perf_counter_ns()
        for buffer in self._session.input_buffer():
            frame_for_card(frame, self._card.preprocess, buffer)
        resized = time.perf_counter_ns()
        ticket = self._session.submit()
        answers = ticket.result()
        answered = time.perf_counter_ns()
        self.restore(answers, frame)
        end = time.perf_counter_ns()
        inside = {stage: round(1e6 * ms) for stage, ms in ticket.stage_ms.items()}
        times |= {"resize": resized - begin, **inside}
        # What the library's own clock does not see: the call, and its waiting.
        times |= {"call": max(0, answered - resized - sum(inside.values())), "restore": end - answered}
        times[LATENCY] = end - begin
        if encoded is not None:
            times["draw"] = _timed(lambda: self._overlay.draw(frame, self.class_map))
        return times

    def restore(self, answers: npt.NDArray[Any], frame: UInt8) -> None:
        """Bring an engine's class maps to the coordinates of a frame; the last is kept as `class_map`."""
        frame_hw = (frame.shape[0], frame.shape[1])
        if self.class_map.shape != frame_hw:
            self.class_map = np.empty(frame_hw, np.uint8)
        for answer in answers:
            small = np.asarray(answer, np.uint8)
            restore_class_map(small, frame_hw, self._card.preprocess.resize, self.class_map)


def _timed(act: Callable[[], object]) -> int:
    begin = time.perf_counter_ns()
    act()
    return time.perf_counter_ns() - begin
