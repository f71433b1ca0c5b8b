"""Networks that do nothing but convolve, so that their speed is the library's best on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from edgeseg.backends import Backend, Engine, EngineOptions
from edgeseg.card import Card, Dialect, Precision
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.io import require_card, save_graph, set_card
from edgeseg.graph.passes.adopt_frames import PIXELS
from edgeseg.graph.passes.cut_tail import LOGITS
from edgeseg.graph.values import add_constant
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.measure import measure_ranges

__all__ = ["Shape", "build_network", "network"]

Float32 = npt.NDArray[np.float32]
SEED = 0
CLASSES = 2


class Shape(NamedTuple):
    """Convolutions one behind the other, all alike.

    Attributes:
        kernel: Its height and width.
        channels: Read and made by each.
        size_hw: Of every map.
        depth: How many.
    """

    kernel: int
    channels: int
    size_hw: tuple[int, int]
    depth: int


def network(shape: Shape) -> ir.Model:
    """A prepared graph of such convolutions with ReLU. Frames enter with three channels, and two classes leave it, so
    that what lies around the convolutions weighs little.
    """
    rng, (height, width) = np.random.default_rng(SEED), shape.size_hw
    pixels = ir.Value(name=PIXELS, shape=ir.Shape((1, 3, height, width)), type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([pixels], [], nodes=[], opset_imports={"": 17}, name="ceiling")
    value = pixels
    layers = [(1, 3, shape.channels), *[(shape.kernel, shape.channels, shape.channels)] * shape.depth]
    for index, (kernel, read, made) in enumerate([*layers, (1, shape.channels, CLASSES)]):
        spread = np.sqrt(2 / (read * kernel**2))
        weights = rng.normal(0, spread, (made, read, kernel, kernel)).astype(np.float32)
        constants = [add_constant(graph, f"{name}{index}", array) for name, array in _arrays(weights)]
        conv = ir.node("Conv", [value, *constants], {"pads": [kernel // 2] * 4, "kernel_shape": [kernel] * 2})
        conv.name, value = f"conv{index}", conv.outputs[0]
        value.name = f"made{index}"
        graph.append(conv)
        if index <= shape.depth:
            relu = ir.node("Relu", [value])
            relu.name, value = f"relu{index}", relu.outputs[0]
            value.name = f"rectified{index}"
            graph.append(relu)
    value.name = LOGITS
    graph.outputs.append(value)
    model = ir.Model(graph, ir_version=10)
    ShapeInferencePass()(model)
    palette = ((0, 0, 0), (255, 255, 255))
    set_card(model, Card(kind="prepared", model="ceiling", classes=("a", "b"), palette=palette, size_hw=shape.size_hw))
    return model


def _arrays(weights: Float32) -> Iterator[tuple[str, Float32]]:
    yield "weights", weights
    yield "bias", np.zeros(len(weights), np.float32)


def build_network(model: ir.Model, backend: Backend, dialect: Dialect, precision: Precision, folder: Path) -> Engine:
    """An engine of a network, built as all are; INT8 by its ranges on noise.

    Args:
        model: As `network` gives it.
        backend: That builds it.
        dialect: Of INT8, or `float`.
        precision: Of float operators.
        folder: To write to.

    Raises:
        EdgesegError: The library refuses it.
    """
    if dialect != "float":
        shape = (1, 3, *require_card(model).fixed_size_hw)
        noise = np.random.default_rng(SEED).integers(-128, 128, shape).astype(np.float32)
        model = quantize_onnx(model, measure_ranges(model, [noise], calibration_sha256=""), dialect=dialect)
    graph = folder / f"{dialect}.source.onnx"
    save_graph(attach_head_and_tail(model, head=backend.head, tail=backend.tail, upsample="none"), graph)
    return backend.build(graph, folder / f"{dialect}{backend.suffix}", EngineOptions(precision=precision))
