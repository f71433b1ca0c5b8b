"""The graph's input becomes the camera's pixels."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeseg.card import Preprocess
from edgeseg.errors import UsageError
from edgeseg.graph.values import add_constant, named_node

__all__ = ["PIXELS", "AdoptFrames"]

#: Name of the prepared graph's input: `(N, 3, H, W)` float32, frame - 128, channels as the camera delivers them.
PIXELS = "pixels"


class AdoptFrames(ir.passes.InPlacePass):
    """Take pixels (frame - 128, float, the camera's channel order) in place of normalized images.

    1. Where the first operator is a convolution, order and scale go into its weights. That is exact under
       zero padding too, because the mean is subtracted before. A mean of 128 vanishes altogether.
    2. Elsewhere they become operators.

    Args:
        preprocess: What the network was trained with, and what the camera delivers.
    """

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        self.preprocess = preprocess

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph, old = model.graph, model.graph.inputs[0]
        if old.name == PIXELS:
            old.name = "image"
        pixels = ir.Value(name=PIXELS, shape=old.shape, type=ir.TensorType(ir.DataType.FLOAT))
        order = self._order()
        scale = 1 / np.asarray(self.preprocess.std, np.float64)
        mean = np.asarray(self.preprocess.mean, np.float64)
        nodes: list[ir.Node] = []
        value = pixels
        offset = np.empty(3)
        offset[order] = 128 - mean
        if np.any(offset):
            value = _append(model, nodes, "Add", value, offset, "pixels.offset")
        convs = _readers_to_fold(old)
        if convs:
            for conv in convs:
                _fold(model, conv, order, scale)
        else:
            value = self._operators(model, nodes, value, order, scale)
        _splice(graph, old, pixels, value, nodes)
        return ir.passes.PassResult(model, modified=True)

    def _order(self) -> list[int]:
        """For each channel of the network, the camera's channel that feeds it."""
        camera = self.preprocess.pixel_format[:3]
        return [camera.index(channel) for channel in self.preprocess.channels]

    def _operators(
        self, model: ir.Model, nodes: list[ir.Node], value: ir.Value, order: list[int], scale: np.ndarray
    ) -> ir.Value:
        if order != [0, 1, 2]:
            indices = add_constant(model.graph, "pixels.order", np.asarray(order, np.int64))
            nodes.append(named_node("Gather", "pixels.reorder", value, indices, axis=1))
            value = nodes[-1].outputs[0]
        return _append(model, nodes, "Mul", value, scale, "pixels.scaled") if np.any(scale != 1) else value


def _readers_to_fold(value: ir.Value) -> list[ir.Node]:
    """The convolutions that read `value`, if nothing else does and their weights are constant."""
    readers = [usage.node for usage in value.uses()]
    foldable = all(
        node.op_type == "Conv"
        and node.attributes.get_int("group", 1) == 1
        and node.inputs[1] is not None
        and node.inputs[1].const_value is not None
        for node in readers
    )
    return readers if foldable else []


def _fold(model: ir.Model, conv: ir.Node, order: list[int], scale: np.ndarray) -> None:
    old = conv.inputs[1]
    if old is None or old.const_value is None:
        raise UsageError(f"The weights of '{conv.name}' are not constant.")
    weight = old.const_value.numpy().astype(np.float64) * scale.reshape(1, 3, 1, 1)
    reordered = np.empty_like(weight)
    reordered[:, order] = weight
    conv.replace_input_with(1, add_constant(model.graph, f"{old.name}.pixels", reordered.astype(np.float32)))


def _append(
    model: ir.Model, nodes: list[ir.Node], op: str, value: ir.Value, per_channel: np.ndarray, name: str
) -> ir.Value:
    constant = add_constant(model.graph, f"{name}.constant", per_channel.reshape(1, 3, 1, 1).astype(np.float32))
    nodes.append(named_node(op, name, value, constant))
    return nodes[-1].outputs[0]


def _splice(graph: ir.Graph, old: ir.Value, pixels: ir.Value, value: ir.Value, nodes: list[ir.Node]) -> None:
    first = graph[0]
    ir.convenience.replace_all_uses_with(old, value)
    graph.inputs[0] = pixels
    if nodes:
        graph.insert_before(first, nodes)
