"""Half precision becomes float32, so that one form is calibrated and each backend chooses its own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

__all__ = ["RaisePrecision"]

HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


class RaisePrecision(ir.passes.InPlacePass):
    """Turn float16 and bfloat16 weights, casts, inputs and outputs into float32."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        graph, modified = model.graph, False
        for value in graph.initializers.values():
            if value.const_value is not None and value.const_value.dtype in HALVES:
                value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=value.name)
                modified = True
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                modified |= _raise_attribute(node, name, attribute)
        for value in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)):
            if value.dtype in HALVES:
                value.type = ir.TensorType(ir.DataType.FLOAT)
                modified = True
        return ir.passes.PassResult(model, modified)


def _raise_attribute(node: ir.Node, name: str, attribute: ir.Attr) -> bool:
    if name in ("to", "dtype") and attribute.type is ir.AttributeType.INT and attribute.as_int() in HALVES:
        node.attributes.add(ir.AttrInt64(name, int(ir.DataType.FLOAT)))
        return True
    if attribute.type is ir.AttributeType.TENSOR and attribute.as_tensor().dtype in HALVES:
        node.attributes.add(ir.AttrTensor(name, ir.tensor(attribute.as_tensor().numpy().astype(np.float32))))
        return True
    return False
