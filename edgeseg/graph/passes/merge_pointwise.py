"""A depthwise 1x1 convolution and the 1x1 convolution that reads it are one 1x1 convolution."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeseg.graph.values import add_constant

__all__ = ["MergePointwise"]


class MergePointwise(ir.passes.InPlacePass):
    """Merge depthwise 1x1 convolutions without activation into the 1x1 convolution behind them.

    LiteSeg's separable 1x1 convolutions are such pairs. The result is the same up to rounding, with one
    operator and one quantized tensor less:  W (d * x + b) + c  =  (W d) x + (W b + c).
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for node in list(model.graph):
            following = _only_reader(node)
            if not _is_pointwise(node) or following is None or not _is_pointwise(following):
                continue
            depth, point = _weights(node), _weights(following)
            if depth is None or point is None or node.attributes.get_int("group", 1) != len(depth[0]):
                continue
            if depth[0].shape[1] != 1 or following.attributes.get_int("group", 1) != 1:
                continue
            factor = depth[0].reshape(1, -1, 1, 1).astype(np.float64)
            weight = (point[0] * factor).astype(np.float32)
            bias = (point[1] + point[0][:, :, 0, 0].astype(np.float64) @ depth[1]).astype(np.float32)
            _set_weights(model, following, weight, bias)
            following.replace_input_with(0, node.inputs[0])
            model.graph.remove(node, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


def _only_reader(node: ir.Node) -> ir.Node | None:
    value = node.outputs[0]
    readers = list(value.uses())
    return readers[0].node if len(readers) == 1 and not value.is_graph_output() and readers[0].idx == 0 else None


def _is_pointwise(node: ir.Node) -> bool:
    if node.op_type != "Conv" or node.inputs[1] is None or node.inputs[1].const_value is None:
        return False
    shape = node.inputs[1].const_value.shape.numpy()
    padded = any(node.attributes.get_ints("pads", ()))
    strides = tuple(node.attributes.get_ints("strides", (1, 1)))
    return tuple(shape[2:]) == (1, 1) and strides == (1, 1) and not padded


def _weights(node: ir.Node) -> tuple[np.ndarray, np.ndarray] | None:
    weight = node.inputs[1].const_value if node.inputs[1] is not None else None
    if weight is None:
        return None
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return weight.numpy(), np.zeros(weight.shape.numpy()[0], np.float32)
    bias = node.inputs[2].const_value
    return None if bias is None else (weight.numpy(), bias.numpy())


def _set_weights(model: ir.Model, node: ir.Node, weight: np.ndarray, bias: np.ndarray) -> None:
    name = node.inputs[1].name if node.inputs[1] is not None else node.name
    node.resize_inputs(3)
    node.replace_input_with(1, add_constant(model.graph, f"{name}.merged", weight))
    node.replace_input_with(2, add_constant(model.graph, f"{name}.merged.bias", bias))
