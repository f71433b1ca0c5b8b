"""The signed dialect: what TensorRT fuses, and nothing that it refuses."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("onnxruntime")


from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.lint import lint_tensorrt
from tests.graphs import GraphMaker
from tests.quantize.tiny import constant, finished, node, pairs, prepared, quantized, quantizer_of, ranges, ranges_of


def test_tensorrt_has_nothing_against_the_signed_dialect() -> None:
    assert lint_tensorrt(quantized("s8-sym")) == []


def test_the_signed_dialect_is_symmetric_with_float_biases() -> None:
    model = quantized("s8-sym")
    for _, zero in (*pairs(model).values(), *pairs(model, "DequantizeLinear").values()):
        assert (zero.dtype, zero.any()) == (np.int8, False)
    limit = max(-ranges().tensors["t7"].minimum, ranges().tensors["t7"].maximum)
    assert float(pairs(model)["t7"][0]) == pytest.approx(limit / 127), (
        "the block's sum, which the next convolution reads"
    )


def test_activations_keep_their_place_between_convolution_and_rounding() -> None:
    before, after = (Counter(one.op_type for one in model.graph) for model in (prepared(), quantized("s8-sym")))
    for operator in ("Clip", "Relu", "Conv", "Add", "Concat", "Resize"):
        assert after[operator] == before[operator]
    for conv in (one for one in quantized("s8-sym").graph if one.op_type == "Conv"):
        assert {usage.node.op_type for usage in conv.outputs[0].uses()} <= {"Clip", "Relu", "Add"}, conv.name


def test_the_residual_addition_quantizes_the_skip_branch_alone() -> None:
    add = next(one for one in quantized("s8-sym").graph if one.op_type == "Add")
    skip, main = add.inputs
    assert quantizer_of(skip) is not None
    assert main is not None
    producer = main.producer()
    assert producer is not None
    assert producer.op_type == "Conv"


def test_all_readers_of_a_tensor_share_one_qdq() -> None:
    model = quantized("s8-sym")
    read = Counter(one.inputs[0].name for one in model.graph if one.op_type == "QuantizeLinear" and one.inputs[0])
    assert max(read.values()) == 1
    skip = node(model, "t3_DequantizeLinear").outputs[0]
    assert sorted(usage.node.op_type for usage in skip.uses()) == ["Add", "Concat", "Conv"]


def test_inputs_of_a_concat_share_one_scale() -> None:
    model = quantized("s8-sym")
    for concat in (one for one in model.graph if one.op_type == "Concat"):
        quantizers = [quantizer_of(value) for value in concat.inputs]
        scales = {float(constant(one.inputs[1])) for one in quantizers if one is not None}
        behind = node(model, f"{concat.outputs[0].name}_QuantizeLinear")
        assert scales == {float(constant(behind.inputs[1]))}
        assert None not in quantizers


def test_an_addition_of_a_constant_stays_in_float() -> None:
    m = GraphMaker()
    x = m.conv("pixels", 3, 4, act="relu")
    shifted = m.node("Add", x, m.constant(np.full((1, 4, 1, 1), 0.3, np.float32)))
    model = finished(m, m.conv(shifted, 4, 4, act="relu"), 4)
    add = node(quantize_onnx(model, ranges_of(model), dialect="s8-sym"), "n2")
    assert [quantizer_of(value) for value in add.inputs] == [None, None]
