"""Ctrl-C for commands that can end in good order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from edgeseg.cli.report import say

__all__ = ["stopped_by_interrupt"]


@contextlib.contextmanager
def stopped_by_interrupt(promise: str) -> Iterator[Callable[[], bool]]:
    """While inside, the first Ctrl-C or SIGTERM makes the function that this gives say True; the second aborts.

    Args:
        promise: What is finished first, as in `Saving a checkpoint`; empty says nothing.
    """
    asked = threading.Event()

    def handle(_: int, __: FrameType | None) -> None:
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
