"""Events between the stages of a frame on the GPU."""

from __future__ import annotations

from contextlib import ExitStack

from edgeseg.device.cuda import Cuda

__all__ = ["Marks"]


class Marks:
    """Records an event after each stage, and tells the stages' times once they have happened.

    Args:
        cuda: The GPU.
        stream: That the stages are given to.
        held: Gives the events back.
    """

    def __init__(self, cuda: Cuda, stream: int, held: ExitStack) -> None:
        self._cuda, self._stream, self._held = cuda, stream, held
        self._events: dict[str, int] = {}

    def record(self, stage: str, *, captured: bool) -> None:
        """Record that a stage ends here.

        Args:
            stage: Its name, given once for each frame.
            captured: The stream is being captured into a graph, by whose launches the event happens.
        """
        if stage not in self._events:
            self._events[stage] = self._cuda.create_event(spin=False)
            self._held.callback(self._cuda.destroy_event, self._events[stage])
        self._cuda.record(self._events[stage], self._stream, captured=captured)

    def milliseconds(self, begin: int) -> dict[str, float]:
        """The time of each stage of a frame that is done, in their order; `begin` is the event before the first."""
        times = {}
        for stage, event in self._events.items():
            times[stage] = self._cuda.milliseconds(begin, event)
            begin = event
        return times
