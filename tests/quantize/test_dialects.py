"""Every dialect: what is quantized, how, and what is left alone."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ort = pytest.importorskip("onnxruntime")

import onnx
import onnx_ir as ir

from edgeseg.card import Dialect, Int8Recipe
from edgeseg.errors import ModelFileError, UsageError
from edgeseg.graph.io import graph_card, graph_sha256
from edgeseg.quantize.calibrators import CALIBRATORS
from edgeseg.quantize.dialects import DIALECTS, quantize_onnx
from edgeseg.quantize.histogram import TensorRange
from tests.graphs import GraphMaker, tiny_prepared
from tests.quantize.tiny import (
    CARD,
    SIZE_HW,
    constant,
    finished,
    frames,
    node,
    pairs,
    prepared,
    quantized,
    quantizer_of,
    ranges,
    ranges_of,
    run,
    snr_db,
)

ALL: tuple[Dialect, ...] = tuple(DIALECTS)
#: A bit less would not reach these: every bit is worth 6 dB.
LEAST_SNR_DB = {"u8-asym": 32.0, "u8-asym-reduced": 28.0, "s8-sym": 31.0}
every_dialect = pytest.mark.parametrize("dialect", ALL)


def named(model: ir.Model) -> dict[str | None, ir.Node]:
    return {one.name: one for one in model.graph}


@pytest.mark.parametrize("calibrator", CALIBRATORS)
@every_dialect
def test_the_logits_stay_close_to_those_of_the_float_graph(dialect: Dialect, calibrator: str) -> None:
    assert snr_db(quantized(dialect, calibrator=calibrator), prepared()) > LEAST_SNR_DB[dialect]


@every_dialect
def test_two_runs_give_the_same_bytes(dialect: Dialect) -> None:
    first, second = (quantize_onnx(prepared(), ranges(), dialect=dialect) for _ in range(2))
    assert ir.to_proto(first).SerializeToString() == ir.to_proto(second).SerializeToString()
    assert graph_sha256(first) == graph_sha256(second)


def test_another_process_with_other_hash_seeds_gives_the_same_graph() -> None:
    program = (
        "from tests.quantize.test_dialects import *\nprint(*(graph_sha256(quantized(dialect)) for dialect in ALL))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run([sys.executable, "-c", program], env=environment, cwd=root, capture_output=True, text=True)
    assert told.stdout.split() == [graph_sha256(quantized(dialect)) for dialect in ALL], told.stderr


@every_dialect
def test_input_and_output_stay_as_they_are(dialect: Dialect) -> None:
    graph, before = quantized(dialect).graph, prepared().graph
    for now, was in zip((*graph.inputs, *graph.outputs), (*before.inputs, *before.outputs), strict=True):
        assert (now.name, now.dtype, now.shape) == (was.name, was.dtype, was.shape)


@every_dialect
def test_tensors_and_nodes_keep_their_names(dialect: Dialect) -> None:
    before, after = prepared(), quantized(dialect)
    nodes, tensors = named(before), {value.name for one in before.graph for value in one.outputs}
    for one in after.graph:
        if one.op_type in ("QuantizeLinear", "DequantizeLinear"):
            source = (one.name or "").removesuffix(f"_{one.op_type}")
            assert source in {"pixels", *tensors, *before.graph.initializers}, one.name
        else:
            assert nodes[one.name].op_type == one.op_type
            assert one.outputs[0].name in tensors


@every_dialect
def test_the_classifier_and_its_logits_stay_in_float(dialect: Dialect) -> None:
    before, after = named(prepared())["classifier"], named(quantized(dialect))["classifier"]
    assert np.array_equal(constant(after.inputs[1]), constant(before.inputs[1]))
    assert np.array_equal(constant(after.inputs[2]), constant(before.inputs[2]))
    assert after.outputs[0].is_graph_output()


@every_dialect
def test_all_other_convolutions_have_eight_bits_per_channel(dialect: Dialect) -> None:
    for conv in (one for one in quantized(dialect).graph if one.op_type == "Conv" and one.name != "classifier"):
        assert quantizer_of(conv.inputs[0]) is not None, conv.name
        dequantize = conv.inputs[1].producer() if conv.inputs[1] is not None else None
        assert dequantize is not None
        weight, scale, zero = (constant(value) for value in dequantize.inputs)
        assert (weight.dtype, scale.shape, zero.any()) == (np.int8, (len(weight),), False)
        assert dequantize.attributes.get_int("axis") == 0


@every_dialect
def test_whole_pixels_pass_unharmed_whatever_the_frames_held(dialect: Dialect) -> None:
    dark = ranges_of(prepared())
    object.__setattr__(dark, "tensors", {**dark.tensors, "pixels": TensorRange.of(np.full(9, -128, np.float32))})
    scale, zero = pairs(quantize_onnx(prepared(), dark, dialect=dialect))["pixels"]
    assert (scale, zero) == (1.0, 0 if dialect == "s8-sym" else 128)
    limits = np.iinfo(zero.dtype)
    every = np.arange(-128, 128, dtype=np.float32)
    told = np.clip(np.rint(every / scale) + zero, limits.min, limits.max)
    assert np.array_equal((told - zero) * scale, every)


@every_dialect
def test_nodes_named_to_stay_in_float_do(dialect: Dialect) -> None:
    convs = tuple(one.name or "" for one in prepared().graph if one.op_type == "Conv")[:2]
    kept = named(quantized(dialect, keep_float=convs))
    before = named(prepared())
    for name in convs:
        assert np.array_equal(constant(kept[name].inputs[1]), constant(before[name].inputs[1]))
    assert quantizer_of(kept[convs[0]].inputs[0]) is None, "pixels are not quantized for it either"


@every_dialect
def test_the_card_says_how_it_was_made(dialect: Dialect) -> None:
    model = prepared()
    card = graph_card(quantized(dialect, calibrator="percentile:99.9"))
    assert card is not None
    assert (card.kind, card.precision, card.dialect) == ("quantized", "int8", dialect)
    assert card.int8 == {dialect: Int8Recipe(calibrator="percentile:99.9")}
    assert card.made_from == {**CARD.made_from, "prepared": graph_sha256(model), "ranges": ranges().sha256()}
    assert (card.classes, card.size_hw) == (CARD.classes, SIZE_HW)
    assert card.tools["onnxruntime"] == ort.__version__


@every_dialect
def test_the_graph_is_valid_and_of_an_opset_that_all_libraries_read(dialect: Dialect) -> None:
    model = quantized(dialect)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert dict(model.opset_imports) == {"": 17}
    assert model.ir_version <= 10


@every_dialect
def test_the_prepared_graph_is_left_as_it_is(dialect: Dialect) -> None:
    model = prepared()
    before = ir.to_proto(model).SerializeToString()
    quantize_onnx(model, ranges(), dialect=dialect)
    assert ir.to_proto(model).SerializeToString() == before


@every_dialect
def test_nothing_is_written_to_disk_or_to_the_root_logger(
    dialect: Dialect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.DEBUG):
        quantize_onnx(_tiny_weights(), ranges_of(_tiny_weights()), dialect=dialect)
    assert [record.name for record in caplog.records if record.name == "root"] == []
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger().filters == []


def _tiny_weights() -> ir.Model:
    """A network with a bias so large beside its weights that the quantizer has something to say."""
    m = GraphMaker()
    weight, bias = m.constant(np.full((4, 3, 1, 1), 1e-9, np.float32)), m.constant(np.full(4, 50.0, np.float32))
    x = m.node("Relu", m.node("Conv", "pixels", weight, bias, kernel_shape=[1, 1]))
    return finished(m, m.conv(x, 4, 4, act="relu"), 4)


@every_dialect
def test_a_bias_far_above_its_weights_is_kept(dialect: Dialect) -> None:
    model = _tiny_weights()
    assert snr_db(quantize_onnx(model, ranges_of(model), dialect=dialect), model) > 25


@every_dialect
def test_channels_without_weights_keep_their_bias(dialect: Dialect) -> None:
    m = GraphMaker()
    weight = m.rng.normal(0, 0.01, (4, 3, 1, 1)).astype(np.float32)
    weight[1:3] = 0
    bias = np.array([0.01, 0.013, 0.6, 0.02], np.float32)
    x = m.node("Relu", m.node("Conv", "pixels", m.constant(weight), m.constant(bias), kernel_shape=[1, 1]))
    model = finished(m, m.conv(x, 4, 4, act="relu"), 4)
    graph = quantize_onnx(model, ranges_of(model), dialect=dialect)
    conv = node(graph, "n0")
    told = conv.inputs[2].producer() if conv.inputs[2] is not None else None
    whole = told is not None
    values = constant(told.inputs[0]) * constant(told.inputs[1]) if told is not None else constant(conv.inputs[2])
    assert values == pytest.approx(bias, abs=1e-4)
    assert whole is (dialect != "s8-sym"), "TensorRT takes a float bias alone"


@every_dialect
def test_a_tensor_that_is_always_zero_gets_a_usable_scale(dialect: Dialect) -> None:
    m = GraphMaker()
    weight, bias = m.constant(np.zeros((4, 3, 1, 1), np.float32)), m.constant(np.full(4, -1, np.float32))
    x = m.node("Relu", m.node("Conv", "pixels", weight, bias, kernel_shape=[1, 1]))
    model = finished(m, m.conv(x, 4, 4, act="relu"), 4)
    graph = quantize_onnx(model, ranges_of(model), dialect=dialect)
    assert all(
        (scale > 0).all() for op in ("QuantizeLinear", "DequantizeLinear") for scale, _ in pairs(graph, op).values()
    )
    assert run(graph, frames(1)[0]) == pytest.approx(run(model, frames(1)[0]), abs=0.05)


@every_dialect
def test_normalization_before_the_first_convolution_is_not_quantized(dialect: Dialect) -> None:
    m = GraphMaker()
    x = m.node("Add", "pixels", m.constant(np.array([4.3, 11.5, 24.5], np.float32).reshape(1, 3, 1, 1)))
    model = finished(m, m.conv(m.conv(x, 3, 8, 3, act="relu"), 8, 4, act="relu"), 4)
    graph = quantize_onnx(model, ranges_of(model), dialect=dialect)
    add = node(graph, "n0")
    assert (add.inputs[0], add.inputs[1]) == (graph.graph.inputs[0], graph.graph.initializers["w0"])
    assert snr_db(graph, model) > 25


@every_dialect
def test_a_clip_whose_bounds_leave_out_zero_still_clips(dialect: Dialect) -> None:
    m = GraphMaker()
    x = m.node("Clip", m.conv("pixels", 3, 4), m.constant(np.float32(40.0)), m.constant(np.float32(60.0)))
    model = finished(m, m.conv(x, 4, 4, act="relu"), 4)
    graph = quantize_onnx(model, ranges_of(model), dialect=dialect)
    assert "Clip" in {one.op_type for one in graph.graph}
    assert snr_db(graph, model) > 25


@every_dialect
def test_weights_of_a_transposed_convolution_have_a_scale_per_output_channel(dialect: Dialect) -> None:
    m = GraphMaker()
    x = m.node("MaxPool", m.conv("pixels", 3, 8, act="relu"), kernel_shape=[2, 2], strides=[2, 2])
    weight = m.constant(m.rng.normal(0, 0.3, (8, 6, 2, 2)).astype(np.float32))
    grown = m.node("ConvTranspose", x, weight, kernel_shape=[2, 2], strides=[2, 2])
    model = finished(m, m.conv(grown, 6, 4, act="relu"), 4)
    graph = quantize_onnx(model, ranges_of(model), dialect=dialect)
    dequantize = node(graph, f"{weight}_DequantizeLinear")
    assert constant(dequantize.inputs[1]).shape == (6,)
    assert dequantize.attributes.get_int("axis") == 1
    assert snr_db(graph, model) > LEAST_SNR_DB[dialect]


@pytest.mark.parametrize(
    ("dialect", "recipe", "message"),
    [
        pytest.param("u8-sym", {}, "no INT8 dialect 'u8-sym'", id="a dialect that is none"),
        pytest.param("float", {}, "no INT8 dialect 'float'", id="the float dialect"),
        pytest.param("s8-sym", {"calibrator": "max"}, "no calibrator 'max'", id="a calibrator that is none"),
        pytest.param("s8-sym", {"keep_float": ("clasifier",)}, "no node 'clasifier'", id="a node that is none"),
    ],
)
def test_what_is_not_possible_is_refused(dialect: Dialect, recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        quantize_onnx(prepared(), ranges(), dialect=dialect, recipe=Int8Recipe(**recipe))
    assert caught.value.hint


@every_dialect
def test_ranges_of_other_weights_are_refused(dialect: Dialect) -> None:
    other: ir.Model = ir.from_proto(tiny_prepared(*SIZE_HW, seed=5))
    with pytest.raises(ModelFileError, match="ranges of other weights"):
        quantize_onnx(other, ranges(), dialect=dialect)


def test_ranges_that_lack_a_tensor_are_refused() -> None:
    lacking = ranges_of(prepared())
    object.__setattr__(lacking, "tensors", {k: v for k, v in lacking.tensors.items() if k != "t3"})
    with pytest.raises(ModelFileError, match=r"can't be quantized to u8-asym.*t3"):
        quantize_onnx(prepared(), lacking, dialect="u8-asym")


@every_dialect
def test_another_size_than_the_calibrated_one_is_possible(dialect: Dialect, caplog: pytest.LogCaptureFixture) -> None:
    larger: ir.Model = ir.from_proto(tiny_prepared(64, 48))
    with caplog.at_level(logging.INFO):
        graph = quantize_onnx(larger, ranges(), dialect=dialect)
    assert graph.graph.inputs[0].shape == [1, 3, 64, 48]
    assert "measured at 32x48, the model is 64x48" in caplog.text
