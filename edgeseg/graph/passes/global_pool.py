"""Means over height and width become GlobalAveragePool."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["GlobalPool"]


class GlobalPool(ir.passes.InPlacePass):
    """Replace `ReduceMean(axes=(2, 3), keepdims=1)` of a 4-D tensor by `GlobalAveragePool`.

    No engine library quantizes ReduceMean; all quantize GlobalAveragePool.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        modified = False
        for node in list(model.graph):
            if node.op_type != "ReduceMean" or not _is_spatial(node):
                continue
            old = node.outputs[0]
            pool = ir.node("GlobalAveragePool", [node.inputs[0]], name=node.name)
            new = pool.outputs[0]
            new.name, new.type, new.shape = old.name, old.type, old.shape
            ir.convenience.replace_nodes_and_values(model.graph, node, [node], [pool], [old], [new])
            modified = True
        return ir.passes.PassResult(model, modified)


def _is_spatial(node: ir.Node) -> bool:
    if node.attributes.get_int("keepdims", 1) != 1:
        return False
    axes = node.attributes.get_ints("axes", None)
    if axes is None and len(node.inputs) > 1 and node.inputs[1] is not None:
        constant = ir.convenience.get_const_tensor(node.inputs[1])
        axes = None if constant is None else constant.numpy().tolist()
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    return axes is not None and shape is not None and len(shape) == 4 and {axis % 4 for axis in axes} == {2, 3}
