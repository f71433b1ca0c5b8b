"""What one thread hands to another: of each source one thing at a time."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Ended", "Slot"]

T = TypeVar("T")


class Ended(Exception):
    """Nothing more will come."""


class Slot(Generic[T]):
    """Room for one thing of each source, between one thread that puts and one that takes.

    They are taken in the order in which their places were filled.
    """

    def __init__(self) -> None:
        self._things: dict[str, T] = {}
        self._ended = False
        self._changed = threading.Condition()

    def put(self, thing: T, source: str = "", *, waits: bool) -> T | None:
        """Leave a thing; gives what will never be taken: the one that was replaced, or after `end` this one.

        Args:
            thing: To leave.
            source: Whose it is.
            waits: Until the one before was taken; else that is replaced.
        """
        with self._changed:
            while waits and source in self._things and not self._ended:
                self._changed.wait()
            if self._ended:
                return thing
            left = self._things.get(source)
            self._things[source] = thing
            self._changed.notify_all()
            return left

    def take(self, seconds: float) -> T | None:
        """A thing, None where none comes in time.

        Raises:
            Ended: It was ended, and all was taken.
        """
        with self._changed:
            if not self._things and not self._ended:
                self._changed.wait(seconds)
            if not self._things:
                if self._ended:
                    raise Ended
                return None
            thing = self._things.pop(next(iter(self._things)))
            self._changed.notify_all()
            return thing

    def is_full(self) -> bool:
        """Whether there is a thing to take."""
        return bool(self._things)

    def has_ended(self) -> bool:
        """Whether nothing more is put."""
        return self._ended

    def end(self) -> None:
        """Nothing more is put; what is there can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
