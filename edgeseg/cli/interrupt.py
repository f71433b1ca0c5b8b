"""Ctrl-C for commands that can end in good order."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from edgeseg.cli.report import say

__all__ = ["Interrupt", "stopped_by_interrupt"]

#: Exit code of a command that was interrupted.
INTERRUPTED = 130


def _late() -> int:
    say("error: what was begun could not be finished in time; it is left as it is.")
    return INTERRUPTED


class Interrupt:
    """Whether somebody asked for the end.

    Args:
        promise: What is finished first, as in `Saving a checkpoint`; empty says nothing.
        drain_s: Seconds after SIGTERM or a second Ctrl-C until the process is ended, whatever hangs.

    Attributes:
        drains: SIGTERM came, and it ends within these seconds: what comes later of that kind is ignored to the end.
    """

    def __init__(self, promise: str, drain_s: float | None) -> None:
        self._promise, self._drain_s = promise, drain_s
        self._asked = threading.Event()
        self._ends: threading.Timer | None = None
        self.drains = False

    def __call__(self) -> bool:
        return self._asked.is_set()

    def end_soon(self, last_words: Callable[[], int] = _late) -> None:
        """End the process within the seconds that it has, whatever hangs.

        Args:
            last_words: Tells why, and gives the exit code; only where it did not end by itself.
        """
        if self._ends is None and self._drain_s is not None:
            self._ends = threading.Timer(self._drain_s, lambda: os._exit(last_words()))
            self._ends.daemon = True
            self._ends.start()

    def handle(self, number: int, _: FrameType | None) -> None:
        """Take a signal."""
        drains = number == signal.SIGTERM and self._drain_s is not None
        self.drains = self.drains or drains
        if drains or self._asked.is_set():
            self.end_soon()
        if self._asked.is_set():
            if drains:  # It ends in time, and what it has is not lost by asking twice.
                return
            raise KeyboardInterrupt
        self._asked.set()
        if self._promise:
            say(f"\n{self._promise}; Ctrl-C again aborts at once.")

    def close(self) -> None:
        """It did end in time."""
        if self._ends is not None:
            self._ends.cancel()


@contextlib.contextmanager
def stopped_by_interrupt(promise: str, *, drain_s: float | None = None) -> Iterator[Interrupt]:
    """While inside, the first Ctrl-C or SIGTERM makes what this gives say True when called; a second Ctrl-C aborts, and
    so does a second SIGTERM where there is no time within which the first ends everything.

    Args:
        promise, drain_s: See `Interrupt`.
    """
    interrupt = Interrupt(promise, drain_s)
    before = {number: signal.signal(number, interrupt.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if number == signal.SIGTERM and interrupt.drains else handler)
        interrupt.close()
