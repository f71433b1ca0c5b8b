"""Bias correction: what quantization shifts the means of convolutions by is taken off their biases."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.errors import ModelFileError
from edgeseg.graph.runtime import open_graph
from edgeseg.graph.values import add_constant

__all__ = ["add_to_biases", "measure_corrections"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
CONVS = ("Conv", "ConvTranspose")


def add_to_biases(graph: ir.Graph, corrections: Mapping[str, bytes]) -> None:
    """Add to the biases of convolutions, in place.

    Args:
        graph: That they were measured on, or the same at another size.
        corrections: By `measure_corrections`.

    Raises:
        ModelFileError: They are of another graph.
    """
    biases = _biases(graph)
    for name, correction in corrections.items():
        if name not in biases or len(correction) != 4 * len(biases[name][1]):
            raise ModelFileError(f"The corrections are of another graph: it has no such convolution '{name}'.")
        node, bias = biases[name]
        summed = (bias + np.frombuffer(correction, "<f4")).astype(np.float32)
        node.resize_inputs(3)
        node.replace_input_with(2, add_constant(graph, f"{name}.corrected_bias", summed))


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
    ICCV 2019, section 4.2). Convolutions whose weights or biases are computed are left as they are.

    Args:
        prepared: The float graph.
        quantized: The same in eight bits, by `quantize_onnx`, without corrections.
        pixels: float32 arrays as the graphs take them; calibration frames, at least one.
        on_conv: Told how many convolutions are done, and of how many, after each.

    Returns:
        By the convolution's name, float32 little-endian per output channel.
    """
    biases = _biases(prepared.graph)
    wanted: dict[str, Float64] = {}
    for conv, outputs in _Walk(prepared, biases, pixels):
        _add(outputs, biases[conv][1])
        wanted[conv] = _mean(outputs)
    corrections: dict[str, bytes] = {}
    for conv, outputs in _Walk(quantized, biases, pixels):
        bias = (wanted[conv] - _mean(outputs)).astype(np.float32)
        _add(outputs, bias)
        corrections[conv] = (bias - biases[conv][1]).astype("<f4").tobytes()
        on_conv(len(corrections), len(biases))
    return corrections


class _Walk:
    """A graph computed on several frames from one convolution to the next, each node once.

    Each convolution's outputs are given without its bias, one array per frame; what they are changed to in place is
    what the convolutions behind it read. Only what these still need is held.
    """

    def __init__(self, model: ir.Model, convs: Iterable[str], pixels: Sequence[Float32]) -> None:
        self._model = model.clone()
        named = set(convs)
        self._convs = [node for node in self._model.graph if node.name in named]
        for conv in self._convs:
            conv.resize_inputs(2)
        self._waiting = set(_nodes_before(self._convs, set()))
        self._readers: dict[ir.Value, set[ir.Node]] = {}
        for node in self._waiting:
            for value in _reads(node):
                self._readers.setdefault(value, set()).add(node)
        self._frames = len(pixels)
        self._held: dict[ir.Value, list[npt.NDArray[Any]]] = {}
        self._hold(self._model.graph.inputs[0], list(pixels))

    def __iter__(self) -> Iterator[tuple[str, list[Float32]]]:
        for conv in self._convs:
            nodes = _nodes_before([conv], self._held)
            self._waiting.difference_update(nodes)
            made = {conv.outputs[0]: None, **{v: None for node in nodes for v in node.outputs if self._is_needed(v)}}
            for value, arrays in zip(made, self._compute(nodes, list(made)), strict=True):
                self._hold(value, arrays)
            yield conv.name or "", self._held[conv.outputs[0]]
            self._held = {value: arrays for value, arrays in self._held.items() if self._is_needed(value)}

    def _compute(self, nodes: Iterable[ir.Node], wanted: Sequence[ir.Value]) -> list[list[npt.NDArray[Any]]]:
        """By value and frame, from what is held."""
        read = [value for value in {v: None for node in nodes for v in _reads(node)} if value in self._held]
        graph = ir.convenience.extract(self._model.graph, read, wanted)
        session = open_graph(ir.Model(graph, ir_version=self._model.ir_version), [])
        answers = [session.run(None, {v.name: self._held[v][frame] for v in read}) for frame in range(self._frames)]
        return [[answer[index] for answer in answers] for index in range(len(wanted))]

    def _hold(self, value: ir.Value, arrays: list[npt.NDArray[Any]]) -> None:
        """Keep a tensor, and make its type known, which a graph that begins with it must tell."""
        value.dtype, value.shape = ir.DataType.from_numpy(arrays[0].dtype), ir.Shape(arrays[0].shape)
        self._held[value] = arrays

    def _is_needed(self, value: ir.Value) -> bool:
        return not self._waiting.isdisjoint(self._readers.get(value, ()))


def _nodes_before(ends: Sequence[ir.Node], held: Container[ir.Value]) -> dict[ir.Node, None]:
    """These nodes and all that they need beyond the tensors that are held."""
    found: dict[ir.Node, None] = {}
    waiting = list(ends)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found[node] = None
            makers = [value.producer() for value in _reads(node) if value not in held]
            waiting += [maker for maker in makers if maker is not None]
    return found


def _reads(node: ir.Node) -> list[ir.Value]:
    """Its inputs, and what graphs inside of it take from around them."""
    inner = [attr.as_graph() for attr in node.attributes.values() if attr.type == ir.AttributeType.GRAPH]
    nodes = [node, *(one for graph in inner for one in ir.traversal.RecursiveGraphIterator(graph))]
    return [value for one in nodes for value in one.inputs if value is not None and value.graph is node.graph]


def _biases(graph: ir.Graph) -> dict[str, tuple[ir.Node, Float32]]:
    """By name the convolutions whose weights and biases are constant, with `(C,)` biases, zeros where there is none."""
    found = {}
    for conv in (node for node in graph if node.op_type in CONVS):
        constants = [value.const_value for value in conv.inputs[1:] if value is not None]
        arrays = [constant.numpy() for constant in constants if constant is not None]
        if len(arrays) == len(constants):
            weights, *biases = arrays
            groups = conv.attributes.get_int("group", 1)
            channels = weights.shape[0] if conv.op_type == "Conv" else weights.shape[1] * groups
            found[conv.name or ""] = (conv, biases[0].astype(np.float32) if biases else np.zeros(channels, np.float32))
    return found


def _add(outputs: Sequence[Float32], bias: Float32) -> None:
    for output in outputs:
        output += bias.reshape(-1, *[1] * (output.ndim - 2))


def _mean(outputs: Sequence[Float32]) -> Float64:
    """`(C,)` over all frames and places; float32 sums would be off by as much as some corrections are."""
    means: Float64 = np.mean([output.mean((0, *range(2, output.ndim)), np.float64) for output in outputs], 0)
    return means
