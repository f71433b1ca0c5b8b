"""The process that reads one camera, seen from who started it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeseg.errors import SourceLost
from edgeseg.stream.mailbox import Mailbox
from edgeseg.stream.protocol import GO, TAKEN, Failed, Frame, Message, Request

__all__ = ["CameraProcess", "Reading"]

logger = logging.getLogger(__name__)
DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
#: Seconds between two looks at whether to stop.
LOOK_S = 0.1
#: Seconds that it has to give the camera back.
GRACE_S = 1.5


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


class CameraProcess:
    """A process of `edgeseg.stream.worker`.

    Attributes:
        mailbox: Where its frames lie.
    """

    def __init__(self, uri: str, first: int, reading: Reading, *, frozen_s: float) -> None:
        """Start it; it opens the camera by itself and tells how that ended.

        Args:
            uri, first, frozen_s: See `Request`.
            reading: How it is read.
        """
        handle = Mailbox.create()
        self._errors, errors = os.pipe()
        os.set_blocking(errors, False)  # A library that tells much must not stop for want of a reader.
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "edgeseg.stream.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=(handle,),
                env=_environment(),
                bufsize=0,
            )
            self.mailbox = Mailbox(handle)
        finally:
            os.close(handle)
            os.close(errors)
        assert self._child.stdin is not None and self._child.stdout is not None
        self._stdin, self._stdout = self._child.stdin, self._child.stdout
        self._text = b""
        self._ends = 0.0
        self._told: deque[bytes] = deque(maxlen=20)
        self._waits = reading.waits
        request = Request(uri, first, handle, reading.loop, reading.paced, reading.waits, frozen_s)
        self._say(msgspec.json.encode(request) + b"\n")

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
        return b"\n" in self._text or bool(select.select([self._stdout], [], [], 0)[0])

    def go(self) -> None:
        """Tell it that frames are wanted."""
        self._say(GO)

    def taken(self) -> None:
        """Tell it that the last frame was taken, where it waits for that."""
        if self._waits:
            self._say(TAKEN)

    def kill(self) -> None:
        """End it without giving it time, because it hangs."""
        self._child.kill()

    def begin_end(self) -> None:
        """Have it give the camera back and end. Called by any thread."""
        if not self._stdin.closed:
            self._ends = time.monotonic() + GRACE_S
            self._stdin.close()

    def end(self) -> None:
        """Wait until it has ended; kill it if it does not within 1.5 s."""
        self.begin_end()
        try:
            self._child.wait(max(0.0, self._ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._stdout.close()
        os.close(self._errors)
        self.mailbox.close()

    def _say(self, words: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):  # It is gone, or was told to end.
            self._stdin.write(words)

    def _receive(self, seconds: float) -> bool:
        """Take in what it says and what its libraries tell; False when it has ended."""
        heard = select.select([self._stdout.fileno(), self._errors], [], [], seconds)[0]
        if self._errors in heard:
            self._told.extend(os.read(self._errors, 1 << 16).splitlines())
        if self._stdout.fileno() not in heard:
            return True
        more = os.read(self._stdout.fileno(), 1 << 16)
        self._text += more
        return bool(more)

    def _ended(self) -> Failed:
        told = b"\n".join(self._told).decode(errors="replace")
        if told:
            logger.info("The camera's process told before it ended:\n%s", told)
        code = self._child.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        last = f": {told.splitlines()[-1]}" if told and code > 0 else ""
        return Failed(f"the camera's process ended {how}{last}", "", SourceLost.exit_code)


def _environment() -> dict[str, str]:
    """This process's, with edgeseg itself on the path, be it a clone that is run from its folder."""
    home = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), home)))}
