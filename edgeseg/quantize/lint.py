"""What TensorRT's parser refuses, or takes and computes wrongly or slowly, found without TensorRT."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

__all__ = ["Finding", "lint_tensorrt"]

QDQ = ("QuantizeLinear", "DequantizeLinear")
#: Axis of the output channels in the weights.
WEIGHT_AXIS = {"Conv": 0, "ConvTranspose": 1}
RESIZE_MODES = ("linear", "nearest", "cubic")
RESIZE_COORDINATES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel")


@dataclass(frozen=True)
class Finding:
    """One thing that TensorRT would not take.

    Attributes:
        rule: Short name of what is broken.
        node: Name of the node where.
        message: One sentence.
    """

    rule: str
    node: str
    message: str


def lint_tensorrt(model: ir.Model) -> list[Finding]:
    """Findings in a Q/DQ graph, in the order of its nodes; none for a graph of dialect `s8-sym`.

    The rules are those that TensorRT 8.5 to 11 and TensorRT-RTX share: signed 8-bit types, zero points of zero,
    positive scales, one scale per activation, biases in float, one scale for all inputs of a Concat.
    """
    found = []
    for node in model.graph:
        for rule, check in _RULES.items():
            found += [Finding(rule, node.name or node.op_type, message) for message in check(node)]
    return found


def _types(node: ir.Node) -> Iterator[str]:
    if node.op_type not in QDQ:
        if node.op_type == "Cast":
            return
        for value in node.inputs:
            if value is not None and value.dtype == ir.DataType.UINT8:
                yield f"{node.op_type} reads '{value.name}' as uint8, which only Cast may."
        return
    dtype = _quantized(node).dtype
    if dtype == ir.DataType.INT32:
        yield "It dequantizes int32: TensorRT wants biases in float."
    elif dtype == ir.DataType.UINT8:
        yield "It is of uint8, which TensorRT takes for int8 and computes wrongly."


def _zero_point(node: ir.Node) -> Iterator[str]:
    if node.op_type not in QDQ or len(node.inputs) < 3 or node.inputs[2] is None:
        return
    zero = _constant(node.inputs[2])
    if zero is None or zero.any():
        yield "Its zero point is not zero." if zero is not None else "Its zero point is not constant."


def _scale(node: ir.Node) -> Iterator[str]:
    if node.op_type not in QDQ:
        return
    scale = _constant(node.inputs[1])
    if scale is None:
        yield "Its scale is not constant."
    elif not (np.isfinite(scale) & (scale > 0)).all():
        yield f"Its scale is {float(scale.min()):g}; it must be positive."


def _axis(node: ir.Node) -> Iterator[str]:
    if node.op_type not in QDQ:
        return
    scale = _constant(node.inputs[1])
    if scale is None or scale.size == 1:
        return
    if node.inputs[0] is None or node.inputs[0].const_value is None:
        yield f"It has {scale.size} scales on an activation; only weights may have one per channel."
        return
    for reader in (usage.node for usage in node.outputs[0].uses()):
        wanted = WEIGHT_AXIS.get(reader.op_type)
        axis = node.attributes.get_int("axis", 1)
        if wanted is not None and axis != wanted:
            yield f"Its axis is {axis}; the weights of a {reader.op_type} have their channels on axis {wanted}."


def _concat(node: ir.Node) -> Iterator[str]:
    if node.op_type != "Concat":
        return
    makers = [value.producer() for value in node.inputs if value is not None]
    scales = [_constant(maker.inputs[1]) for maker in makers if maker is not None and maker.op_type == QDQ[1]]
    told = {float(scale.reshape(-1)[0]) for scale in scales if scale is not None}
    if len(told) > 1:
        yield f"Its inputs have the scales {', '.join(f'{scale:g}' for scale in sorted(told))}; they must be equal."


def _resize(node: ir.Node) -> Iterator[str]:
    if node.op_type != "Resize":
        return
    mode = node.attributes.get_string("mode", "nearest")
    coordinates = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if mode not in RESIZE_MODES or coordinates not in RESIZE_COORDINATES:
        possible = f"{', '.join(RESIZE_MODES)} with {', '.join(RESIZE_COORDINATES)}"
        yield f"It resizes by {mode} with {coordinates}; possible is {possible}."


def _quantized(node: ir.Node) -> ir.Value:
    """What has the type of a Q or DQ node's whole numbers: its zero point, else the tensor itself."""
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    side = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    return zero or side or node.outputs[0]


def _constant(value: ir.Value | None) -> npt.NDArray[np.float64] | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy().astype(np.float64)


_RULES: dict[str, Callable[[ir.Node], Iterator[str]]] = {
    "type": _types,
    "zero-point": _zero_point,
    "scale": _scale,
    "axis": _axis,
    "concat-scales": _concat,
    "resize": _resize,
}
