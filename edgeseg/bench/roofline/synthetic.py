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
from edgeseg.build.engine_graph import make_engine_graph
from edgeseg.build.graph_facts import Quantization
from edgeseg.build.store import graph_beside
from edgeseg.card import Card, Int8Recipe, Precision
from edgeseg.graph.io import require_card, save_graph, set_card
from edgeseg.graph.passes.adopt_frames import PIXELS
from edgeseg.graph.passes.cut_tail import LOGITS
from edgeseg.graph.values import add_constant
from edgeseg.quantize.measure import measure_ranges
from edgeseg.quantize.ranges import Ranges

__all__ = ["Shape", "build_network", "network", "noise_ranges"]

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


def noise_ranges(model: ir.Model) -> Ranges:
    """What a prepared graph's tensors hold on noise."""
    shape = (1, 3, *require_card(model).fixed_size_hw)
    noise = np.random.default_rng(SEED).integers(-128, 128, shape).astype(np.float32)
    return measure_ranges(model, [noise], calibration_sha256="")


def build_network(
    model: ir.Model, backend: Backend, precision: Precision, folder: Path, ranges: Ranges | None = None
) -> Engine:
    """An engine of a prepared graph, built as all are, with its graph beside it.

    Args:
        model: As `network` gives it.
        backend: That builds it.
        precision: Of float operators.
        folder: To write to.
        ranges: For INT8 in the backend's first dialect; without them it stays in float.

    Raises:
        EdgesegError: The library refuses it.
    """
    options, dialect = EngineOptions(precision=precision), backend.dialects[0] if ranges is not None else "float"
    form = backend.form(dialect, options, own_tail=backend.own_tail)
    quantization = Quantization(Int8Recipe(), ranges) if ranges is not None else None
    whole, facts = make_engine_graph(model, quantization, form, "none")
    out = folder / f"{dialect}{backend.suffix}"
    save_graph(whole, graph_beside(out), facts.card)
    return backend.build(graph_beside(out), out, options, card=facts.card)
