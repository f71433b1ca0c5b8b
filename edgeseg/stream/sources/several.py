"""Several sources, one after the other in turns."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeseg.stream.slot import Ended, Slot
from edgeseg.stream.source import Captured, Source

__all__ = ["Several"]

UInt8 = npt.NDArray[np.uint8]
#: Seconds between two looks at whether to stop.
LOOK_S = 0.1


class Several(Source):
    """Frames of several sources in turns, each read by a thread of its own, so that none waits for another.

    Each source has one slot: of a live one it keeps the newest frame, any other waits until its frame was taken. Names
    that occur twice get a number.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        """Read `sources`, which are closed with this one; none is read before the first `read`."""
        super().__init__()
        self._lanes = [_Lane(source, name) for source, name in zip(sources, _unique(sources), strict=True)]
        self._changed = threading.Condition()
        self._turn = 0
        self._given: dict[int, _Lane] = {}
        sizes, totals = {source.frame_hw for source in sources}, [source.total for source in sources]
        self.name = "+".join(lane.name for lane in self._lanes)
        self.live = any(source.live for source in sources)
        self.fps = max(source.fps for source in sources)
        self.frame_hw = sizes.pop() if len(sizes) == 1 else None
        self.total = sum(total or 0 for total in totals) if None not in totals else None
        self.notes = tuple(f"{lane.name}: {note}" for lane in self._lanes for note in lane.source.notes)

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sources, under the names that their frames have."""
        return tuple(lane.source for lane in self._lanes)

    def read(self, out: UInt8 | None = None) -> Captured | None:
        """See `Source.read`. A source that is given up ends alone; the error of the last is raised."""
        if out is not None and (lane := self._given.pop(id(out), None)) is not None:
            lane.spare.append(out)
        for lane in self._lanes:
            lane.start(self._changed)
        with self._changed:
            while True:
                for step in range(len(self._lanes)):
                    lane = self._lanes[(self._turn + step) % len(self._lanes)]
                    if (captured := lane.take()) is not None:
                        self._turn = self._lanes.index(lane) + 1
                        if captured.pixels is not None:
                            self._given[id(captured.pixels)] = lane
                        return captured
                if self._stopped.is_set() or all(lane.ended for lane in self._lanes):
                    break
                self._changed.wait(LOOK_S)
        errors = [lane.error for lane in self._lanes if lane.error is not None]
        if len(errors) == len(self._lanes):
            raise errors[-1]
        return None

    def stop(self) -> None:
        """See `Source.stop`."""
        super().stop()
        for lane in self._lanes:
            lane.source.stop()

    def ready(self) -> bool:
        """See `Source.ready`."""
        return any(lane.has_frame for lane in self._lanes)

    def close(self) -> None:
        """Close all sources, which end at the same time."""
        self.stop()
        for lane in self._lanes:
            lane.close()


class _Lane:
    """One of the sources, its thread, and its newest frame.

    Attributes:
        spare: Pixels that were given back.
    """

    def __init__(self, source: Source, name: str) -> None:
        source.rename(name)
        self.source, self.name = source, name
        self.error: Exception | None = None
        self.spare: deque[UInt8] = deque()
        self.ended = False
        self._slot: Slot[Captured] = Slot()
        self._thread: threading.Thread | None = None

    @property
    def has_frame(self) -> bool:
        return self._slot.is_full()

    def start(self, changed: threading.Condition) -> None:
        """Begin to read, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read_all, args=(changed,), daemon=True)
            self._thread.start()

    def take(self) -> Captured | None:
        try:
            return self._slot.take(0)
        except Ended:
            self.ended = True
            return None

    def close(self) -> None:
        self._slot.end()
        if self._thread is not None:
            self._thread.join()
        self.source.close()

    def _read_all(self, changed: threading.Condition) -> None:
        try:
            while not self._slot.has_ended():
                captured = self.source.read(self.spare.popleft() if self.spare else None)
                if captured is None:
                    break
                named = dataclasses.replace(captured, source=self.name, name=f"{self.name}-{captured.sequence:06d}")
                left = self._slot.put(named, waits=not self.source.live)
                if left is not None and left.pixels is not None:
                    self.spare.append(left.pixels)
                with changed:
                    changed.notify()
        except Exception as error:
            self.error = error
        finally:
            self._slot.end()
            with changed:
                changed.notify()


def _unique(sources: Sequence[Source]) -> list[str]:
    names = [source.name for source in sources]
    return [
        f"{name}-{names[: index + 1].count(name)}" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]
