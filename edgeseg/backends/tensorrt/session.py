"""Engines of TensorRT and TensorRT-RTX on a GPU: buffers made once, and one launch per frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.backends.base import REBUILD
from edgeseg.backends.session import Buffers, Output, Session, Shape, UInt8
from edgeseg.backends.tensorrt.library import Library
from edgeseg.backends.tensorrt.logger import last_errors
from edgeseg.backends.tensorrt.marks import Marks
from edgeseg.backends.tensorrt.open_engine import CLASS_MAP, FRAME, LOGITS, OpenEngine
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.backends.tensorrt.resize import GpuResize, OpenResize
from edgeseg.backends.tensorrt.tail import Tail, tail_of
from edgeseg.card import Card
from edgeseg.device.cuda import Cuda, CudaError

if TYPE_CHECKING:
    import tensorrt as trt

__all__ = ["TensorRtSession"]

NOTHING = np.empty(0, np.uint8)
#: Runs before a CUDA graph is captured: the first makes what the library makes at need.
WARM_UP = 2


@dataclass
class _Slot:
    """One of the two frames that can be under way. Addresses are the device's; `graph` is None where there is none,
    `marks` where stages are not timed.
    """

    given: UInt8
    answer: UInt8
    given_at: int
    answer_at: int
    begin: int
    end: int
    graph: int | None = None
    marks: Marks | None = None


class TensorRtSession(Session):
    """A session on one stream, in the order of `submit`. Nothing is allocated once it is open.

    Args:
        card: Of the engine.
        library: That built it.
        cuda: The GPU.
        plan: The engine file.
        output: What to give.
        options: How to run.
        frame_hw: Height and width of the frames that it is given, which are resized on the GPU; None where they have
            the network's size.

    Raises:
        ModelFileError: The library does not take the file, or it has other ends than frames and class maps.
        CudaError: The GPU has too little memory, or fails.
    """

    def __init__(
        self,
        card: Card,
        library: Library,
        cuda: Cuda,
        plan: bytes,
        output: Output,
        options: TensorRtOptions,
        frame_hw: tuple[int, int] | None = None,
    ) -> None:
        self._library, self._cuda, self._output = library, cuda, output
        self._tail: Tail | None = None
        self._resize: OpenResize | None = None
        self._engine = OpenEngine(library, plan, options, card.batch)
        self._mapped = options.memory == "mapped" or (
            options.memory == "auto" and cuda.device.integrated and cuda.device.maps_host_memory
        )
        self._spin, self._held = options.spin, ExitStack()
        try:
            self._stream = cuda.create_stream()
            self._held.callback(cuda.destroy_stream, self._stream)
            self._prepare_tail(card)
            given = self._prepare_resize(card, frame_hw)
            answer = self._answer_shape(card)
            sizes = math.prod(given), math.prod(answer) * self._dtype.itemsize
            self._slots: tuple[_Slot, ...] = (self._slot(*sizes), self._slot(*sizes))
            super().__init__(card, self._make_buffers(given, answer))
            self._warm_up(options.cuda_graph)
        except BaseException:
            self._release()
            raise
        self.execution = {
            "precision": card.float_precision,
            "device": cuda.device.name,
            "memory": "mapped" if self._mapped else "copied",
            "cuda_graph": all(slot.graph is not None for slot in self._slots),
            "wait": "spin" if options.spin else "sleep",
            "tail": "own kernel" if self._tail is not None else "in the graph",
            "resize": "on the GPU" if self._resize is not None else "before",
            "cuda": cuda.binding,
        }

    def report_to(self, profiler: trt.IProfiler) -> None:
        """Have a profiler told what each layer takes, from the next frame on; a CUDA graph would tell nothing."""
        with self._alone():
            self._engine.report_to(profiler)

    def _prepare_resize(self, card: Card, frame_hw: tuple[int, int] | None) -> Shape:
        """What is given, which is brought to the network's size here where it comes in another."""
        batch, height, width, channels = self._engine.shapes[FRAME]
        if frame_hw in (None, (height, width)):
            return self._engine.shapes[FRAME]
        assert frame_hw is not None
        wanted = GpuResize(batch, channels, frame_hw, (height, width), card.preprocess.resize)
        self._resize = OpenResize(wanted, self._cuda, self._stream, self._held)
        return (batch, *frame_hw, channels)

    def _prepare_tail(self, card: Card) -> None:
        """Memory for the end that is not asked for, and the kernel where the engine has no class map."""
        cuda, engine = self._cuda, self._engine
        dtype = engine.dtype(LOGITS)
        self._dtype = dtype if self._output == LOGITS else np.dtype(np.uint8)
        self._beside = CLASS_MAP if self._output == LOGITS else LOGITS
        if self._beside in engine.names:
            self._beside_at = cuda.allocate(engine.size(self._beside))
            self._held.callback(cuda.free, self._beside_at)
        if CLASS_MAP not in engine.names and self._output == CLASS_MAP:
            self._tail = tail_of(card, engine.shapes[LOGITS], half=dtype.itemsize == 2)
            self._kernel = self._tail.load(cuda)
            self._held.callback(cuda.unload_kernel, self._kernel)

    def _answer_shape(self, card: Card) -> Shape:
        return (card.batch, *card.fixed_size_hw) if self._tail is not None else self._engine.shapes[self._output]

    def _slot(self, given_bytes: int, answer_bytes: int) -> _Slot:
        given, given_at = self._memory(given_bytes)
        answer, answer_at = self._memory(answer_bytes)
        begin, end = (self._cuda.create_event(spin=self._spin) for _ in range(2))
        for event in (begin, end):
            self._held.callback(self._cuda.destroy_event, event)
        return _Slot(given, answer, given_at, answer_at, begin, end)

    def _memory(self, size: int) -> tuple[UInt8, int]:
        """Memory that the processor sees, and where the GPU has it."""
        cuda = self._cuda
        memory = cuda.pinned(size, mapped=self._mapped)
        if self._mapped:
            return memory, cuda.address_of(memory)
        address = cuda.allocate(size)
        self._held.callback(cuda.free, address)
        return memory, address

    def _warm_up(self, cuda_graph: bool) -> None:
        for slot in self._slots:
            for _ in range(WARM_UP):
                self._enqueue(slot)
                self._settle(slot)
            if cuda_graph:
                slot.graph = self._capture(slot)

    def _settle(self, slot: _Slot) -> None:
        self._cuda.record(slot.end, self._stream)
        self._cuda.wait(slot.end)

    def _capture(self, slot: _Slot) -> int | None:
        graph = self._cuda.capture(self._stream, lambda: self._enqueue(slot, captured=True))
        if graph is not None:
            self._held.callback(self._cuda.destroy_graph, graph)
        return graph

    def _time_stages(self) -> None:
        with self._ended_by_sticky_errors():
            for slot in self._slots:
                slot.marks = Marks(self._cuda, self._stream, self._held)
                self._enqueue(slot)  # Makes its events.
                self._settle(slot)
                if slot.graph is None:
                    continue
                marked = self._capture(slot)
                if marked is None:  # Without a graph all would be slower: better one stage alone.
                    slot.marks = None
                slot.graph = marked or slot.graph

    def _enqueue(self, slot: _Slot, *, captured: bool = False) -> None:
        def done(stage: str) -> None:
            if slot.marks is not None:
                slot.marks.record(stage, captured=captured)

        if not self._mapped:
            self._cuda.to_device(slot.given_at, slot.given, self._stream)
            done("copy in")
        frame_at = slot.given_at
        if self._resize is not None:
            frame_at = self._resize.launch(slot.given_at, self._stream)
            done("GPU resize")
        if not self._engine.start(self._addresses(frame_at, slot.answer_at), self._stream):
            self._cuda.raise_last_error()
            raise CudaError(f"{self._library.name} failed: {last_errors(self._library.name)}.", hint=REBUILD)
        done("inference")
        if self._tail is not None:
            self._tail.launch(self._cuda, self._kernel, self._beside_at, slot.answer_at, self._stream)
            done("tail")
        if not self._mapped:
            self._cuda.to_host(slot.answer, slot.answer_at, self._stream)
            done("copy out")

    def _addresses(self, frame_at: int, answer_at: int) -> dict[str, int]:
        """Where each end of the engine lies."""
        own = {FRAME: frame_at}
        if self._output in self._engine.names:
            own[self._output] = answer_at
        if self._beside in self._engine.names:
            own[self._beside] = self._beside_at
        return own

    def _start(self, slot: int) -> None:
        own, cuda = self._slots[slot], self._cuda
        with self._ended_by_sticky_errors():
            cuda.record(own.begin, self._stream)
            if own.graph is not None:
                cuda.launch_graph(own.graph, self._stream)
            else:
                self._enqueue(own)
            cuda.record(own.end, self._stream)

    def _finish(self, slot: int) -> dict[str, float]:
        own = self._slots[slot]
        with self._ended_by_sticky_errors():
            self._cuda.wait(own.end)
        if self._output == LOGITS:
            answer = self._buffers.outputs[slot]
            np.copyto(answer, own.answer.view(self._dtype).reshape(answer.shape))
        if own.marks is not None:
            return own.marks.milliseconds(own.begin)
        return {"inference": self._cuda.milliseconds(own.begin, own.end)}

    @contextmanager
    def _ended_by_sticky_errors(self) -> Iterator[None]:
        """After a sticky error nothing of this process's CUDA works: the session is over, and lets go of all."""
        try:
            yield
        except CudaError as error:
            if error.sticky:
                self._end(error)
                self._release()
            raise

    def _make_buffers(self, frame: Shape, answer: Shape) -> Buffers:
        """Class maps are given as the GPU writes them, logits in float32 whatever they are in the engine."""
        first, second = self._slots
        given = first.given.reshape(frame), second.given.reshape(frame)
        if self._output == CLASS_MAP:
            return Buffers(given, (first.answer.reshape(answer), second.answer.reshape(answer)))
        return Buffers(given, (np.zeros(answer, np.float32), np.zeros(answer, np.float32)))

    def _free(self) -> None:
        self._release()

    def _release(self) -> None:
        """Give back all, the library's objects first. After a sticky error nothing can be given back any more."""
        self._engine.close()
        self._slots, self._buffers = (), Buffers((NOTHING, NOTHING), (NOTHING, NOTHING))
        with suppress(CudaError):
            self._held.close()
