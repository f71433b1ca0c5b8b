"""The process that reads one camera, seen from who started it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edgeseg.errors import SourceLost
from edgeseg.stream.child import Child
from edgeseg.stream.protocol import GO, TAKEN, Failed, Frame, Message, Request

__all__ = ["CameraProcess", "Reading"]

logger = logging.getLogger(__name__)
DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
#: Seconds between two looks at whether to stop.
LOOK_S = 0.1


@dataclass(frozen=True)
class Reading:
    """How a source is read by a process of its own.

    Attributes:
        loop: A file begins anew at its end.
        paced: A file is played at its own pace.
        waits: No frame is passed over: the camera waits until each was read.
    """

    loop: bool = False
    paced: bool = False
    waits: bool = False


class CameraProcess(Child):
    """A process of `edgeseg.stream.worker`. It opens the camera by itself and tells how that ended.

    Args:
        uri, first, frozen_s: See `Request`.
        reading: How it is read.
    """

    def __init__(self, uri: str, first: int, reading: Reading, *, frozen_s: float) -> None:
        super().__init__("edgeseg.stream.worker")
        self._text = b""
        self._waits = reading.waits
        request = Request(uri, first, reading.loop, reading.paced, reading.waits, frozen_s)
        self.say(msgspec.json.encode(request) + b"\n")

    def wait(self, seconds: float, stop: Callable[[], bool]) -> Message | None:
        """The next message, of several frames the last; None where none comes in time."""
        end = time.monotonic() + seconds
        while b"\n" not in self._text:
            left = end - time.monotonic()
            if left <= 0 or stop():
                return None
            if not self._receive(min(left, LOOK_S)):
                return self._ended()
        *lines, self._text = self._text.split(b"\n")
        messages = [DECODER.decode(line) for line in lines]
        first = next((index for index, one in enumerate(messages) if not isinstance(one, Frame)), len(messages))
        taken = first or 1
        self._text = b"".join(line + b"\n" for line in lines[taken:]) + self._text
        return messages[taken - 1]

    def has_message(self) -> bool:
        """Whether `wait` returns at once."""
        return b"\n" in self._text or self.says()

    def go(self) -> None:
        """Tell it that frames are wanted."""
        self.say(GO)

    def taken(self) -> None:
        """Tell it that the last frame was taken, where it waits for that."""
        if self._waits:
            self.say(TAKEN)

    def _receive(self, seconds: float) -> bool:
        """Take in what it says; False when it has ended."""
        more = self.hear(seconds)
        self._text += more or b""
        return more is not None

    def _ended(self) -> Failed:
        told = b"\n".join(self.told).decode(errors="replace")
        if told:
            logger.info("The camera's process told before it ended:\n%s", told)
        code = self.code()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        last = f": {self.reason()}" if told and code > 0 else ""
        return Failed(f"the camera's process ended {how}{last}", "", SourceLost.exit_code)
