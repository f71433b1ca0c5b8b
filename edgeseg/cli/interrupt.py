"""Ctrl-C for commands that can end in good order."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from edgeseg.cli.report import say

__all__ = ["stopped_by_interrupt"]

#: Exit code of a command that was interrupted.
INTERRUPTED = 130


@contextlib.contextmanager
def stopped_by_interrupt(promise: str, *, drain_s: float | None = None) -> Iterator[Callable[[], bool]]:
    """While inside, the first Ctrl-C or SIGTERM makes the function that this gives say True; the second aborts.

    Args:
        promise: What is finished first, as in `Saving a checkpoint`; empty says nothing.
        drain_s: Seconds after SIGTERM or a second Ctrl-C until the process is ended, whatever hangs.
    """
    asked = threading.Event()
    ends: list[threading.Timer] = []

    def end_within(seconds: float) -> None:
        ends.append(threading.Timer(seconds, _end))
        ends[-1].daemon = True
        ends[-1].start()

    def handle(number: int, _: FrameType | None) -> None:
        if drain_s is not None and (number == signal.SIGTERM or asked.is_set()):
            end_within(drain_s)
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if promise:
            say(f"\n{promise}; Ctrl-C again aborts at once.")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for timer in ends:
            timer.cancel()


def _end() -> None:
    say("error: what was begun could not be finished in time; it is left as it is.")
    os._exit(INTERRUPTED)
