"""Constants and nodes for graphs, made with names."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

__all__ = ["add_constant", "cuts_edge", "named_node"]


def add_constant(graph: ir.Graph, name: str, array: Any) -> ir.Value:
    """A new initializer of a graph, from anything that numpy makes an array of."""
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    shape = ir.Shape(tensor.shape.numpy())
    value = ir.Value(name=name, const_value=tensor, shape=shape, type=ir.TensorType(tensor.dtype))
    graph.register_initializer(value)
    return value


def named_node(op: str, name: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Node:
    """A node `name` with one output, `<name>.value`, not yet in any graph."""
    node = ir.node(op, list(inputs), attributes, name=name)
    node.outputs[0].name = f"{name}.value"
    return node


def cuts_edge(node: ir.Node) -> bool:
    """Whether a node cuts the last rows or columns off a map, as decoders do where strides leave something over.

    Such nodes come and go with the input's size.
    """
    if node.op_type != "Slice" or len(node.inputs) < 4:
        return False
    constants = [value.const_value if value is not None else None for value in node.inputs[1:]]
    starts, _, axes, *steps = (constant.numpy() if constant is not None else None for constant in constants)
    if starts is None or axes is None or any(step is None or (step != 1).any() for step in steps):
        return False
    return bool((starts == 0).all() and (axes >= 2).all())
