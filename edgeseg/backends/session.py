"""A session: frames in, class maps out, and the rules that hold for every engine library."""

from __future__ import annotations

import contextlib
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeseg.card import Card
from edgeseg.errors import EdgesegError, UsageError

__all__ = ["Array", "Buffers", "Output", "Session", "Shape", "Ticket", "UInt8"]

Output = Literal["class_map", "logits"]
UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Buffers:
    """Two input and two output buffers that a session uses in turns, made once.

    Attributes:
        inputs: Frames, `(N, H, W, channels)` uint8.
        outputs: Answers, `(N, H, W)` uint8 class maps or `(N, C, h, w)` float32 logits.
    """

    inputs: tuple[UInt8, UInt8]
    outputs: tuple[Array, Array]

    @classmethod
    def zeros(cls, frame_shape: Shape, answer_shape: Shape, output: Output) -> Buffers:
        """Buffers in ordinary memory."""
        dtype = np.uint8 if output == "class_map" else np.float32
        inputs = (_aligned(frame_shape, np.uint8), _aligned(frame_shape, np.uint8))
        return cls(inputs, (_aligned(answer_shape, dtype), _aligned(answer_shape, dtype)))


def _aligned(shape: Shape, dtype: type[np.uint8] | type[np.float32]) -> Any:
    """Zeros that begin on a cache line, so that no vector load straddles two."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 63, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


class Ticket:
    """A frame under way through a session.

    Attributes:
        stage_ms: Milliseconds by stage, at least `inference`; complete once `result` has returned.
    """

    def __init__(self, session: Session, slot: int) -> None:
        self.stage_ms: dict[str, float] = {}
        self._slot = slot
        self._session = session

    def result(self, out: Array | None = None) -> Array:
        """Wait for the answer and return it, once; the session may then be given another frame.

        Args:
            out: Array of the result's shape and dtype to copy into. Without it the answer lies in a buffer
                of the session's, which is valid until the second `submit` after this ticket's.

        Returns:
            Class map `(N, H, W)` uint8, or logits `(N, C, h, w)` float32 at the decoder's own size.

        Raises:
            UsageError: `out` has another shape or dtype; the answer can still be had.
            EdgesegError: The library failed, the answer was taken before, or the session is closed.
        """
        return self._session._collect(self, out)


class Session(ABC):
    """Frames in, class maps out. Used by one thread at a time: a lock makes a second one raise.

    The order of calls is `input_buffer`, fill it, `submit`, `Ticket.result`. At most two tickets are under
    way, so that the next frame can be made ready and started while one is computed. Frames are computed in
    the order of `submit`. `with session:` closes it at the end.

    A backend gives the three steps `_start`, `_finish` and `_free`; all rules are kept here.

    Attributes:
        card: Of the engine.
        execution: How the library says it runs the engine: `precision` of its float operators, `threads`.
    """

    def __init__(self, card: Card, buffers: Buffers) -> None:
        self.card = card
        self.execution: dict[str, Any] = {}
        self._buffers = buffers
        self._under_way: list[Ticket | None] = [None, None]
        self._next = 0
        self._lock = threading.Lock()
        self._closed = False
        self._ended_by: tuple[str, str] | None = None

    @abstractmethod
    def _start(self, slot: int) -> None:
        """Start inference from input buffer `slot` into output buffer `slot`, without waiting for it."""

    @abstractmethod
    def _finish(self, slot: int) -> dict[str, float]:
        """Wait for what `_start` began; gives the milliseconds by stage, or raises EdgesegError."""

    @abstractmethod
    def _free(self) -> None:
        """Give back all that the library holds. Nothing is under way any more."""

    def time_stages(self) -> None:
        """Have tickets tell their time in finer stages, where the library can: slightly slower, to measure with.

        Raises:
            EdgesegError: The session is closed or in use by another thread.
        """
        with self._alone():
            self._time_stages()

    def _time_stages(self) -> None:  # noqa: B027 - most libraries have one stage alone
        """See `time_stages`; nothing is under way."""

    def input_buffer(self) -> UInt8:
        """The buffer to put the next frame in: `(N, H, W, channels)` uint8 in the card's pixel format.

        Decode or resize straight into it. It belongs to the caller until `submit`, then to the session until
        that ticket's `result` has returned. Until `submit` it is the same buffer at every call. Never blocks.

        Raises:
            EdgesegError: The session is closed or in use by another thread, or two tickets are under way.
        """
        with self._alone():
            return self._free_input()

    def submit(self) -> Ticket:
        """Start inference on the buffer that `input_buffer` gives. Does not wait for the answer.

        Raises:
            EdgesegError: The session is closed or in use by another thread, or two tickets are under way.
        """
        with self._alone():
            return self._submit()

    def infer(self, frames: UInt8, out: Array | None = None) -> Array:
        """Class maps of frames, waited for; sugar for `input_buffer`, `submit` and `result`.

        Args:
            frames: `(N, H, W, channels)` uint8 in the card's pixel format, as `input_buffer` is.
            out: Array to write to; without it a new one is returned, safe to keep.

        Raises:
            UsageError: The shape or dtype of `frames` or `out` is not the session's.
            EdgesegError: As `submit` and `Ticket.result`.
        """
        with self._alone():
            buffer = self._free_input()
            if frames.shape != buffer.shape or frames.dtype != np.uint8:
                raise UsageError(
                    f"Frames are {frames.dtype} {frames.shape}; this engine takes uint8 {buffer.shape} "
                    f"(N, H, W, channels) in {self.card.preprocess.pixel_format}."
                )
            self._check(out)
            np.copyto(buffer, frames)
            answer = self._wait(self._submit(), out)
            return answer if out is not None else answer.copy()

    def close(self) -> None:
        """Free all that the session holds. Tickets under way are waited for. Closing twice is allowed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for ticket in filter(None, self._under_way):
                with contextlib.suppress(EdgesegError):
                    self._finish(ticket._slot)
            self._free()

    def _end(self, error: EdgesegError) -> None:
        """Close without waiting for anything, for a reason that every later call is told."""
        self._closed, self._ended_by = True, (error.message, error.hint)
        self._under_way[:] = [None, None]

    def _free_input(self) -> UInt8:
        if self._under_way[self._next] is not None:
            raise EdgesegError("Two tickets are under way already.", hint="Take the result of the older one first.")
        return self._buffers.inputs[self._next]

    def _submit(self) -> Ticket:
        self._free_input()
        ticket = Ticket(self, self._next)
        self._start(ticket._slot)
        self._under_way[ticket._slot] = ticket
        self._next = 1 - self._next
        return ticket

    def _collect(self, ticket: Ticket, out: Array | None) -> Array:
        with self._alone():
            if self._under_way[ticket._slot] is not ticket:
                raise EdgesegError("The answer of this ticket was taken before.")
            self._check(out)
            return self._wait(ticket, out)

    def _wait(self, ticket: Ticket, out: Array | None) -> Array:
        try:
            ticket.stage_ms.update(self._finish(ticket._slot))
        except EdgesegError:
            self._under_way[ticket._slot] = None
            raise
        self._under_way[ticket._slot] = None
        answer = self._buffers.outputs[ticket._slot]
        if out is None:
            return answer
        np.copyto(out, answer)
        return out

    def _check(self, out: Array | None) -> None:
        answer = self._buffers.outputs[0]
        if out is not None and (out.shape != answer.shape or out.dtype != answer.dtype):
            raise UsageError(f"`out` is {out.dtype} {out.shape}; the answer is {answer.dtype} {answer.shape}.")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Take the session for one call, or say why it can't be had."""
        if not self._lock.acquire(blocking=False):
            raise EdgesegError("Two threads use one session at once.", hint="Give each thread a session of its own.")
        try:
            if self._closed:
                if self._ended_by is not None:
                    reason, hint = self._ended_by
                    raise EdgesegError(f"This session is over. {reason}", hint=hint)
                raise EdgesegError("This session is closed.", hint="Load the engine again.")
            yield
        finally:
            self._lock.release()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
