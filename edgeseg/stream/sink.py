"""What a sink is, and what it is given of each frame."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.stream.report import StreamReport
from edgeseg.stream.source import Captured

__all__ = ["Segmented", "Sink"]

UInt8 = npt.NDArray[np.uint8]


@dataclass
class Segmented:
    """A frame and what was made of it; all of it is valid while a sink's `write` or a callback runs.

    Attributes:
        captured: The frame as it came.
        pixels: `(H, W, 3)` or `(H, W, 4)` uint8, never None, unlike those of `captured`.
        class_map: `(H, W)` uint8 class indices in the frame's coordinates; 255 where nothing is known.
        class_map_age_ms: Milliseconds from capture until the class map was there.
        stage_ms: Milliseconds by stage of this frame, so far.
        margin: Mean difference of the two best classes' confidences, 0 to 1; None where the session gives class maps.
        report: The stream so far, made anew a few times a second.
        draw: Draws the overlay of this frame.
    """

    captured: Captured
    pixels: UInt8
    class_map: UInt8
    class_map_age_ms: float
    stage_ms: dict[str, float]
    margin: float | None
    report: StreamReport
    draw: Callable[[Segmented], UInt8]

    @functools.cached_property
    def frame(self) -> UInt8:
        """The frame as `(H, W, 3)` uint8 BGR."""
        return self.pixels if self.pixels.shape[2] == 3 else np.asarray(cv2.cvtColor(self.pixels, cv2.COLOR_BGRA2BGR))

    @functools.cached_property
    def overlay(self) -> UInt8:
        """The class map over the frame with its legend, `(H, W, 3)` uint8 BGR; drawn at first use, shared by all."""
        return self.draw(self)


class Sink(ABC):
    """Takes what was made of each frame. Used by one thread.

    Attributes:
        output: Where the result lies; empty where nothing is kept.
        wants_to_stop: Somebody asked here for the end of the stream, as by closing a window.
    """

    output: str = ""
    wants_to_stop: bool = False

    @abstractmethod
    def write(self, segmented: Segmented) -> None:
        """Take one frame.

        Raises:
            EdgesegError, OSError: It can't be kept. The sink is then closed and switched off.
        """

    def idle(self, report: StreamReport) -> None:  # noqa: B027 -- files have nothing to do
        """Nothing new came for a while; called some times a second. What is shown must not look live any more.

        Args:
            report: Of the stream, with the states of its sources.
        """

    def close(self) -> None:  # noqa: B027 -- most keep nothing open
        """Finish what was written so far and put it into its place. Closing twice is allowed.

        Raises:
            EdgesegError, OSError: The result is not whole; what was in its place before is unchanged.
        """
