"""Graph rules: what stays in float, scales that are shared, residual additions."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from edgeseg.quantize.rules import FloatResidual, constant_operands, float_nodes, share_concat_limits
from tests.graphs import GraphMaker
from tests.quantize.tiny import finished, node, prepared, quantizer_of


def test_the_classifier_alone_stays_in_float() -> None:
    assert float_nodes(prepared().graph) == {"classifier"}


def test_what_follows_the_last_convolution_stays_in_float_too() -> None:
    m = GraphMaker()
    x = m.conv("pixels", 3, 4, act="relu")
    y = m.node("Add", m.conv(x, 4, 4), m.conv(x, 4, 4))
    m.node("Relu", y, out="logits")
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4, 8, 8])
    graph = ir.from_proto(m.model([pixels], [logits])).graph
    assert float_nodes(graph) == {"n2", "n3", "n4", "n5"}, "both convolutions, the addition, and the last Relu"


def test_what_normalizes_pixels_before_the_first_convolution_stays_in_float() -> None:
    m = GraphMaker()
    x = m.node("Add", "pixels", m.constant(np.full((1, 3, 1, 1), 4.3, np.float32)))
    x = m.node("Mul", x, m.constant(np.full((1, 3, 1, 1), 0.02, np.float32)))
    graph = finished(m, m.conv(m.conv(x, 3, 4, act="relu"), 4, 4, act="relu"), 4).graph
    assert float_nodes(graph) - {graph[-1].name} == {"n0", "n1"}


@pytest.mark.parametrize(
    ("low", "high", "stays"),
    [
        pytest.param(0.0, 6.0, False, id="from 0 to 6"),
        pytest.param(-1.0, 1.0, False, id="from -1 to 1"),
        pytest.param(None, 6.0, False, id="up to 6"),
        pytest.param(0.5, 6.0, True, id="from 0.5 to 6"),
        pytest.param(-6.0, -0.5, True, id="from -6 to -0.5"),
    ],
)
def test_clip_stays_in_float_where_its_bounds_leave_out_zero(low: float | None, high: float, stays: bool) -> None:
    m = GraphMaker()
    bounds = ["" if bound is None else m.constant(np.float32(bound)) for bound in (low, high)]
    x = m.node("Clip", m.conv("pixels", 3, 4), *bounds)
    graph = finished(m, m.conv(x, 4, 4, act="relu"), 4).graph
    assert ("n1" in float_nodes(graph)) is stays


def test_additions_of_constants_are_found() -> None:
    m = GraphMaker()
    x = m.conv("pixels", 3, 4, act="relu")
    shifted = m.node("Add", x, m.constant(np.ones((1, 4, 1, 1), np.float32)))
    graph = finished(m, m.node("Add", x, shifted), 4).graph
    assert constant_operands(graph, "Add") == {"n2"}


def _concat_graph(*pairs: tuple[str, str]) -> ir.Graph:
    nodes = [helper.make_node("Concat", list(pair), [f"c{i}"], name=f"n{i}", axis=1) for i, pair in enumerate(pairs)]
    names = {name for pair in pairs for name in pair if not name.startswith("c")}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 3, 3]) for name in sorted(names)]
    outputs = [helper.make_tensor_value_info(f"c{len(pairs) - 1}", TensorProto.FLOAT, None)]
    model: ir.Model = ir.from_proto(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs)))
    return model.graph


def test_inputs_and_output_of_a_concat_get_their_widest_range() -> None:
    limits = {"a": (-1.0, 1.0), "b": (-3.0, 3.0), "c0": (-2.0, 2.0), "x": (-9.0, 9.0)}
    shared = share_concat_limits(_concat_graph(("a", "b")), limits)
    assert shared == {"a": (-3.0, 3.0), "b": (-3.0, 3.0), "c0": (-3.0, 3.0), "x": (-9.0, 9.0)}
    assert limits["a"] == (-1.0, 1.0), "what was given is unchanged"


def test_concats_that_share_a_tensor_get_one_range() -> None:
    names = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "c0": 1.0, "c1": 1.0, "c2": 1.0, "e": 7.0, "f": 5.0}
    limits = {name: (-high, high) for name, high in names.items()}
    shared = share_concat_limits(_concat_graph(("a", "b"), ("e", "f"), ("b", "d")), limits)
    assert {shared[name] for name in ("a", "b", "d", "c0", "c2")} == {(-4.0, 4.0)}
    assert {shared[name] for name in ("e", "f", "c1")} == {(-7.0, 7.0)}
    assert shared["c"] == (-3.0, 3.0)


def _qdq(m: GraphMaker, value: str) -> str:
    scale, zero = m.constant(np.float32(0.05)), m.constant(np.int8(0))
    return m.node("DequantizeLinear", m.node("QuantizeLinear", value, scale, zero), scale, zero)


def _residual(first: str, second: str) -> ir.Model:
    """An addition with Q/DQ on both branches; a branch comes straight from a `conv`, or from a `relu` behind one."""
    m = GraphMaker()
    acts = {"conv": "", "relu": "relu"}
    branches = [m.conv("pixels", 3, 4, act=acts[kind]) for kind in (first, second)]
    m.node("Add", *(_qdq(m, branch) for branch in branches), out="logits")
    m.nodes[-1].name = "residual"
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 4, 8, 8])
    model: ir.Model = ir.from_proto(m.model([pixels], [logits]))
    return model


@pytest.mark.parametrize(
    ("first", "second", "quantized"),
    [
        pytest.param("conv", "relu", [False, True], id="the first where it comes from a convolution"),
        pytest.param("relu", "conv", [True, False], id="the second where it comes from a convolution"),
        pytest.param("conv", "conv", [True, False], id="the later one of two convolutions"),
        pytest.param("relu", "relu", [True, True], id="neither where none comes from a convolution"),
    ],
)
def test_a_residual_addition_reads_one_branch_in_float(first: str, second: str, quantized: list[bool]) -> None:
    model = _residual(first, second)
    FloatResidual()(model)
    add = node(model, "residual")
    assert [quantizer_of(value) is not None for value in add.inputs] == quantized
    assert sum(one.op_type == "QuantizeLinear" for one in model.graph) == sum(quantized), "unused Q/DQ is gone"
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_other_readers_of_the_convolution_keep_their_qdq() -> None:
    m = GraphMaker()
    skip = _qdq(m, m.conv("pixels", 3, 4, act="relu"))
    main = _qdq(m, m.conv("pixels", 3, 4))
    both = m.node("Add", skip, main)
    m.nodes[-1].name = "residual"
    other = m.conv(main, 4, 4)
    m.nodes[-1].name = "reader"
    model = finished(m, m.node("Add", both, other), 4)
    FloatResidual()(model)
    assert quantizer_of(node(model, "residual").inputs[0]) is not None
    assert quantizer_of(node(model, "residual").inputs[1]) is None
    assert quantizer_of(node(model, "reader").inputs[0]) is not None
