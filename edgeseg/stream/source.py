"""What a source of frames is: how it is read, what it tells of its health, and what each frame carries."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["CLOCKS", "Captured", "Clock", "Health", "Source", "State", "frame_of"]

UInt8 = npt.NDArray[np.uint8]
Self = TypeVar("Self", bound="Source")
State = Literal["connecting", "live", "stalled", "lost"]
#: Who took the time of capture: the sensor at its exposure, the driver when it had the frame, this machine when the
#: first part of the frame arrived, when the frame was read, or the renderer whose frame was due then.
Clock = Literal["sensor", "driver", "arrival", "read", "rendered"]
CLOCKS: tuple[Clock, ...] = ("sensor", "driver", "arrival", "read", "rendered")


@dataclass(frozen=True)
class Captured:
    """One frame as it came from its source.

    Attributes:
        pixels: `(H, W, 3)` uint8 BGR, or `(H, W, 4)` BGRx; None where it arrived damaged.
        sequence: The source's own count from 0. A gap stands for frames that were replaced by newer ones.
        captured_ns: When it was captured, by `time.monotonic_ns()`.
        name: Of this frame: its file without the suffix, or the source's name and its number.
        source: Name of the source.
        clock: Who took that time.
    """

    pixels: UInt8 | None
    sequence: int
    captured_ns: int
    name: str
    source: str
    clock: Clock = "read"


@dataclass
class Health:
    """How a source is. It changes while the source is read, and may be looked at from any thread.

    Attributes:
        state: `connecting` until the first frame, `live`, `stalled` while no frames come, `lost` once given up.
        frozen: The same picture has been coming for long: the camera hangs and does not know it.
        stalls, reconnects: How often it was silent for too long, and was opened again.
        beats: Goes up while somebody waits for frames or opens the source again, so that a watchdog sees life.
        reason: Why it is not live; empty where it is.
    """

    state: State = "live"
    frozen: bool = False
    stalls: int = 0
    reconnects: int = 0
    beats: int = 0
    reason: str = ""


class Source(ABC):
    """Frames, one after the other. Used by one thread; iterating gives those that are not damaged until the end.

    Attributes:
        name: A short word for file names.
        place: File or folder that it reads, None for others.
        live: Frames come by the clock, and who is late gets the newest; else each frame waits to be read.
        fps: Frames per second as stated, 0 where time has no part in it.
        frame_hw: Height and width of its frames, pixels; None where that is not known before, or they differ.
        total: Frames to come as far as is known before, else None. Damaged videos hold fewer.
        notes: Sentences about what it was asked for and does not do.
        parts: The sources that this one is made of; itself.
        health: See `Health`.
    """

    name: str
    place: Path | None = None
    live: bool = False
    fps: float = 0.0
    frame_hw: tuple[int, int] | None = None
    total: int | None = None
    notes: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.health = Health()
        self._stopped = threading.Event()
        self._renamed = False

    @property
    def parts(self) -> tuple[Source, ...]:
        """The sources that this one is made of: itself."""
        return (self,)

    @abstractmethod
    def read(self, out: UInt8 | None = None) -> Captured | None:
        """Wait for the next frame; None at the end, or when the source was told to stop.

        Args:
            out: Pixels of an earlier frame, which the caller is done with: they may be used again for this one.

        Raises:
            SourceLost: Frames stopped coming before their end.
        """

    def stop(self) -> None:
        """Have `read` give None from now on, also one that waits. Called by any thread."""
        self._stopped.set()

    def rename(self, name: str) -> None:
        """Give it a name of its own among several."""
        self.name, self._renamed = name, True

    def ready(self) -> bool:
        """Whether `read` returns at once."""
        return True

    def close(self) -> None:  # noqa: B027 -- most hold nothing
        """Give the file or device back. Closing twice is allowed."""

    def __iter__(self) -> Iterator[Captured]:
        while (captured := self.read()) is not None:
            if frame_of(captured.pixels) is not None:
                yield captured

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def frame_of(pixels: UInt8 | None) -> UInt8 | None:
    """The pixels where they are a frame. Some drivers report success with an empty or foreign array once a camera is
    gone.
    """
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8:
        return None
    return pixels if pixels.size else None
