"""The newest picture, for everybody who watches. Used by the page's event loop alone, but for `viewers`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from edgeseg.web.monitor import Word

__all__ = ["Broadcast", "Picture"]


@dataclass(frozen=True)
class Picture:
    """A picture as it is sent.

    Attributes:
        number: It goes up by one with each picture.
        jpeg: All of the file.
        state: Of the stream when it was drawn.
    """

    number: int
    jpeg: bytes
    state: Word


class Broadcast:
    """Holds one picture. Who is slow gets the newest next, and nobody waits for anybody.

    Attributes:
        viewers: How many watch; may be read by any thread.
    """

    def __init__(self) -> None:
        self.viewers = 0
        self._newest = Picture(0, b"", "connecting")
        self._changed = asyncio.Event()

    @property
    def number(self) -> int:
        """Of the newest picture. It may be from long ago, when somebody last watched."""
        return self._newest.number

    def put(self, jpeg: bytes, state: Word) -> None:
        """Replace the picture."""
        self._newest = Picture(self._newest.number + 1, jpeg, state)
        self._changed.set()
        self._changed = asyncio.Event()

    async def after(self, number: int) -> Picture:
        """Wait until there is a newer picture than that of this number."""
        while self._newest.number <= number:
            await self._changed.wait()
        return self._newest

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Count as one who watches."""
        self.viewers += 1
        try:
            yield
        finally:
            self.viewers -= 1
