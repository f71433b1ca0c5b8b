"""Pictures to JPEG in a thread of its own, so that the stream never waits for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError
from edgeseg.web.banner import draw_banner
from edgeseg.web.monitor import Monitor, Word

__all__ = ["Painter"]

logger = logging.getLogger(__name__)
UInt8 = npt.NDArray[np.uint8]

QUALITY = 80
#: While no frames come, the picture says so anew after this time.
BANNER_S = 0.5


class Painter:
    """Encodes the newest picture for all viewers at once; what it had no time for is replaced.

    Two buffers take turns: the stream's thread fills one while the other is encoded.
    """

    def __init__(self, monitor: Monitor, viewers: Callable[[], int], publish: Callable[[bytes, Word], None]) -> None:
        """Start the thread.

        Args:
            monitor: Says whether a picture may look live.
            viewers: How many watch; without any nothing is encoded.
            publish: Takes the JPEG file and the stream's state.
        """
        self._monitor, self._viewers, self._publish = monitor, viewers, publish
        self._changed = threading.Condition()
        self._filled: UInt8 = np.empty((0, 0, 3), np.uint8)
        self._taken: UInt8 = np.empty((0, 0, 3), np.uint8)
        self._fresh = self._closed = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="edgeseg-page-painter", daemon=True)
        self._thread.start()

    def offer(self, picture: UInt8) -> None:
        """Copy a picture, `(H, W, 3)` uint8 BGR.

        Raises:
            EdgesegError: An earlier one could not be encoded.
        """
        if self._failure is not None:
            raise EdgesegError(f"The page's picture could not be drawn: {self._failure}") from self._failure
        with self._changed:
            if self._filled.shape != picture.shape:
                self._filled = np.empty_like(picture)
            np.copyto(self._filled, picture)
            self._fresh = True
            self._changed.notify()

    def close(self) -> None:
        """End the thread. Closing twice is allowed."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closed:
                self._paint(fresh=self._take())
        except Exception as error:
            logger.exception("The page's picture could not be drawn.")
            self._failure = error

    def _take(self) -> bool:
        """Wait for a picture for a while, and take it; whether there was one."""
        with self._changed:
            self._changed.wait_for(lambda: self._fresh or self._closed, BANNER_S)
            fresh, self._fresh = self._fresh, False
            if fresh:
                self._filled, self._taken = self._taken, self._filled
        return fresh

    def _paint(self, *, fresh: bool) -> None:
        if self._closed or not self._viewers():
            return
        standing = self._monitor.standing()
        if standing.live and fresh:
            self._publish(_encode(self._taken), standing.state)
        elif not standing.live:
            self._publish(_encode(draw_banner(self._taken, standing)), standing.state)


def _encode(picture: UInt8) -> bytes:
    done, encoded = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    if not done:
        raise EdgesegError("OpenCV can't write JPEG images.")
    return encoded.tobytes()
