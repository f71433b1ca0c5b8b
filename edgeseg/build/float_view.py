"""What the float network sees in frames: its deepest features, and the classes that it predicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.build.calibrate import pixels_of
from edgeseg.card import Card
from edgeseg.data.calibration import FrameSet
from edgeseg.errors import ModelFileError
from edgeseg.graph.io import require_card
from edgeseg.graph.passes.adopt_frames import PIXELS
from edgeseg.graph.passes.cut_tail import LOGITS
from edgeseg.graph.runtime import open_graph

__all__ = ["OCCURS", "ClassCoverage", "View", "coverage", "views"]

Float32 = npt.NDArray[np.float32]
#: Share of a frame's pixels from which a class occurs in it: less may be a few pixels mistaken.
OCCURS = 0.001
CONVOLUTIONS = ("Conv", "ConvTranspose")
CLASSIFIERS = (*CONVOLUTIONS, "MatMul", "Gemm")


class View(NamedTuple):
    """What the network sees in one frame.

    Attributes:
        means, deviations: `(channels,)` float32, of each channel of the classifier's input over the frame.
        shares: `(classes,)` float32, of the logits' pixels that are predicted to be of each class; they sum to 1.
    """

    means: Float32
    deviations: Float32
    shares: Float32


class ClassCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """How often a class is predicted.

    Attributes:
        name: Of the class.
        share: Of all pixels, 0 to 1.
        frames: In how many frames it has more than 0.1 % of the pixels.
    """

    name: str
    share: float
    frames: int


def coverage(shares: npt.NDArray[np.float32], classes: tuple[str, ...]) -> tuple[ClassCoverage, ...]:
    """Each class's coverage, in the classes' order; `shares` is `(frames, classes)`."""
    return tuple(
        ClassCoverage(name=name, share=float(column.mean(dtype=np.float64)), frames=int((column > OCCURS).sum()))
        for name, column in zip(classes, shares.T, strict=True)
    )


def views(frames: FrameSet, prepared: ir.Model) -> Iterator[View]:
    """What a prepared graph sees in each frame, computed in float on ONNX Runtime.

    Raises:
        ModelFileError: ONNX Runtime refuses the graph, or its values are not finite.
    """
    card = require_card(prepared)
    features, axis = _before_classifier(prepared.graph)
    inside = features.name if features.producer() is not None else None
    names = [LOGITS] if inside is None else [LOGITS, inside]
    session = open_graph(prepared, names)
    for index, pixels in enumerate(pixels_of(frames, card)):
        logits, *rest = session.run(names, {PIXELS: pixels})
        values = rest[0] if rest else pixels
        if not (np.isfinite(values).all() and np.isfinite(logits).all()):
            raise ModelFileError(
                f"The network gives values on frame {index} that are not finite.",
                hint="Do the weights and the preprocessing belong together? Check with edgeseg inspect.",
            )
        channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        yield View(channels.mean(1), channels.std(1), _shares(logits, card))


def _before_classifier(graph: ir.Graph) -> tuple[ir.Value, int]:
    """What the last convolution or matrix product before the logits reads, and the axis of its channels."""
    value: ir.Value | None = graph.outputs[0]
    while value is not None and (node := value.producer()) is not None:
        value = next((read for read in node.inputs if read is not None and read.const_value is None), None)
        if value is not None and node.op_type in CLASSIFIERS:
            return value, 1 if node.op_type in CONVOLUTIONS else -1
    return graph.inputs[0], 1


def _shares(logits: Float32, card: Card) -> Float32:
    found = logits.argmax(1) if card.logit == "softmax" else (logits > card.threshold).astype(np.int64)
    return (np.bincount(found.ravel(), minlength=card.num_classes) / found.size).astype(np.float32)
