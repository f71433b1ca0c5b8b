"""The unsigned dialects: all of ONNX Runtime's eight-bit kernels, and what they can't do well left out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

ort = pytest.importorskip("onnxruntime")

import onnx_ir as ir

from edgeseg.card import Dialect
from edgeseg.graph.io import load_graph
from tests.quantize.tiny import constant, node, pairs, prepared, quantized, quantizer_of, ranges


@pytest.mark.parametrize("dialect", ["u8-asym", "u8-asym-reduced"])
def test_onnxruntime_fuses_every_convolution_but_the_classifier(dialect: Dialect, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    content = ir.to_proto(quantized(dialect)).SerializeToString()
    ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found = Counter(one.op_type for one in load_graph(tmp_path / "optimized.onnx").graph)
    before = Counter(one.op_type for one in prepared().graph)
    assert found["QLinearConv"] == before["Conv"] - 1
    assert found["Conv"] + found["FusedConv"] == 1
    for operator in ("Add", "Concat", "GlobalAveragePool"):
        assert (found[f"QLinear{operator}"], found[operator]) == (before[operator], 0)
    assert (found["Relu"], found["Clip"]) == (0, 0), "activations are part of the rounding"
    assert found["Resize"] == before["Resize"]


def test_unsigned_activations_have_all_eight_bits_and_weights_too() -> None:
    model = quantized("u8-asym")
    assert {zero.dtype for _, zero in pairs(model).values()} == {np.dtype(np.uint8)}
    scale, zero = pairs(model)["t1"]
    assert (float(scale), int(zero)) == (pytest.approx(ranges().tensors["t1"].maximum / 255), 0), "a Clip from 0 to 6"
    assert _largest_weights(model) == {127}


def test_reduced_weights_have_seven_bits_and_activations_eight() -> None:
    full, reduced = quantized("u8-asym"), quantized("u8-asym-reduced")
    assert _largest_weights(reduced) == {64}
    assert {name: float(scale) for name, (scale, _) in pairs(reduced).items()} == {
        name: float(scale) for name, (scale, _) in pairs(full).items()
    }


def _largest_weights(model: ir.Model) -> set[int]:
    weights = (one.inputs[0] for one in model.graph if one.op_type == "DequantizeLinear")
    arrays = [constant(value) for value in weights if value is not None and value.const_value is not None]
    return {int(np.abs(array.astype(int)).max()) for array in arrays if array.dtype == np.int8}


def test_resize_reads_and_writes_float_with_a_scale_of_its_own_behind() -> None:
    model = quantized("u8-asym")
    scales = pairs(model)
    for resize in (one for one in model.graph if one.op_type == "Resize"):
        before, behind = quantizer_of(resize.inputs[0]), resize.outputs[0].name
        assert before is not None
        assert before.inputs[0] is not None
        assert scales[before.inputs[0].name or ""] is not scales[behind or ""]
        assert before.inputs[1] is not node(model, f"{behind}_QuantizeLinear").inputs[1]
