"""Each rule of TensorRT's finds the graph that breaks it, and no other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx_ir as ir
from onnx import TensorProto, helper

from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.lint import Finding, lint_tensorrt
from tests.graphs import GraphMaker
from tests.quantize.broken import BROKEN, Broken
from tests.quantize.tiny import as_prepared, prepared, ranges


@pytest.mark.parametrize("broken", BROKEN, ids=[one.id for one in BROKEN])
def test_a_broken_rule_is_found_where_it_is(broken: Broken) -> None:
    model = quantize_onnx(prepared(), ranges(), dialect="s8-sym")
    assert lint_tensorrt(model) == []
    broken.breaks(model)
    found = lint_tensorrt(model)
    assert [(one.rule, one.node) for one in found] == [(broken.rule, broken.where)]
    assert broken.message in found[0].message


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
