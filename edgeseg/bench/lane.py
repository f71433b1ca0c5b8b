"""An engine under measurement: its session, its samples, and how it ended."""

from __future__ import annotations

import contextlib
import time
from array import array
from collections import defaultdict, deque
from collections.abc import Iterator

import numpy as np

from edgeseg.backends import Engine, Session
from edgeseg.bench.record import Camera
from edgeseg.bench.stages import LATENCY, FramePath
from edgeseg.errors import EdgesegError

__all__ = ["Lane"]

#: The times of a warm-up are steady where so many of them differ by so little, as a share.
STEADY_OF, STEADY = 50, 0.05


class Lane:
    """One of the engines that are measured in turns.

    Args:
        name: A path or a name, as it was asked for.
        engine: Which.
        session: For class maps; used by this alone.

    Attributes:
        samples_ns: By stage, and `latency`; `begins_ns` by `time.perf_counter_ns()`, one for each frame.
        seconds: Wall time of its frames, frames in flight counted once.
        frames: Whose answers came.
        warm_up_frames, steady: Of the warm-up.
        failed: Why it ended before its time.
        camera: What became of the camera's frames, in the scenario of that name.
    """

    def __init__(self, name: str, engine: Engine, session: Session) -> None:
        self.name, self.engine, self.session = name, engine, session
        self.path = FramePath(session)
        # Numbers of eight bytes each: a soak looks at the memory that it is part of.
        self.samples_ns: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
        self.begins_ns, self.turn_begins_ns, self.turn_ends_ns = array("q"), array("q"), array("q")
        self.seconds = 0.0
        self.frames = self.warm_up_frames = 0
        self.steady = False
        self.failed = ""
        self.camera: Camera | None = None
        self._recent: deque[int] = deque(maxlen=STEADY_OF)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """What is done inside is of this engine; where that fails, it is out, and the others go on."""
        self.turn_begins_ns.append(time.perf_counter_ns())
        try:
            yield
        except EdgesegError as error:
            self.failed = error.message
        except Exception as error:  # Whatever is wrong with one library, what was measured is kept.
            self.failed = f"{type(error).__name__}: {error}"
        finally:
            self.turn_ends_ns.append(time.perf_counter_ns())

    def note(self, begin_ns: int, times_ns: dict[str, int]) -> None:
        """A frame was answered."""
        self.begins_ns.append(begin_ns)
        for stage, taken_ns in times_ns.items():
            self.samples_ns[stage].append(taken_ns)
        self.frames += self.session.card.batch

    def drop_broken_frame(self) -> None:
        """Leave out a last frame in the midst of whose notes Ctrl-C came."""
        whole = min(len(self.begins_ns), len(self.samples_ns.get(LATENCY, ())))
        for column in (self.begins_ns, *self.samples_ns.values()):
            del column[whole:]

    def note_camera(self, fps: float, captured: int, inferred: int, dropped: dict[str, int]) -> None:
        """A camera was watched for a while, once more."""
        before = self.camera or Camera(fps=fps, captured=0, inferred=0, dropped={})
        self.camera = Camera(
            fps=fps,
            captured=before.captured + captured,
            inferred=before.inferred + inferred,
            dropped={
                reason: before.dropped.get(reason, 0) + dropped.get(reason, 0)
                for reason in sorted({*before.dropped, *dropped})
            },
        )

    def warm_up(self, times_ns: dict[str, int]) -> None:
        """A frame was answered that is not among the samples."""
        self.warm_up_frames += self.session.card.batch
        self._recent.append(times_ns[LATENCY])
        recent = np.asarray(self._recent, np.float64)
        self.steady = len(recent) == STEADY_OF and bool(recent.std() < STEADY * recent.mean())
