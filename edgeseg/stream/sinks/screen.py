"""A window in a process of its own: where its display goes away or hangs, only that process ends or waits.

Windows of Qt end their process when their display goes away. What that process does is `main`.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError
from edgeseg.stream.child import Child, be_child
from edgeseg.stream.mailbox import Letter, Mailbox

__all__ = ["Screen"]

UInt8 = npt.NDArray[np.uint8]
TITLE = "edgeseg"
#: Seconds until a window is open.
OPEN_S = 10.0
#: Milliseconds between two looks for a picture. Keys are heard meanwhile, of several only the last.
LOOK_MS = 10
#: What is said: the window is open; there is a picture; it was closed.
OPENED, PICTURE, CLOSED = b"\n", b".", b"\0"


class Screen(Child):
    """A window, seen from who shows pictures in it.

    Raises:
        EdgesegError: No window can be opened on this display.
    """

    def __init__(self) -> None:
        super().__init__("edgeseg.stream.sinks.screen")
        self._count = 0
        try:
            self._await_opening()
        except BaseException:
            self.kill()
            self.end()
            raise

    def _await_opening(self) -> None:
        end = time.monotonic() + OPEN_S
        heard: bytes | None = b""
        while heard == b"" and time.monotonic() < end:
            heard = self.hear(end - time.monotonic())
        if not heard:
            raise EdgesegError(self.reason() or "it does not answer.")

    def show(self, picture: UInt8) -> None:
        """Show a picture `(H, W, 3)` uint8 BGR. It is copied."""
        slot = self.mailbox.free_slot()
        room = self.mailbox.room(slot, picture.shape)
        np.copyto(room, picture)
        self._count += 1
        self.mailbox.leave(slot, Letter(room, self._count, time.monotonic_ns(), "rendered"))
        self.say(PICTURE)

    def typed(self) -> str:
        """Keys that were typed since the last call; `CLOSED` where the window was closed.

        Raises:
            EdgesegError: The window is gone.
        """
        keys = self.hear(0)
        if keys is None:
            raise EdgesegError(
                "The window is gone, and perhaps its display.", hint="Watch in a browser: web://127.0.0.1:8080"
            )
        return keys.decode("latin-1")


def main() -> None:
    """Show the newest picture of the mailbox, and tell what is typed, until stdin ends or the window is closed."""
    mailbox, messages = be_child()
    with contextlib.suppress(BrokenPipeError):
        _run(mailbox, messages)


def _run(mailbox: Mailbox, messages: int) -> None:
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.waitKey(1)
    except cv2.error as error:
        sys.exit(" ".join(error.err.split()))
    told, size = OPENED, (0, 0)
    while True:
        os.write(messages, told)
        if told == CLOSED:
            return
        if select.select([0], [], [], 0)[0]:
            if not os.read(0, 1024):
                return
            size = _show(mailbox, size)
        told = _look()


def _show(mailbox: Mailbox, size: tuple[int, int]) -> tuple[int, int]:
    """Show the newest picture, if there is one, in a window as large as the first; gives the size of that."""
    letter = mailbox.take()
    if letter is None or letter.pixels is None:
        return size
    if size == (0, 0):
        size = (letter.pixels.shape[1], letter.pixels.shape[0])
        cv2.resizeWindow(TITLE, *size)
    cv2.imshow(TITLE, letter.pixels)
    mailbox.give_back(letter.pixels)
    return size


def _look() -> bytes:
    """What was typed: a key, or that the window was closed."""
    key = cv2.waitKeyEx(LOOK_MS)
    try:
        is_open = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # Where the last window is closed, Qt has none to ask.
        is_open = False
    if not is_open:
        return CLOSED
    # Keys without a letter, arrows among them, have codes whose last byte is a letter's.
    return bytes([key & 0xFF]) if key >= 0 and not key & 0xFF00 else b""
