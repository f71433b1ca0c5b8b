"""A camera in a process of its own, which is killed where it hangs and started anew where it fails."""

from __future__ import annotations

import logging
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.data.uri import without_password
from edgeseg.errors import SourceLost
from edgeseg.stream.mailbox import Mailbox
from edgeseg.stream.protocol import Ended, Failed, Frame, Message, Opened
from edgeseg.stream.sources import Captured

__all__ = ["LiveSource", "Patience", "State"]

UInt8 = npt.NDArray[np.uint8]
State = Literal["connecting", "live", "stalled", "lost"]
logger = logging.getLogger(__name__)
DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
#: Seconds between two looks at whether to stop.
LOOK_S = 0.1


@dataclass(frozen=True)
class Patience:
    """How long a camera is waited for, seconds.

    Attributes:
        open_s: Until it is open.
        stall_s: For a frame; three frames' time, if that is longer.
        pause_s: Before it is opened again; twice as long after each failure, up to `longest_pause_s`, give or take a
            quarter, so that many cameras don't come back at once.
        reconnects: How often in a row it is opened anew before it is given up; None for ever.
    """

    open_s: float = 10.0
    stall_s: float = 2.0
    pause_s: float = 0.5
    longest_pause_s: float = 30.0
    reconnects: int | None = None


class LiveSource:
    """See `Source`. Frames lie in memory that is shared with the camera's process, and are whole until the next `read`.

    Attributes:
        state: `connecting` until the first frame, `live`, `stalled` while no frames come, `lost` once given up.
        stalls, reconnects: How often it was silent for too long, and was opened again.
    """

    live = True
    place: Path | None = None

    def __init__(self, uri: str, *, stop: Callable[[], bool] = lambda: False, patience: Patience | None = None) -> None:
        """Open the camera.

        Raises:
            SourceLost: It can't be opened, or does not open in time.
            UsageError: The address is no camera's.
        """
        self._uri, self._stop, self._patience = uri, stop, patience or Patience()
        self.state: State = "connecting"
        self.stalls = self.reconnects = 0
        self._last = -1
        self._process: _Process | None = None
        opened = self._open()
        self.name, self.fps, self.frame_hw, self.total = opened.name, opened.fps, opened.frame_hw, opened.total

    def read(self, out: UInt8 | None = None) -> Captured | None:
        """See `Source.read`; `out` is left aside. A camera that fails is opened again, and waited for.

        Raises:
            SourceLost: It was given up.
        """
        while not self._stop():
            message = self._process.wait(self._silence_s(), self._stop) if self._process is not None else None
            if isinstance(message, Ended):
                return None
            captured = self._take() if isinstance(message, Frame) else None
            if captured is not None:
                self.state = "live"
                return captured
            if not isinstance(message, Frame) and not self._stop():
                self._come_back(message)
        return None

    def close(self) -> None:
        """End the camera's process. Closing twice is allowed."""
        if self._process is not None:
            self._process.end()
        self._process = None

    def _silence_s(self) -> float:
        return max(self._patience.stall_s, 3 / self.fps if self.fps else 0.0)

    def _take(self) -> Captured | None:
        assert self._process is not None, "frames come from a process"
        letter = self._process.mailbox.take()
        if letter is None or letter.sequence <= self._last:
            return None
        self._last = letter.sequence
        name = f"{self.name}-{letter.sequence:06d}"
        return Captured(letter.pixels, letter.sequence, letter.captured_ns, name, self.name)

    def _open(self) -> Opened:
        self.close()
        self._process = _Process(self._uri, self._last + 1)
        message = self._process.wait(self._patience.open_s, self._stop)
        if isinstance(message, Opened):
            return message
        self.close()
        if isinstance(message, Failed):
            error = SourceLost(message.message, hint=message.hint)
            error.exit_code = message.exit_code
            raise error
        shown = without_password(self._uri)
        raise SourceLost(f"'{shown}' did not open within {self._patience.open_s:g} s.", hint="Is it there, and free?")

    def _come_back(self, message: Message | None) -> None:
        """Open the camera again, with longer and longer pauses."""
        self.stalls += message is None
        self.state = "stalled"
        reason = message.message if isinstance(message, Failed) else "no frames came"
        for pause_s in self._pauses():
            logger.warning("'%s': %s; it is opened again in %.1f s.", self.name, reason, pause_s)
            self.close()
            end = time.monotonic() + pause_s
            while (left := end - time.monotonic()) > 0 and not self._stop():
                time.sleep(min(left, LOOK_S))
            if self._stop():
                return
            try:
                self._open()
            except SourceLost as error:
                reason = error.message
                continue
            self.reconnects += 1
            return
        self.state = "lost"
        raise SourceLost(f"'{self.name}' is given up: {reason}", hint="Is it plugged in, powered and free?")

    def _pauses(self) -> Iterator[float]:
        patience, count = self._patience, 0
        while patience.reconnects is None or count < patience.reconnects:
            pause_s = min(patience.pause_s * 2**count, patience.longest_pause_s)
            yield pause_s * random.uniform(0.75, 1.25)
            count += 1


class _Process:
    """The camera's process, and what it tells."""

    def __init__(self, uri: str, first: int) -> None:
        handle = Mailbox.create()
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "edgeseg.stream.worker", uri, str(first), str(handle)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(handle,),
                env=_environment(),
            )
            self.mailbox = Mailbox(handle)
        finally:
            os.close(handle)
        self._text = b""

    def wait(self, seconds: float, stop: Callable[[], bool]) -> Message | None:
        """The next message, of several frames the last; None where none comes in time."""
        end = time.monotonic() + seconds
        stdout = self._child.stdout
        assert stdout is not None
        while b"\n" not in self._text:
            left = end - time.monotonic()
            if left <= 0 or stop():
                return None
            if select.select([stdout], [], [], min(left, LOOK_S))[0]:
                more = os.read(stdout.fileno(), 1 << 16)
                if not more:
                    return Failed("its process ended", "", SourceLost.exit_code)
                self._text += more
        *lines, self._text = self._text.split(b"\n")
        messages = [DECODER.decode(line) for line in lines]
        first = next((index for index, one in enumerate(messages) if not isinstance(one, Frame)), len(messages))
        taken = first or 1
        self._text = b"".join(line + b"\n" for line in lines[taken:]) + self._text
        return messages[taken - 1]

    def end(self) -> None:
        """Kill it; cameras are given back by the system."""
        self._child.kill()
        self._child.communicate()
        self.mailbox.close()


def _environment() -> dict[str, str]:
    """This process's, with edgeseg itself on the path, be it a clone that is run from its folder."""
    home = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), home)))}
