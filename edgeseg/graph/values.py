"""Constants and nodes for graphs, made with names."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

__all__ = ["add_constant", "named_node"]


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
