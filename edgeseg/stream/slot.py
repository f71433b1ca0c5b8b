"""What one thread hands to another: one thing at a time."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Ended", "Slot"]

T = TypeVar("T")


class Ended(Exception):
    """Nothing more will come."""


class Slot(Generic[T]):
    """Room for one thing, between one thread that puts and one that takes.

    Args:
        keeps_all: `put` waits until there is room; else what was not taken yet is replaced.
    """

    def __init__(self, *, keeps_all: bool) -> None:
        self._keeps_all = keeps_all
        self._thing: T | None = None
        self._ended = False
        self._changed = threading.Condition()

    def put(self, thing: T) -> T | None:
        """Leave a thing; gives what will never be taken: the one that was replaced, or after `end` this one."""
        with self._changed:
            while self._keeps_all and self._thing is not None and not self._ended:
                self._changed.wait()
            if self._ended:
                return thing
            left, self._thing = self._thing, thing
            self._changed.notify_all()
            return left

    def take(self, seconds: float) -> T | None:
        """The thing, None where none comes in time.

        Raises:
            Ended: It was ended, and all was taken.
        """
        with self._changed:
            if self._thing is None and not self._ended:
                self._changed.wait(seconds)
            thing, self._thing = self._thing, None
            if thing is None and self._ended:
                raise Ended
            self._changed.notify_all()
            return thing

    def is_full(self) -> bool:
        """Whether there is a thing to take."""
        return self._thing is not None

    def has_ended(self) -> bool:
        """Whether nothing more is put."""
        return self._ended

    def end(self) -> None:
        """Nothing more is put; what is there can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
