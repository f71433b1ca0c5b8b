"""The process of one camera: a read that hangs in a driver can't be cancelled, only killed.

It is started as `python -m edgeseg.stream.worker URI FIRST HANDLE`: the source, the number of the first frame, and the
handle of the mailbox. It ends when its stdin does, which is when whoever started it is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

import msgspec
import numpy as np

from edgeseg.errors import EdgesegError
from edgeseg.stream.mailbox import Letter, Mailbox
from edgeseg.stream.protocol import Ended, Failed, Frame, Message, Opened
from edgeseg.stream.sources import Source, open_source

__all__ = ["main"]


def main() -> None:
    """Leave the frames of a source in a mailbox, and tell of each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; who started this process ends it.
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    # A camera's library may write to stdout by itself; messages keep the real one.
    messages = os.dup(1)
    os.dup2(2, 1)
    uri, first, handle = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

    def tell(message: Message) -> None:
        os.write(messages, msgspec.json.encode(message) + b"\n")

    try:
        source = open_source(uri, first=first)
        with contextlib.closing(source):
            tell(Opened(source.name, source.fps, source.frame_hw, source.total))
            os.set_blocking(messages, False)
            _leave_all(source, Mailbox(handle), tell)
            os.set_blocking(messages, True)
            tell(Ended())
    except EdgesegError as error:
        os.set_blocking(messages, True)
        tell(Failed(error.message, error.hint, error.exit_code))


def _leave_all(source: Source, mailbox: Mailbox, tell: Callable[[Message], None]) -> None:
    shape = (*source.frame_hw, 3) if source.frame_hw is not None else None
    while True:
        slot = mailbox.free_slot()
        captured = source.read(mailbox.room(slot, shape) if shape is not None else None)
        if captured is None:
            return
        pixels = captured.pixels
        if pixels is not None:
            room = mailbox.room(slot, pixels.shape)
            if not np.shares_memory(room, pixels):
                np.copyto(room, pixels)
            pixels, shape = room, pixels.shape
        mailbox.leave(slot, Letter(pixels, captured.sequence, captured.captured_ns))
        with contextlib.suppress(BlockingIOError):  # Who reads so slowly has been told of frames enough.
            tell(Frame(captured.sequence))


def _end_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
