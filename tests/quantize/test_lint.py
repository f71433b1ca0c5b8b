"""Each rule of TensorRT's finds the graph that breaks it, and no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx_ir as ir
from onnx import TensorProto, helper

from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.lint import Finding, lint_tensorrt
from tests.graphs import GraphMaker
from tests.quantize.tiny import as_prepared, constant, node, prepared, ranges


def _set(model: ir.Model, name: str, index: int, array: np.ndarray) -> None:
    """Put another constant at an input of the node `name`."""
    value = ir.Value(name=f"{name}.{index}.changed", const_value=ir.tensor(array))
    value.dtype = ir.DataType.from_numpy(array.dtype)
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
    dequantize = ir.node("DequantizeLinear", [whole, scale, zero], {"axis": 0}, name="bias_DequantizeLinear")
    model.graph.insert_before(conv, dequantize)
    conv.replace_input_with(2, dequantize.outputs[0])


def _scale_of_one_concat_input(model: ir.Model) -> None:
    concat = next(one for one in model.graph if one.op_type == "Concat")
    maker = concat.inputs[0].producer() if concat.inputs[0] is not None else None
    assert maker is not None
    _set(model, maker.name or "", 1, np.float32(0.5))


def _cubic(model: ir.Model) -> None:
    resize = next(one for one in model.graph if one.op_type == "Resize")
    resize.attributes["mode"] = ir.AttrString("mode", "cubic")


def _crop_and_resize(model: ir.Model) -> None:
    resize = next(one for one in model.graph if one.op_type == "Resize")
    mode = "coordinate_transformation_mode"
    resize.attributes[mode] = ir.AttrString(mode, "tf_crop_and_resize")


@pytest.mark.parametrize(
    ("breaks", "rule", "where", "message"),
    [
        pytest.param(_shift_zero_point, "zero-point", "t3_QuantizeLinear", "not zero", id="a zero point of 3"),
        pytest.param(_shift_only_dequantize, "zero-point", "t3_DequantizeLinear", "not zero", id="one of -1"),
        pytest.param(_zero_scale, "scale", "t3_QuantizeLinear", "must be positive", id="a scale of 0"),
        pytest.param(_scale_of_one_weight_channel, "scale", "w4_DequantizeLinear", "positive", id="one channel's NaN"),
        pytest.param(
            _scale_per_channel_of_an_activation, "axis", "t5_QuantizeLinear", "32 scales", id="scales per channel"
        ),
        pytest.param(_axis_of_weights, "axis", "w4_DequantizeLinear", "on axis 0", id="weights scaled along the input"),
        pytest.param(_unsigned, "type", "t3_QuantizeLinear", "uint8", id="bytes without sign"),
        pytest.param(_integer_bias, "type", "bias_DequantizeLinear", "biases in float", id="a bias in int32"),
        pytest.param(
            _scale_of_one_concat_input, "concat-scales", "n16", "must be equal", id="concat of unequal scales"
        ),
        pytest.param(_cubic, "resize", "n15", "resizes by cubic", id="a cubic resize"),
        pytest.param(_crop_and_resize, "resize", "n15", "tf_crop_and_resize", id="a cropping resize"),
    ],
)
def test_a_broken_rule_is_found_where_it_is(
    breaks: Callable[[ir.Model], None], rule: str, where: str, message: str
) -> None:
    model = quantize_onnx(prepared(), ranges(), dialect="s8-sym")
    assert lint_tensorrt(model) == []
    breaks(model)
    found = lint_tensorrt(model)
    assert [(one.rule, one.node) for one in found] == [(rule, where)]
    assert message in found[0].message


@pytest.mark.parametrize("dialect", ["u8-asym", "u8-asym-reduced"])
def test_unsigned_dialects_are_found_to_be_none_of_tensorrts(dialect: str) -> None:
    model = quantize_onnx(prepared(), ranges(), dialect=dialect)  # type: ignore[arg-type]
    rules = Counter(one.rule for one in lint_tensorrt(model))
    assert set(rules) == {"type", "zero-point", "concat-scales"}
    biases = [one for one in lint_tensorrt(model) if "biases" in one.message]
    assert len(biases) == sum(one.op_type == "Conv" for one in model.graph) - 1


def test_a_float_graph_has_nothing_to_find() -> None:
    assert lint_tensorrt(prepared()) == []


def _transposed_convolution(axis: int) -> ir.Model:
    m = GraphMaker()
    whole = m.constant(np.ones((3, 5, 2, 2), np.int8))
    size = 3 if axis == 0 else 5
    scale, zero = m.constant(np.full(size, 0.1, np.float32)), m.constant(np.zeros(size, np.int8))
    weight = m.node("DequantizeLinear", whole, scale, zero, axis=axis)
    m.node("ConvTranspose", "pixels", weight, out="logits", kernel_shape=[2, 2])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 32, 48])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 5, 33, 49])
    return as_prepared(m.model([pixels], [logits]))


def test_a_transposed_convolution_has_its_channels_on_axis_1() -> None:
    assert lint_tensorrt(_transposed_convolution(1)) == []
    message = "Its axis is 0; the weights of a ConvTranspose have their channels on axis 1."
    assert lint_tensorrt(_transposed_convolution(0)) == [Finding("axis", "n0", message)]


def _bytes_into(op_type: str, **attributes: object) -> ir.Model:
    """A graph whose frame of bytes is first read by that operator."""
    to = TensorProto.FLOAT if op_type == "Cast" else TensorProto.UINT8
    first = helper.make_node(op_type, ["frame"], ["out"], name="first", **attributes)
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, 4, 4, 3])
    out = helper.make_tensor_value_info("out", to, None)
    model: ir.Model = ir.from_proto(helper.make_model(helper.make_graph([first], "g", [frame], [out])))
    return model


def test_bytes_may_enter_a_cast_alone() -> None:
    assert lint_tensorrt(_bytes_into("Cast", to=TensorProto.FLOAT)) == []
    found = lint_tensorrt(_bytes_into("Transpose", perm=[0, 3, 1, 2]))
    assert found == [Finding("type", "first", "Transpose reads 'frame' as uint8, which only Cast may.")]
