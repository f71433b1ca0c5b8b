"""A camera in a process of its own, which is killed where it hangs and started anew where it fails."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.data.uri import local_path, without_password
from edgeseg.errors import EdgesegError, MissingDependency, SourceLost, UsageError
from edgeseg.stream.camera_process import CameraProcess, Reading
from edgeseg.stream.protocol import Ended, Failed, Frame, Message, Opened
from edgeseg.stream.source import Captured, Source

__all__ = ["LiveSource", "Patience", "Reading"]

UInt8 = npt.NDArray[np.uint8]
logger = logging.getLogger(__name__)
#: Seconds between two looks at whether to stop.
LOOK_S = 0.1
#: Seconds after which a camera that was opened again counts as back: one that soon fails anew waits longer and longer.
STEADY_S = 5.0
#: What no waiting mends: an option that does not fit, a package that is not installed.
HOPELESS: dict[int, type[EdgesegError]] = {kind.exit_code: kind for kind in (UsageError, MissingDependency)}


@dataclass(frozen=True)
class Patience:
    """How long a camera is waited for, seconds.

    Attributes:
        open_s: Until it is open.
        stall_s: For a frame; three frames' time, if that is longer.
        frozen_s: With one and the same picture, before it is called frozen.
        pause_s: Before it is opened again; twice as long after each failure, up to `longest_pause_s`, give or take a
            quarter, so that many cameras don't come back at once.
        reconnects: How often in a row it is opened anew before it is given up; None for ever.
        wait: A camera that is not there at the start is waited for like one that was lost.
    """

    open_s: float = 10.0
    stall_s: float = 2.0
    frozen_s: float = 5.0
    pause_s: float = 0.5
    longest_pause_s: float = 30.0
    reconnects: int | None = None
    wait: bool = False


class LiveSource(Source):
    """See `Source`. The camera is open at once, and its frames begin with the first `read`.

    Frames lie in memory that is shared with the camera's process: each is whole until it is given back as `out` of a
    later `read`, or five more were read.
    """

    def __init__(
        self,
        uri: str,
        reading: Reading = Reading(),
        *,
        stop: Callable[[], bool] = lambda: False,
        patience: Patience | None = None,
    ) -> None:
        """Open the camera.

        Args:
            uri: Of any source.
            reading: How it is read.
            stop: Once it says True, the camera is waited for no longer, as after `Source.stop`.
            patience: With a camera that fails.

        Raises:
            SourceLost: It can't be opened, or does not open in time.
            UsageError: The address is no camera's.
            MissingDependency: The package or library that it needs is not there.
        """
        super().__init__()
        self._uri, self._patience = uri, patience or Patience()
        self._asked_to_stop = stop
        self._reading = reading
        self.place = local_path(uri) if reading.paced else None
        self._wanted = False
        self.live = not reading.waits
        self._told = self._last = -1
        self._tries, self._opened = 0, 0.0
        self._process: CameraProcess | None = None
        self.health.state = "connecting"
        self.name = re.sub(r"\W+", "-", without_password(uri)).strip("-")
        if not self._patience.wait:
            self._open()

    def read(self, out: UInt8 | None = None) -> Captured | None:
        """See `Source.read`. A camera that fails is opened again, and waited for.

        Raises:
            SourceLost: It was given up.
        """
        if out is not None and self._process is not None:
            self._process.mailbox.give_back(out)
        if not self._wanted and self._process is not None:
            self._process.go()
        self._wanted = True
        while not self._look():
            if self._process is None:
                self._come_back()
                continue
            message = self._process.wait(self._silence_s(), self._look)
            if isinstance(message, Ended):
                return None
            if isinstance(message, Frame):
                captured = self._take(message)
                if captured is not None:
                    return captured
            elif not self._look():
                self._fail(message)
        return None

    def ready(self) -> bool:
        """See `Source.ready`."""
        return self._process is not None and self._process.has_message()

    def close(self) -> None:
        """End the camera's process. Closing twice is allowed."""
        if self._process is not None:
            self._process.end()
        self._process = None

    def stop(self) -> None:
        """See `Source.stop`. The camera's process begins to end."""
        super().stop()
        if self._process is not None:
            self._process.begin_end()

    def _look(self) -> bool:
        """Whether to wait no longer; looked at all the time while something is waited for."""
        self.health.beats += 1
        return self._stopped.is_set() or self._asked_to_stop()

    def _silence_s(self) -> float:
        return max(self._patience.stall_s, 3 / self.fps if self.fps else 0.0)

    def _take(self, message: Frame) -> Captured | None:
        assert self._process is not None, "frames come from a process"
        self._told = max(self._told, message.sequence)
        letter = self._process.mailbox.take()
        if letter is None or letter.sequence <= self._last:
            return None
        self._last = letter.sequence
        self._told = max(self._told, letter.sequence)
        self._process.taken()
        if time.monotonic() - self._opened > STEADY_S:
            self._tries = 0
        self.health.state, self.health.reason, self.health.frozen = "live", "", message.frozen
        name = f"{self.name}-{letter.sequence:06d}"
        return Captured(letter.pixels, letter.sequence, letter.captured_ns, name, self.name, letter.clock)

    def _open(self) -> None:
        """Start the camera's process and wait until the camera is open.

        Raises:
            EdgesegError: As the camera's process told it.
            SourceLost: It did not open in time.
        """
        self.close()
        self._process = CameraProcess(self._uri, self._told + 1, self._reading, frozen_s=self._patience.frozen_s)
        if self._wanted:
            self._process.go()
        message = self._process.wait(self._patience.open_s, self._look)
        if isinstance(message, Opened):
            self.name = self.name if self._renamed else message.name
            self.fps, self.frame_hw = message.fps, message.frame_hw
            self.total, self.notes = message.total, message.notes
            self._opened = time.monotonic()
            return
        if message is None and self._look():
            self.close()
            return
        if message is None:
            self._process.kill()
        self.close()
        if isinstance(message, Failed):
            raise HOPELESS.get(message.exit_code, SourceLost)(message.message, hint=message.hint)
        raise SourceLost(
            f"'{without_password(self._uri)}' did not open within {self._patience.open_s:g} s.",
            hint="Is it there, switched on, and free?",
        )

    def _fail(self, message: Message | None) -> None:
        """Note what went wrong, and end the process; one that is silent hangs, and is killed."""
        self._tries += 1
        self.health.stalls += message is None
        self.health.state = "stalled"
        self.health.reason = message.message if isinstance(message, Failed) else "no frames came"
        reason = self.health.reason.rstrip(".")
        logger.warning("%s. It is opened again.", reason if self.name in reason else f"'{self.name}': {reason}")
        if message is None and self._process is not None:
            self._process.kill()
        self.close()

    def _come_back(self) -> None:
        """Open the camera again, after a pause that grows until a frame comes.

        Raises:
            SourceLost: The patience is at its end.
            EdgesegError: Nothing will mend it.
        """
        patience, health = self._patience, self.health
        if patience.reconnects is not None and self._tries > patience.reconnects:
            health.state = "lost"
            raise SourceLost(f"'{self.name}' is given up: {health.reason}", hint="Is it there, switched on, and free?")
        pause_s = min(patience.pause_s * 2 ** (self._tries - 1), patience.longest_pause_s) if self._tries else 0.0
        self._pause(pause_s * random.uniform(0.75, 1.25))
        if self._look():
            return
        try:
            self._open()
        except SourceLost as error:
            self._tries += 1
            health.reason = error.message
            logger.warning("%s It is opened again.", error.message)
            return
        health.reconnects += health.state == "stalled" and self._process is not None

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._look():
            time.sleep(min(left, LOOK_S))
