"""What a change of a graph does to its logits and class maps, on a few frames held in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.card import Card, Upsample
from edgeseg.data.resize import frame_for_card, restore_class_map
from edgeseg.errors import UsageError
from edgeseg.evaluate import ConfusionMatrix
from edgeseg.graph.attach import CLASS_MAP, FRAME, attach_head_and_tail
from edgeseg.graph.io import require_card
from edgeseg.graph.passes.cut_tail import LOGITS
from edgeseg.graph.runtime import open_graph
from edgeseg.labels import VOID

__all__ = ["Answers", "Probe", "ProbeScore"]

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


class ProbeScore(msgspec.Struct, frozen=True, kw_only=True):
    """How a graph compares with the float one.

    Attributes:
        snr_db: Power of the float logits over that of the difference, decibels; None where nothing differs, minus
            infinity where a logit of either is no number or infinite, or where float logits that differ are all zero.
        agreement: Share of the pixels that the network sees of the same class, 0 to 1.
        miou: On labels, 0 to 1; without labels of the float graph's own classes.
        drop: What that is below the float graph's.
    """

    snr_db: float | None
    agreement: float
    miou: float
    drop: float


class Answers(NamedTuple):
    """What a graph gave for each frame of a probe: logits `(C, h, w)`, and class maps at the frames' size."""

    logits: list[Float32]
    maps: list[UInt8]


class Probe:
    """Frames, and the float graph's answers to them.

    Q/DQ nodes are computed as written, so that a score says nothing of one library's kernels.
    """

    def __init__(
        self, prepared: ir.Model, frames: Iterable[tuple[UInt8, UInt8 | None]], *, upsample: Upsample = "half"
    ) -> None:
        """Run the float graph on all frames.

        Args:
            prepared: The float graph with its card.
            frames: `(H, W, 3)` uint8 BGR, each with its label `(H, W)` uint8, 255 where void, or all with None.
            upsample: Size at which the best class is picked.

        Raises:
            UsageError: There are no frames.
        """
        self._card, self._upsample = require_card(prepared), upsample
        given = list(frames)
        if not given:
            raise UsageError("There are no frames to compare graphs on.")
        self.frames = [_slot(frame, self._card) for frame, _ in given]
        self._shapes = [(frame.shape[0], frame.shape[1]) for frame, _ in given]
        self._own = self.answer(prepared)
        self.labelled = given[0][1] is not None
        own = self._own.maps
        self._truth = [label if label is not None else found for (_, label), found in zip(given, own, strict=True)]
        self.float_matrix = self._matrix(own)
        self.float_miou = self.float_matrix.miou()

    def score(self, graph: ir.Model) -> ProbeScore:
        """Compare a graph, prepared or quantized, of the same classes."""
        return self.compare(self.answer(graph))

    def compare(self, answers: Answers) -> ProbeScore:
        """Compare what a graph answered."""
        pairs = zip(answers.maps, self._own.maps, strict=True)
        equal = [float((got == own)[own != VOID].mean()) for got, own in pairs]
        miou = self._matrix(answers.maps).miou()
        return ProbeScore(
            snr_db=self.snr_db(answers, range(len(self.frames))),
            agreement=float(np.mean(equal)),
            miou=miou,
            drop=self.float_miou - miou,
        )

    def snr_db(self, answers: Answers, frames: Sequence[int]) -> float | None:
        """Signal-to-noise of the logits on some of the frames, decibels, as in `ProbeScore`."""
        pairs = [(self._own.logits[index], answers.logits[index]) for index in frames]
        signal = sum(float(np.square(own, dtype=np.float64).sum()) for own, _ in pairs)
        noise = sum(_squares(got, own) for own, got in pairs)
        if noise == 0:
            return None
        return 10 * math.log10(signal / noise) if math.isfinite(noise) and signal > 0 else -math.inf

    def answer(self, graph: ir.Model) -> Answers:
        """Run a graph, prepared or quantized, on all frames."""
        whole = attach_head_and_tail(graph, head="cast", upsample=self._upsample)
        session = open_graph(whole, [LOGITS, CLASS_MAP])
        answers = [session.run([LOGITS, CLASS_MAP], {FRAME: frame}) for frame in self.frames]
        resize = self._card.preprocess.resize
        maps = [restore_class_map(a[1][0], shape, resize) for a, shape in zip(answers, self._shapes, strict=True)]
        return Answers([answer[0][0] for answer in answers], maps)

    def _matrix(self, maps: list[UInt8]) -> ConfusionMatrix:
        matrix = ConfusionMatrix.empty(self._card.num_classes)
        for got, truth in zip(maps, self._truth, strict=True):
            seen = np.where(got == VOID, np.uint8(VOID), truth)
            matrix.update(got, seen)
        return matrix


def _squares(got: Float32, own: Float32) -> float:
    """Power of the difference; infinite or not a number where a logit is."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.square(np.subtract(got, own, dtype=np.float64)).sum())


def _slot(frame: UInt8, card: Card) -> UInt8:
    """A frame as the graph takes it, `(N, h, w, channels)` uint8, the same in every slot of a batch."""
    slot = np.empty((*card.fixed_size_hw, len(card.preprocess.pixel_format)), np.uint8)
    frame_for_card(frame, card.preprocess, slot)
    return np.repeat(slot[None], card.batch, 0)
