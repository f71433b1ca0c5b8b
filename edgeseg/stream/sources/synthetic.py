"""`synthetic://`: a rendered street with the faults of real cameras."""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt

from edgeseg.data.scene import Scene
from edgeseg.data.synthetic import Synthetic
from edgeseg.stream.source import Captured, Source

__all__ = ["SyntheticSource"]

Frame = npt.NDArray[np.uint8]


#: So many frames are rendered before the first is read by who reads as fast as possible, in at most so much memory.
RENDERED, RENDERED_BYTES = 32, 1 << 26
#: Up to so many frames a second are rendered as they come.
RENDERED_LIVE = 60


class SyntheticSource(Source):
    """`synthetic://`: a rendered street, at a camera's pace and with a camera's faults where asked for.

    Without a pace, and above 60 frames a second, it drives to and fro over the first 32 frames, which are rendered
    before: rendering takes longer than an engine, and who reads as fast as possible wants to know what the rest can do.
    """

    name = "synthetic"

    def __init__(self, spec: Synthetic, *, first: int = 0, waits: bool = False) -> None:
        """Lay out the street of `spec`, from frame `first` on; with `waits` each frame waits to be read."""
        super().__init__()
        self._spec = spec
        self._scene = Scene(spec.size_at(first), spec.seed)
        self._next = self._first = first
        # Opened again it goes on, and is not silent anew.
        self._stall_at = spec.stall_at if spec.stall_at > first or not first else -1
        self._begin = math.nan
        self.live = spec.fps > 0 and not waits
        self.fps = spec.fps or 25.0
        self.frame_hw = spec.size_at(first)
        self.total = spec.frames or None
        self._rendered = [] if self.live and spec.fps <= RENDERED_LIVE else self._render_some(first)

    def read(self, out: Frame | None = None) -> Captured | None:
        """See `Source.read`."""
        if self._next == self.total:
            return None
        due = self._next_due() if self.live else math.nan
        if not self.live and self._next == self._stall_at:
            self._stopped.wait(self._spec.stall_s)
        index, self._next = self._next, self._next + 1
        pixels = None if self._is_corrupt(index) else self._render(index, out)
        if self.live:
            self._stopped.wait(max(0.0, due - time.monotonic()))
        if self._stopped.is_set():
            return None
        captured_s = due if self.live else time.monotonic()
        return Captured(pixels, index, int(captured_s * 1e9), f"{self.name}-{index:06d}", self.name, "rendered")

    def _next_due(self) -> float:
        """Pass over frames that are older than one that is due, and return when the next is captured, seconds."""
        now = time.monotonic()
        if math.isnan(self._begin):
            self._begin = now
        self._next = max(self._next, self._newest(now))
        if self.total is not None:
            self._next = min(self._next, self.total - 1)
        return self._due(self._next)

    def _due(self, index: int) -> float:
        stalled = self._spec.stall_s if 0 <= self._stall_at <= index else 0.0
        return self._begin + (index - self._first) / self._spec.fps + stalled

    def _newest(self, now: float) -> int:
        """The last frame that is due by now."""
        begin, stall_at = self._begin - self._first / self._spec.fps, self._stall_at
        index = int((now - begin) * self._spec.fps)
        if 0 <= stall_at <= index:
            return max(stall_at - 1, int((now - begin - self._spec.stall_s) * self._spec.fps))
        return index

    def _is_corrupt(self, index: int) -> bool:
        return float(np.random.default_rng((self._spec.seed, index)).random()) < self._spec.corrupt

    def _render(self, index: int, out: Frame | None) -> Frame:
        if self._scene.size_hw != self._spec.size_at(index):
            self._scene = Scene(self._spec.size_at(index), self._spec.seed)
            self._rendered = self._render_some(index) if self._rendered else []
        shown = self._spec.shown_at(index)
        if not self._rendered:
            return self._scene.render(shown, out)
        frame = self._rendered[_to_and_fro(shown, len(self._rendered))]
        if out is None or out.shape != frame.shape:
            return frame.copy()
        np.copyto(out, frame)
        return out

    def _render_some(self, index: int) -> list[Frame]:
        """The first frames of the street, of which one that is read as fast as possible is made."""
        room = RENDERED_BYTES // (3 * math.prod(self._spec.size_at(index)))
        count = max(2, min(RENDERED, room, self.total or RENDERED))
        return [self._scene.render(number) for number in range(count)]


def _to_and_fro(index: int, count: int) -> int:
    """0, 1, … count - 1, count - 2, … 1, 0, 1, …"""
    place = index % (2 * count - 2)
    return min(place, 2 * count - 2 - place)
