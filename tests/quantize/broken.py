"""Graphs that break one rule of TensorRT's each, and what its real parser says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import onnx_ir as ir

from tests.quantize.tiny import constant, node


class Broken(NamedTuple):
    """One rule broken in one place.

    `parser` is what TensorRT's says: it `refuses` the graph, `warns` and reads other values, or `takes` it and
    computes it more slowly.
    """

    id: str
    breaks: Callable[[ir.Model], None]
    rule: str
    where: str
    message: str
    parser: Literal["refuses", "warns", "takes"]


def _set(model: ir.Model, name: str, index: int, array: np.ndarray) -> None:
    """Put another constant at an input of the node `name`."""
    value = ir.Value(name=f"{name}.{index}.changed", const_value=ir.tensor(array))
    value.dtype = ir.DataType.from_numpy(array.dtype)
    model.graph.register_initializer(value)
    node(model, name).replace_input_with(index, value)


def _shift_zero_point(model: ir.Model) -> None:
    _set(model, "t3_QuantizeLinear", 2, np.int8(3))


def _shift_only_dequantize(model: ir.Model) -> None:
    _set(model, "t3_DequantizeLinear", 2, np.int8(-1))


def _zero_scale(model: ir.Model) -> None:
    _set(model, "t3_QuantizeLinear", 1, np.float32(0))


def _scale_per_channel_of_an_activation(model: ir.Model) -> None:
    _set(model, "t5_QuantizeLinear", 1, np.full(32, 0.1, np.float32))


def _scale_of_one_weight_channel(model: ir.Model) -> None:
    scales = constant(node(model, "w4_DequantizeLinear").inputs[1]).copy()
    scales[3] = np.nan
    _set(model, "w4_DequantizeLinear", 1, scales)


def _axis_of_weights(model: ir.Model) -> None:
    node(model, "w4_DequantizeLinear").attributes["axis"] = ir.AttrInt64("axis", 1)


def _unsigned(model: ir.Model) -> None:
    _set(model, "t3_QuantizeLinear", 2, np.uint8(0))


def _integer_bias(model: ir.Model) -> None:
    conv = next(one for one in model.graph if one.op_type == "Conv" and len(one.inputs) == 3)
    scale, zero = (ir.Value(name=name, const_value=ir.tensor(array)) for name, array in
                   (("bias.scale", np.full(8, 1e-4, np.float32)), ("bias.zero", np.zeros(8, np.int32))))  # fmt: skip
    zero.dtype = ir.DataType.INT32
    whole = ir.Value(name="bias.whole", const_value=ir.tensor(np.arange(8, dtype=np.int32)))
    for value in (scale, zero, whole):
        model.graph.register_initializer(value)
    dequantize = ir.node("DequantizeLinear", [whole, scale, zero], {"axis": 0}, name="bias_DequantizeLinear")
    model.graph.insert_before(conv, dequantize)
    conv.replace_input_with(2, dequantize.outputs[0])


def _scale_of_one_concat_input(model: ir.Model) -> None:
    concat = next(one for one in model.graph if one.op_type == "Concat")
    maker = concat.inputs[0].producer() if concat.inputs[0] is not None else None
    assert maker is not None
    _set(model, maker.name or "", 1, np.float32(0.5))


def _crop_and_resize(model: ir.Model) -> None:
    resize = next(one for one in model.graph if one.op_type == "Resize")
    mode = "coordinate_transformation_mode"
    resize.attributes[mode] = ir.AttrString(mode, "tf_crop_and_resize")


BROKEN = (
    Broken("a zero point of 3", _shift_zero_point, "zero-point", "t3_QuantizeLinear", "not zero", "refuses"),
    Broken("one of -1", _shift_only_dequantize, "zero-point", "t3_DequantizeLinear", "not zero", "refuses"),
    Broken("a scale of 0", _zero_scale, "scale", "t3_QuantizeLinear", "must be positive", "refuses"),
    Broken("one NaN", _scale_of_one_weight_channel, "scale", "w4_DequantizeLinear", "positive", "refuses"),
    Broken(
        "scales per channel", _scale_per_channel_of_an_activation, "axis", "t5_QuantizeLinear", "32 scales", "refuses"
    ),
    Broken("scales along the input", _axis_of_weights, "axis", "w4_DequantizeLinear", "on axis 0", "refuses"),
    Broken("bytes without sign", _unsigned, "type", "t3_QuantizeLinear", "uint8", "warns"),
    Broken("a bias in int32", _integer_bias, "type", "bias_DequantizeLinear", "biases in float", "refuses"),
    Broken("concat of unequal scales", _scale_of_one_concat_input, "concat-scales", "n16", "must be equal", "takes"),
    Broken("a cropping resize", _crop_and_resize, "resize", "n15", "tf_crop_and_resize", "refuses"),
)
