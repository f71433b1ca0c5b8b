"""Sessions of libraries that only run and wait."""

from __future__ import annotations

import time
from abc import abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor

from edgeseg.backends.session import Buffers, Session
from edgeseg.card import Card

__all__ = ["WorkerSession"]


class WorkerSession(Session):
    """A session whose library runs on one thread of its own, so that `submit` need not wait.

    The thread sleeps while there is nothing to do.
    """

    def __init__(self, card: Card, buffers: Buffers) -> None:
        super().__init__(card, buffers)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="edgeseg-session")
        self._runs: list[Future[float] | None] = [None, None]

    @abstractmethod
    def _run(self, slot: int) -> None:
        """Compute output buffer `slot` from input buffer `slot`, or raise EdgesegError."""

    def _start(self, slot: int) -> None:
        self._runs[slot] = self._worker.submit(self._timed, slot)

    def _finish(self, slot: int) -> dict[str, float]:
        run = self._runs[slot]
        assert run is not None, "a session finishes what it started"
        return {"inference": run.result()}

    def _free(self) -> None:
        self._worker.shutdown()

    def _timed(self, slot: int) -> float:
        begin = time.perf_counter_ns()
        self._run(slot)
        return (time.perf_counter_ns() - begin) / 1e6
