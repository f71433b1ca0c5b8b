"""How many frames a graph takes at once: another number than it was made for, or any."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from edgeseg.errors import ModelFileError
from edgeseg.graph.values import add_constant, named_node

__all__ = ["BATCH", "set_batch"]

#: Name of a batch that is free.
BATCH = "N"


def set_batch(model: ir.Model, batch: int | None) -> ir.Model:
    """The same graph for another batch.

    Args:
        model: For one frame, or for any number; left as it is.
        batch: Frames at once, or None for any number.

    Raises:
        ModelFileError: A node's shape mixes frames, or is computed.
    """
    changed = model.clone()
    graph = changed.graph
    for node in list(graph):
        if node.op_type == "Resize" and len(node.inputs) > 3:
            _resize(graph, node, batch)
        elif node.op_type == "Reshape":
            _reshape(graph, node)
    for node in graph:
        for output in node.outputs:
            if output not in graph.outputs:
                output.shape = None
    for value in (*graph.inputs, *graph.outputs):
        assert value.shape is not None, "both ends of a graph have shapes"
        value.shape = ir.Shape([BATCH if batch is None else batch, *value.shape[1:]])
    for tidy in (RemoveUnusedNodesPass(), ShapeInferencePass()):
        tidy(changed)
    return changed


def _resize(graph: ir.Graph, node: ir.Node, batch: int | None) -> None:
    """The frames keep their size, and there are as many as come in."""
    size = _frame_size(node)
    if batch is not None:
        node.replace_input_with(3, add_constant(graph, f"{node.name}.batch.sizes", np.array([batch, *size], np.int64)))
        return
    shape = named_node("Shape", f"{node.name}.batch.shape", node.inputs[0])
    first = add_constant(graph, f"{node.name}.batch.first", np.array([0], np.int64))
    count = named_node("Gather", f"{node.name}.batch.count", shape.outputs[0], first)
    rest = add_constant(graph, f"{node.name}.batch.rest", np.array(size, np.int64))
    sizes = named_node("Concat", f"{node.name}.batch.sizes", count.outputs[0], rest, axis=0)
    graph.insert_before(node, [shape, count, sizes])
    node.replace_input_with(3, sizes.outputs[0])


def _frame_size(node: ir.Node) -> list[int]:
    """What a Resize makes of each frame, where the number of frames is worked out as above too."""
    made = node.inputs[3].producer() if node.inputs[3] is not None else None
    if made is not None and made.name == f"{node.name}.batch.sizes":
        return _constant(made, 1)
    return _constant(node, 3)[1:]


def _reshape(graph: ir.Graph, node: ir.Node) -> None:
    """Zero stands for as many frames as come in."""
    first, *rest = _constant(node, 1)
    if first not in (0, 1) and not (first == -1 and min(rest, default=1) > 0):
        raise ModelFileError(
            f"The node '{node.name}' ({node.op_type}) brings {first} slices to the front, which mixes frames.",
            hint="Build it for one frame at a time: leave out --batch.",
        )
    if first == 1:
        node.replace_input_with(1, add_constant(graph, f"{node.name}.batch.shape", np.array([0, *rest], np.int64)))


def _constant(node: ir.Node, index: int) -> list[int]:
    value = node.inputs[index]
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None:
        raise ModelFileError(
            f"The node '{node.name}' ({node.op_type}) computes its shape, so the batch can't be changed.",
            hint="Build it for one frame at a time: leave out --batch.",
        )
    return [int(side) for side in tensor.numpy()]
