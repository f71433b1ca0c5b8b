"""The newest frame of a camera, handed from one process to another without a copy."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Letter", "Mailbox"]

UInt8 = npt.NDArray[np.uint8]
#: Bytes of the largest frame: 8K in BGRx. What is not written to takes no memory.
LARGEST = 4320 * 7680 * 4
#: One slot is held by the reader, one has the newest frame, one is written to.
SLOTS = 3
PAGE = 4096
NOTHING = -1
#: Places in the head: the slot of the newest frame, the one that the reader holds, then what is known of each slot.
NEWEST, HELD, KNOWN = 0, 1, 2
FIELDS = 5


class Letter(NamedTuple):
    """A frame as it was left in the mailbox.

    Attributes:
        pixels: `(H, W, C)` uint8, no copy: whole until the next `take`. None where it arrived damaged.
        sequence: The camera's own count.
        captured_ns: By `time.monotonic_ns()`, which is one for all processes.
    """

    pixels: UInt8 | None
    sequence: int
    captured_ns: int


class Mailbox:
    """Three slots in shared memory. One process leaves frames, another takes the newest; neither waits for the other.

    The writer never touches the newest slot nor the one that the reader holds, so that no frame is torn. Between
    leaving and taking, both sides make a call of the system (a byte through a pipe), which orders their memory.

    Args:
        handle: Of the memory, as `create` gives it; inherited by the other process.
    """

    def __init__(self, handle: int) -> None:
        self._memory = mmap.mmap(handle, PAGE + SLOTS * LARGEST)
        self._head = np.frombuffer(self._memory, np.int64, KNOWN + SLOTS * FIELDS)
        self._bytes = np.frombuffer(self._memory, np.uint8)

    @staticmethod
    def create() -> int:
        """Handle of new memory, which is gone when no process has it any more, however they end."""
        handle = os.memfd_create("edgeseg-frames")
        os.ftruncate(handle, PAGE + SLOTS * LARGEST)
        head = np.zeros(KNOWN + SLOTS * FIELDS, np.int64)
        head[NEWEST] = head[HELD] = NOTHING
        os.pwrite(handle, head.tobytes(), 0)
        return handle

    def free_slot(self) -> int:
        """The slot to write the next frame to."""
        return next(slot for slot in range(SLOTS) if slot not in (self._head[NEWEST], self._head[HELD]))

    def room(self, slot: int, shape: tuple[int, ...]) -> UInt8:
        """Where a frame of that shape lies in a slot."""
        begin = PAGE + slot * LARGEST
        return self._bytes[begin : begin + int(np.prod(shape))].reshape(shape)

    def leave(self, slot: int, letter: Letter) -> None:
        """Make what was written to a slot the newest frame."""
        shape = letter.pixels.shape if letter.pixels is not None else (0, 0, 0)
        begin = KNOWN + slot * FIELDS
        self._head[begin : begin + FIELDS] = (letter.sequence, letter.captured_ns, *shape)
        self._head[NEWEST] = slot

    def take(self) -> Letter | None:
        """The newest frame, which stays whole until the next call; None before the first."""
        while (slot := int(self._head[NEWEST])) != NOTHING:
            self._head[HELD] = slot
            if self._head[NEWEST] == slot:
                begin = KNOWN + slot * FIELDS
                sequence, captured_ns, *shape = (int(value) for value in self._head[begin : begin + FIELDS])
                return Letter(self.room(slot, tuple(shape)) if all(shape) else None, sequence, captured_ns)
        return None

    def close(self) -> None:
        """Let go of the memory, which stays for those who still hold a frame of it."""
        del self._head, self._bytes
        with contextlib.suppress(BufferError):
            self._memory.close()
