"""Bias correction: what quantization shifts the means of convolutions by is taken off their biases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.graph.passes.adopt_frames import PIXELS
from edgeseg.graph.runtime import open_graph
from edgeseg.graph.values import add_constant

__all__ = ["add_to_biases", "measure_corrections"]

Float32 = npt.NDArray[np.float32]
CONVS = ("Conv", "ConvTranspose")
#: Convolutions that are corrected with one session, which computes the graph up to the last of them.
TOGETHER = 8


def add_to_biases(graph: ir.Graph, corrections: Mapping[str, bytes]) -> None:
    """Add to the biases of convolutions, in place.

    Args:
        graph: Whose convolutions have constant biases or none.
        corrections: By the convolution's name, float32 little-endian per output channel.
    """
    for node in graph:
        if node.op_type in CONVS and (correction := corrections.get(node.name or "")):
            added = np.frombuffer(correction, "<f4")
            bias = node.inputs[2] if len(node.inputs) > 2 else None
            constant = bias.const_value if bias is not None else None
            summed = added if constant is None else constant.numpy() + added
            node.resize_inputs(3)
            node.replace_input_with(2, add_constant(graph, f"{node.name}.corrected_bias", summed.astype(np.float32)))


def measure_corrections(
    prepared: ir.Model,
    quantized: ir.Model,
    pixels: Sequence[Float32],
    *,
    on_conv: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, bytes]:
    """What to add to each convolution's bias so that its outputs have the mean that they have in float.

    From the first convolution to the last, each with those before it already corrected (empirical bias correction:
    Nagel, van Baalen, Blankevoort, Welling, "Data-free quantization through weight equalization and bias correction",
    ICCV 2019, section 4.2).

    Args:
        prepared: The float graph.
        quantized: The same in eight bits, by `quantize_onnx`, without corrections.
        pixels: float32 arrays as the graphs take them; calibration frames.
        on_conv: Told how many convolutions are done, and of how many, after each.

    Returns:
        As in `Int8Recipe.corrections`.
    """
    convs = [node.name or "" for node in prepared.graph if node.op_type in CONVS]
    biases = {name: _bias_of(prepared, name) for name in convs}
    wanted = _Means(prepared, convs)(pixels, biases, convs)
    corrections: dict[str, bytes] = {}
    for start in range(0, len(convs), TOGETHER):
        means = _Means(quantized, convs[: start + TOGETHER])
        for name in convs[start : start + TOGETHER]:
            added = wanted[name] - means(pixels, biases, [name])[name]
            biases[name] = biases[name] + added
            corrections[name] = added.astype("<f4").tobytes()
            on_conv(len(corrections), len(convs))
    return corrections


class _Means:
    """A graph that takes the biases of its convolutions as inputs, and gives the mean of their outputs."""

    def __init__(self, model: ir.Model, convs: Sequence[str]) -> None:
        self._convs = tuple(convs)
        bare = model.clone()
        nodes = {node.name: node for node in bare.graph}
        for name in convs:
            node = nodes[name]
            shape = ir.Shape([_out_channels(node)])
            bias = ir.Value(name=_input(name), shape=shape, type=ir.TensorType(ir.DataType.FLOAT))
            bare.graph.inputs.append(bias)
            node.resize_inputs(3)
            node.replace_input_with(2, bias)
            mean = ir.node("ReduceMean", [node.outputs[0]], {"axes": [0, 2, 3], "keepdims": 0})
            mean.outputs[0].name = _output(name)
            bare.graph.append(mean)
        self._session = open_graph(bare, [_output(name) for name in convs])

    def __call__(
        self, pixels: Sequence[Float32], biases: Mapping[str, Float32], asked: Sequence[str]
    ) -> dict[str, Float32]:
        """`(C,)` float32 for each convolution that is asked for: the mean over all frames and places."""
        feed = {_input(name): biases[name] for name in self._convs}
        names = [_output(name) for name in asked]
        sums = [self._session.run(names, {PIXELS: frame, **feed}) for frame in pixels]
        return {name: np.mean([answers[i] for answers in sums], 0) for i, name in enumerate(asked)}


def _input(conv: str) -> str:
    return f"{conv}.bias_in"


def _output(conv: str) -> str:
    return f"{conv}.mean_out"


def _bias_of(prepared: ir.Model, name: str) -> Float32:
    node = next(node for node in prepared.graph if node.name == name)
    constant = node.inputs[2].const_value if len(node.inputs) > 2 and node.inputs[2] is not None else None
    return np.zeros(_out_channels(node), np.float32) if constant is None else constant.numpy().astype(np.float32)


def _out_channels(conv: ir.Node) -> int:
    """By its weights, since a Q/DQ graph need not know the shapes of all its tensors."""
    weights = ir.convenience.get_const_tensor(_behind_qdq(conv.inputs[1]))
    assert weights is not None
    if conv.op_type == "Conv":
        return int(weights.shape.numpy()[0])
    return int(weights.shape.numpy()[1]) * conv.attributes.get_int("group", 1)


def _behind_qdq(value: ir.Value | None) -> ir.Value:
    assert value is not None
    node = value.producer()
    while node is not None and node.op_type in ("DequantizeLinear", "QuantizeLinear") and node.inputs[0] is not None:
        value, node = node.inputs[0], node.inputs[0].producer()
    return value
