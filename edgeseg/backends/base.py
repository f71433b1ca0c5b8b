"""The seam between edgeseg and an engine library."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from edgeseg.card import Card, Dialect, Precision, read_card
from edgeseg.errors import EdgesegError, ModelFileError, UsageError
from edgeseg.files import sha256_file

__all__ = ["Backend", "Engine", "EngineOptions", "Head", "Output", "Session", "Ticket"]

Output = Literal["class_map", "logits"]
#: How the uint8 frame enters the graph: `dequantize` (transpose bytes, one DequantizeLinear), or
#: `cast` (Cast first, all that TensorRT accepts).
Head = Literal["dequantize", "cast"]
UInt8 = npt.NDArray[np.uint8]
Array = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class EngineOptions:
    """What an engine is built with. `precision` is that of the operators which the graph leaves in float."""

    precision: Precision = "fp32"


@dataclass(frozen=True)
class Engine:
    """A built engine on disk and its card."""

    path: Path
    card: Card

    @classmethod
    def open(cls, path: str | Path) -> Engine:
        """The engine at `path`, whole and with its card.

        Raises:
            ModelFileError: The file or its card is missing, or the file is not the one that the card describes.
        """
        path = Path(path)
        if not path.is_file():
            raise ModelFileError(f"There is no engine at {path}.", hint="Build one: edgeseg build --int8")
        card = read_card(path)
        if card.kind != "engine":
            raise ModelFileError(f"{path} is a {card.kind}, not an engine.", hint=f"Build one: edgeseg build {path}")
        if sha256_file(path) != card.sha256:
            raise ModelFileError(
                f"The engine {path} is damaged: its content is not what its card describes.",
                hint="Build it anew with edgeseg build.",
            )
        return cls(path, card)


class Ticket(Protocol):
    """A frame under way through a session."""

    stage_ms: dict[str, float]
    """Milliseconds by stage, complete once `result` has returned."""

    def result(self, out: Array | None = None) -> Array:
        """Wait for the answer and return it; the session may then be given the next frame.

        Args:
            out: Array of the result's shape and dtype to copy into. Without it the answer lies in a buffer
                of the session's, which is valid until the second `submit` after this ticket's.

        Returns:
            Class map `(N, H, W)` uint8, or logits `(N, C, h, w)` float32 at the decoder's own size.
        """
        ...


class Session(ABC):
    """Frames in, class maps out. Used by one thread at a time, which a lock ensures.

    The order of calls is `input_buffer`, fill it, `submit`, `Ticket.result`. At most two tickets are under
    way: a third `submit` raises. `with session:` closes it at the end.
    """

    card: Card

    def __init__(self, card: Card) -> None:
        self.card = card
        self._lock = threading.Lock()
        self._closed = False

    @abstractmethod
    def input_buffer(self) -> UInt8:
        """The buffer to put the next frame in: `(N, H, W, channels)` uint8 in the card's pixel format.

        Decode or resize straight into it. It belongs to the caller until `submit`, then to the session until
        that ticket's `result` has returned. Never blocks.
        """

    @abstractmethod
    def submit(self) -> Ticket:
        """Start inference on the buffer that `input_buffer` gave last. Does not wait for the answer.

        Raises:
            EdgesegError: The session is closed, or two tickets are under way already.
        """

    @abstractmethod
    def close(self) -> None:
        """Free all that the session holds. Tickets under way are waited for. Closing twice is allowed."""

    def infer(self, frames: UInt8, out: Array | None = None) -> Array:
        """Class maps of frames, waited for; sugar for `input_buffer`, `submit` and `result`.

        Args:
            frames: `(N, H, W, channels)` uint8 in the card's pixel format and size.
            out: Array to write to; without it a new one is returned, safe to keep.

        Raises:
            UsageError: The shape or dtype is not the session's.
        """
        buffer = self.input_buffer()
        if frames.shape != buffer.shape or frames.dtype != np.uint8:
            raise UsageError(
                f"Frames are {frames.dtype} {frames.shape}; this engine takes uint8 {buffer.shape} "
                f"(N, H, W, channels) in {self.card.preprocess.pixel_format}."
            )
        np.copyto(buffer, frames)
        answer = self.submit().result(out)
        return answer if out is not None else answer.copy()

    def _enter(self) -> None:
        """Take the session for this call, or say who else has it."""
        if self._closed:
            raise EdgesegError("This session is closed.", hint="Load the engine again.")
        if not self._lock.acquire(blocking=False):
            raise EdgesegError("Two threads use one session at once.", hint="Give each thread a session of its own.")

    def _leave(self) -> None:
        self._lock.release()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Backend(ABC):
    """One engine library.

    Attributes:
        name: As in the table and in `--backend`.
        suffix: Of its engine files.
        dialects: INT8 dialects that it runs, the likeliest fastest first.
        floats: Float precisions that it can be told to use, the likeliest fastest first.
        head: How frames enter its graphs.
    """

    name: str
    suffix: str = ".onnx"
    dialects: tuple[Dialect, ...]
    floats: tuple[Precision, ...] = ("fp32",)
    head: Head = "dequantize"

    @abstractmethod
    def version(self) -> str:
        """Version of the library."""

    @abstractmethod
    def build(self, graph: Path, out: Path, options: EngineOptions) -> Engine:
        """Build an engine file from an ONNX graph that takes frames and gives class maps.

        The graph's card is taken over; `out` is written whole or not at all, and the card beside it.

        Raises:
            ModelFileError: The library refuses the graph.
        """

    @abstractmethod
    def load(self, engine: Engine, output: Output = "class_map") -> Session:
        """Open an engine.

        Raises:
            ModelFileError: The library refuses the file.
        """


@dataclass
class Buffers:
    """Two input and two output buffers that a session takes in turns, made once."""

    inputs: tuple[UInt8, UInt8]
    outputs: tuple[Array, Array]
    next: int = field(default=0)

    def advance(self) -> int:
        """The pair to use now; the other one is next."""
        now = self.next
        self.next = 1 - now
        return now
