"""A backend without a library, for tests and rehearsals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeseg import __version__
from edgeseg.backends.base import Backend, Engine, EngineOptions
from edgeseg.backends.session import Buffers, Output
from edgeseg.backends.worker import WorkerSession
from edgeseg.card import Card
from edgeseg.files import sha256_file

__all__ = ["Fake"]

EXECUTION = {"precision": "fp32", "threads": 1}


class Fake(Backend):
    """Takes any graph, and gives classes that are equal bands of the green channel's brightness."""

    name = "fake"
    suffix = ".fake"
    dialects = ("u8-asym",)

    def version(self) -> str:
        return __version__

    def build(
        self,
        graph: Path,
        out: Path,
        options: EngineOptions,
        on_progress: Callable[[float, str], None] = lambda *_: None,
        card: Card | None = None,
    ) -> Engine:
        """See `Backend.build`. The engine file holds the graph's hash alone."""
        from edgeseg.backends.onnx_file import read_frame_graph

        self._check_options(options)
        _, own = read_frame_graph(graph)
        return self._keep(out, sha256_file(graph).encode() + b"\n", card or own, options, EXECUTION)

    def load(
        self,
        engine: Engine,
        output: Output = "class_map",
        *,
        batch: int | None = None,
        frame_hw: tuple[int, int] | None = None,
    ) -> FakeSession:
        """See `Backend.load`. The logits have the frames' size."""
        self._check_engine(engine)
        self._check_given(engine.card, batch, frame_hw)
        return FakeSession(engine.card, output)


class FakeSession(WorkerSession):
    """A session that computes with numpy. For green `g` of `n` classes, class `c` has the logit -|u - c - 0.5|.

    There `u` is (g + 0.5) * n / 256, so that the best class is the whole part of `u`, without ties.
    """

    def __init__(self, card: Card, output: Output) -> None:
        height, width = card.fixed_size_hw
        shape = (card.batch, height, width)
        logits = (card.batch, card.num_classes, height, width)
        frames = (*shape, len(card.preprocess.pixel_format))
        super().__init__(card, Buffers.zeros(frames, shape if output == "class_map" else logits, output))
        self._bands = np.zeros(shape, np.uint32)
        self.execution = EXECUTION

    def _run(self, slot: int) -> None:
        green, answer = self._buffers.inputs[slot][..., 1], self._buffers.outputs[slot]
        classes = self.card.num_classes
        if answer.ndim == 3:
            np.multiply(green, np.uint32(2 * classes), out=self._bands, dtype=np.uint32)
            self._bands += np.uint32(classes)
            self._bands >>= np.uint32(9)
            np.copyto(answer, self._bands, casting="unsafe")
            return
        for index in range(classes):
            plane = answer[:, index]
            np.multiply(green, np.float32(classes / 256), out=plane, dtype=np.float32)
            plane += np.float32(classes / 512 - index - 0.5)
            np.abs(plane, out=plane)
            np.negative(plane, out=plane)
