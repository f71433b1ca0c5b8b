"""The process of one camera: a read that hangs in a driver can't be cancelled, only killed.

`CameraProcess` starts it; the first line of its stdin says what to read, and when stdin ends,
because whoever started it closed it or is gone, it gives the camera back and ends.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import zlib
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError
from edgeseg.stream.child import be_child
from edgeseg.stream.mailbox import Letter, Mailbox
from edgeseg.stream.protocol import GO, TAKEN, Ended, Failed, Frame, Message, Opened, Request
from edgeseg.stream.source import Captured, Source
from edgeseg.stream.sources.paced import Paced
from edgeseg.stream.sources.table import camera_kind, open_here

__all__ = ["main"]

UInt8 = npt.NDArray[np.uint8]
#: A frame is compared with the one before by about so many of its pixels.
SAMPLE = 64


class _Stdin:
    """Who started this process: what it asks for, each frame that it took, and whether it is still there.

    Attributes:
        source: Is stopped when it is gone.
    """

    def __init__(self) -> None:
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(0, 1) or b"\n"
        self.request = msgspec.json.decode(line, type=Request)
        self.gone, self.wanted = threading.Event(), threading.Event()
        self.taken = threading.Semaphore(1)
        self.source: Source | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while told := os.read(0, 1024):
            if GO in told:
                self.wanted.set()
            if TAKEN in told:
                self.taken.release(told.count(TAKEN))
        self.gone.set()
        if self.source is not None:
            self.source.stop()
        self.wanted.set()
        self.taken.release()


class _Stillness:
    """Whether a picture stays the same; a sensor's noise makes every frame differ."""

    def __init__(self, frozen_s: float) -> None:
        self._frozen_s = frozen_s
        self._sum = 0
        self._since = time.monotonic()

    def is_frozen(self, sample: UInt8) -> bool:
        """Whether the same picture has been coming for too long, this one among them."""
        now, found = time.monotonic(), zlib.crc32(sample.data)
        if found != self._sum:
            self._sum, self._since = found, now
        return now - self._since >= self._frozen_s


def main() -> None:
    """Leave the frames of a source in a mailbox, and tell of each."""
    mailbox, messages = be_child()
    starter = _Stdin()

    def tell(message: Message) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(messages, msgspec.json.encode(message) + b"\n")

    try:
        source = starter.source = _open(starter)
        with contextlib.closing(source):
            tell(Opened(source.name, source.fps, source.frame_hw, source.total, source.notes))
            os.set_blocking(messages, False)
            _leave_all(source, mailbox, starter, tell)
            os.set_blocking(messages, True)
        tell(Ended())
    except EdgesegError as error:
        os.set_blocking(messages, True)
        tell(Failed(error.message, error.hint, error.exit_code))


def _open(starter: _Stdin) -> Source:
    request = starter.request
    source = open_here(request.uri, first=request.first, loop=request.loop, waits=request.waits)
    return Paced(source, first=request.first) if request.paced else source


def _leave_all(source: Source, mailbox: Mailbox, starter: _Stdin, tell: Callable[[Message], None]) -> None:
    shape = (*source.frame_hw, 3) if source.frame_hw is not None else None
    stillness = _Stillness(starter.request.frozen_s)
    passed = _await(source, starter)
    while not starter.gone.is_set():
        if starter.request.waits:
            starter.taken.acquire()
        slot = mailbox.free_slot()
        captured = source.read(mailbox.room(slot, shape) if shape is not None else None)
        if captured is None:
            return
        pixels, frozen = _looked_at(captured, stillness)
        if pixels is not None:
            room = mailbox.room(slot, pixels.shape)
            if not np.shares_memory(room, pixels):
                np.copyto(room, pixels)
            pixels, shape = room, pixels.shape
        sequence = captured.sequence - passed
        mailbox.leave(slot, Letter(pixels, sequence, captured.captured_ns, captured.clock))
        with contextlib.suppress(BlockingIOError):  # Who reads so slowly has been told of frames enough.
            tell(Frame(sequence, frozen))


def _await(source: Source, starter: _Stdin) -> int:
    """Wait until frames are wanted. A camera's are read and left aside meanwhile, so that none is old when it is given:
    so many were.
    """
    passed = 0
    while camera_kind(starter.request.uri) and not starter.wanted.is_set() and source.read() is not None:
        passed += 1
    starter.wanted.wait()
    return passed


def _looked_at(captured: Captured, stillness: _Stillness) -> tuple[UInt8 | None, bool]:
    """The pixels, None where they show nothing at all as before a camera is ready; and whether they are frozen."""
    pixels = captured.pixels
    if pixels is None or pixels.ndim != 3 or not pixels.size:
        return None, False
    step = max(1, min(pixels.shape[:2]) // SAMPLE)
    sample = np.ascontiguousarray(pixels[::step, ::step, :3])
    blank = bool((sample == sample[0, 0]).all())
    return (None if blank else pixels), stillness.is_frozen(sample)
