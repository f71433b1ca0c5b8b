"""Half precision written into a graph, for engine libraries that take every type from there."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import version_converter
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgeseg.errors import ModelFileError
from edgeseg.graph.values import add_constant

__all__ = ["type_in_half"]

#: The first in which QuantizeLinear and DequantizeLinear have scales in half precision.
OPSET = 19
#: The smallest number that half precision holds with all its bits.
SMALLEST = float(np.finfo(np.float16).tiny)


def type_in_half(model: ir.Model) -> tuple[ir.Model, tuple[str, ...]]:
    """The graph with all that is float32 in float16, but for scales of activations that would underflow.

    Scales of weights that would are raised to 6.1e-5, and their channels rounded anew, by 3e-5 at most: a Cast between
    a DequantizeLinear and its convolution would have libraries compute that in float.

    Args:
        model: From uint8 `frame` to uint8 `class_map`; left as it is.

    Returns:
        The graph in opset 19, and the names of the QuantizeLinear and DequantizeLinear nodes that stay in float32,
        each between Casts, because a scale of theirs is below 6.1e-5.

    Raises:
        ModelFileError: The graph can't be brought to opset 19.
    """
    model = _with_larger_weight_scales(model)
    small = tuple(node.name or "" for node in model.graph if _underflows(node))
    proto = ir.to_proto(model)
    try:
        proto = version_converter.convert_version(proto, max(OPSET, model.opset_imports.get("", 0)))
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelFileError(f"The graph can't be brought to opset {OPSET} for half precision: {reason}") from error
    typed = convert_float_to_float16(proto, op_block_list=[], node_block_list=list(small))
    result = ir.from_proto(typed)
    result.graph.sort()
    onnx.checker.check_model(ir.to_proto(result))
    return result, small


def _with_larger_weight_scales(model: ir.Model) -> ir.Model:
    changed = model.clone()
    for node in list(changed.graph):
        weight = ir.convenience.get_const_tensor(node.inputs[0]) if node.inputs and node.inputs[0] is not None else None
        if weight is None or not _underflows(node):
            continue
        tensor = ir.convenience.get_const_tensor(node.inputs[1])  # type: ignore[arg-type]
        assert tensor is not None, "only a scale that is known can underflow"
        scale, axis = tensor.numpy(), node.attributes.get_int("axis", 1)
        larger = np.maximum(scale, np.float32(SMALLEST))
        shape = [-1 if index == axis else 1 for index in range(len(weight.shape))] if scale.ndim else []
        rounded = np.rint(weight.numpy().astype(np.float32) * (scale / larger).reshape(shape)).astype(np.int8)
        node.replace_input_with(0, add_constant(changed.graph, f"{node.name}.half.weight", rounded))
        node.replace_input_with(1, add_constant(changed.graph, f"{node.name}.half.scale", larger.astype(np.float32)))
    RemoveUnusedNodesPass()(changed)
    return changed


def _underflows(node: ir.Node) -> bool:
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return False
    scale = ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] is not None else None
    return scale is not None and float(scale.numpy().min()) < SMALLEST
