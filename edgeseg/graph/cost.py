"""What a graph costs: values in its weights, and multiply-adds."""

from __future__ import annotations

import math

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from edgeseg.errors import ModelFileError
from edgeseg.graph.passes import FoldConstants, FreezeShape

__all__ = ["count_macs", "count_parameters", "node_macs", "static_shape"]

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")


def count_parameters(graph: ir.Graph) -> int:
    """Values in the weights and biases of operators that have them, those before a DequantizeLinear included."""
    constants = {}
    for node in graph:
        for value in node.inputs[1:] if node.op_type in WEIGHTED else ():
            constant = _behind_dequantize(value)
            if constant is not None and constant.const_value is not None:
                constants[constant.name] = math.prod(constant.const_value.shape.numpy())
    return sum(constants.values())


def count_macs(model: ir.Model, size_hw: tuple[int, int]) -> int:
    """Multiply-adds of convolutions and matrix products for one frame of a size.

    Args:
        model: A graph that takes `(N, 3, H, W)`; it is left as it is.
        size_hw: Height and width of the frame.

    Raises:
        UsageError: The graph is fixed to another size.
        ModelFileError: A shape can't be told.
    """
    fixed = model.clone()
    for step in (FreezeShape((1, 3, *size_hw)), FoldConstants(), ShapeInferencePass()):
        fixed = step(fixed).model
    return sum(node_macs(node) for node in fixed.graph)


def node_macs(node: ir.Node) -> int:
    """Multiply-adds of one operator; 0 of those that are neither convolution nor matrix product.

    Raises:
        ModelFileError: A shape can't be told.
    """
    if node.op_type == "Conv":
        return math.prod(static_shape(node.outputs[0])) * math.prod(static_shape(node.inputs[1])[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(static_shape(node.inputs[0])) * math.prod(static_shape(node.inputs[1])[1:])
    if node.op_type == "Gemm":
        transposed = node.attributes.get_int("transA", 0)
        return math.prod(static_shape(node.outputs[0])) * static_shape(node.inputs[0])[0 if transposed else 1]
    if node.op_type == "MatMul":
        return math.prod(static_shape(node.outputs[0])) * static_shape(node.inputs[0])[-1]
    return 0


def static_shape(value: ir.Value | None) -> tuple[int, ...]:
    """The shape of a tensor.

    Raises:
        ModelFileError: It is not known, or a side is free.
    """
    if value is None or value.shape is None or not value.shape.is_static():
        name, shape = (value.name, value.shape) if value is not None else ("", None)
        raise ModelFileError(
            f"What the graph costs can't be counted: the shape of '{name}' is {shape or 'unknown'}.",
            hint="Export the graph with a fixed size.",
        )
    return tuple(value.shape.numpy())


def _behind_dequantize(value: ir.Value | None) -> ir.Value | None:
    """The stored weight that a DequantizeLinear brings back to float, or the value itself."""
    node = value.producer() if value is not None else None
    return node.inputs[0] if node is not None and node.op_type == "DequantizeLinear" else value
