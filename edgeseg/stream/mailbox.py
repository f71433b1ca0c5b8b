"""The newest frame of a camera, handed from one process to another without a copy."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError
from edgeseg.stream.source import CLOCKS, Clock

__all__ = ["Letter", "Mailbox"]

UInt8 = npt.NDArray[np.uint8]
#: Bytes of the largest frame: 8K in BGRx. What is not written to takes no memory.
LARGEST = 4320 * 7680 * 4
#: So many frames the reader may hold. Beside them a slot is just being taken, one has the newest frame, and one is
#: written to.
HELD = 5
SLOTS = HELD + 3
PAGE = 4096
NOTHING = -1
#: Places in the head: the slot of the newest frame, whether the reader holds each slot, what is known of each slot.
NEWEST, HOLDS = 0, 1
KNOWN = HOLDS + SLOTS
FIELDS = 6


class Letter(NamedTuple):
    """A frame as it was left in the mailbox.

    Attributes:
        pixels: `(H, W, C)` uint8, no copy: whole until it is given back, or five more were taken. None where it arrived
            damaged.
        sequence: The camera's own count.
        captured_ns: By `time.monotonic_ns()`, which is one for all processes.
        clock: Who took that time.
    """

    pixels: UInt8 | None
    sequence: int
    captured_ns: int
    clock: Clock


class Mailbox:
    """Slots in shared memory. One process leaves frames, another takes the newest; neither waits for the other.

    The writer never touches the newest slot nor those that the reader holds, so that no frame is torn. Between
    leaving and taking, both sides make a call of the system (a byte through a pipe), which orders their memory.

    Args:
        handle: Of the memory, as `create` gives it; inherited by the other process.
    """

    def __init__(self, handle: int) -> None:
        self._memory = mmap.mmap(handle, PAGE + SLOTS * LARGEST)
        self._head = np.frombuffer(self._memory, np.int64, KNOWN + SLOTS * FIELDS)
        self._bytes = np.frombuffer(self._memory, np.uint8)
        self._held: deque[tuple[int, UInt8]] = deque()
        self._taken: int | None = None

    @staticmethod
    def create() -> int:
        """Handle of new memory, which is gone when no process has it any more, however they end."""
        handle = os.memfd_create("edgeseg-frames")
        os.ftruncate(handle, PAGE + SLOTS * LARGEST)
        os.pwrite(handle, np.int64(NOTHING).tobytes(), 0)
        return handle

    def free_slot(self) -> int:
        """The slot to write the next frame to."""
        return next(slot for slot in range(SLOTS) if slot != self._head[NEWEST] and not self._head[HOLDS + slot])

    def room(self, slot: int, shape: tuple[int, ...]) -> UInt8:
        """Where a frame of that shape lies in a slot.

        Raises:
            EdgesegError: It is larger than a slot.
        """
        if math.prod(shape) > LARGEST:
            raise EdgesegError(f"A frame of {shape[1]}x{shape[0]} pixels is too large: 8K is possible.")
        begin = PAGE + slot * LARGEST
        return self._bytes[begin : begin + math.prod(shape)].reshape(shape)

    def leave(self, slot: int, letter: Letter) -> None:
        """Make what was written to a slot the newest frame."""
        shape = letter.pixels.shape if letter.pixels is not None else (0, 0, 0)
        begin = KNOWN + slot * FIELDS
        clock = CLOCKS.index(letter.clock)
        self._head[begin : begin + FIELDS] = (letter.sequence, letter.captured_ns, clock, *shape)
        self._head[NEWEST] = slot

    def take(self) -> Letter | None:
        """The newest frame; None before the first and where it was taken already."""
        while (slot := int(self._head[NEWEST])) != NOTHING:
            if any(slot == held for held, _ in self._held):
                return None
            self._head[HOLDS + slot] = 1
            if self._head[NEWEST] == slot and self._head[KNOWN + slot * FIELDS] != self._taken:
                return self._open(slot)
            self._head[HOLDS + slot] = 0
            if self._head[KNOWN + slot * FIELDS] == self._taken:
                return None
        return None

    def give_back(self, pixels: UInt8) -> None:
        """Let the writer use the slot again whose frame that is; other arrays are left aside."""
        for held in self._held:
            if held[1] is pixels:
                self._held.remove(held)
                self._head[HOLDS + held[0]] = 0
                return

    def close(self) -> None:
        """Let go of the memory, which stays for those who still hold a frame of it."""
        self._held.clear()
        del self._head, self._bytes
        with contextlib.suppress(BufferError):
            self._memory.close()

    def _open(self, slot: int) -> Letter:
        begin = KNOWN + slot * FIELDS
        sequence, captured_ns, clock, *shape = (int(value) for value in self._head[begin : begin + FIELDS])
        self._taken = sequence
        if not all(shape):
            self._head[HOLDS + slot] = 0
            return Letter(None, sequence, captured_ns, CLOCKS[clock])
        pixels = self.room(slot, tuple(shape))
        self._held.append((slot, pixels))
        if len(self._held) > HELD:
            self._head[HOLDS + self._held.popleft()[0]] = 0
        return Letter(pixels, sequence, captured_ns, CLOCKS[clock])
