"""What the layers of a graph cost: multiply-adds and bytes by hand, and those of the shipped models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnxscript")

import onnx_ir as ir
from onnx import TensorProto, helper

from edgeseg.card import Precision
from edgeseg.catalog import zoo_models
from edgeseg.errors import ModelFileError
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.cost import count_macs
from edgeseg.graph.io import load_graph, require_card
from edgeseg.graph.layers import LayerCost, layer_costs
from edgeseg.graph.prepare import prepare_graph
from tests.graphs import GraphMaker

Body = Callable[[GraphMaker, str], str]
Told = tuple[str, str, int, int, int]
#: Values of the image, `(1, 3, 20, 12)`, and of a map of one channel.
IMAGE, MAP = 3 * 20 * 12, 20 * 12


def graph(body: Body, side: int | str = 20) -> ir.Model:
    """An image through `body`."""
    maker = GraphMaker()
    out = body(maker, "image")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, 12])
    rank = 2 if maker.nodes[-1].op_type == "Gemm" else 4
    return ir.from_proto(maker.model([image], [helper.make_tensor_value_info(out, TensorProto.FLOAT, [None] * rank)]))


def weights(maker: GraphMaker, *shape: int) -> str:
    return maker.constant(np.ones(shape, np.float32))


def in_eight_bits(m: GraphMaker, x: str) -> str:
    """Q/DQ behind a tensor."""
    scale, zero = m.constant(np.float32(0.1)), m.constant(np.uint8(128))
    return m.node("DequantizeLinear", m.node("QuantizeLinear", x, scale, zero), scale, zero)


def int8_conv(m: GraphMaker, x: str, cin: int, cout: int) -> str:
    weight = m.node("DequantizeLinear", m.constant(np.ones((cout, cin, 1, 1), np.int8)), m.constant(np.float32(1)))
    bias = m.node("DequantizeLinear", m.constant(np.ones(cout, np.int32)), m.constant(np.float32(1)))
    return m.node("Conv", x, weight, bias)


def residual(m: GraphMaker, x: str) -> str:
    first = m.conv(x, 3, 8)
    return m.node("Relu", m.node("Add", first, m.conv(first, 8, 8)))


def quantized(m: GraphMaker, x: str) -> str:
    first = in_eight_bits(m, m.node("Relu", int8_conv(m, in_eight_bits(m, x), 3, 8)))
    return m.conv(first, 8, 2)


def quantized_residual(m: GraphMaker, x: str) -> str:
    first = m.conv(x, 3, 8)
    small = in_eight_bits(m, first)
    return m.node("Add", first, int8_conv(m, small, 8, 8))


CASES = [
    pytest.param(
        lambda m, x: m.conv(x, 3, 8, 3, act="relu6"),
        [("Conv 3x3", "fp32", MAP * 8 * 27, 4 * (IMAGE + 8 * 27 + 8), 4 * 8 * MAP)],
        id="an activation is computed with its convolution",
    ),
    pytest.param(
        lambda m, x: m.conv(x, 3, 3, 5, stride=2, groups=3),
        [("Conv 5x5 depthwise", "fp32", 60 * 3 * 25, 4 * (IMAGE + 75 + 3), 4 * 3 * 60)],
        id="a depthwise convolution",
    ),
    pytest.param(
        lambda m, x: m.node("Gemm", m.node("Flatten", m.node("GlobalAveragePool", x)), weights(m, 3, 7)),
        [("GlobalAveragePool", "fp32", 0, 4 * IMAGE, 4 * 3), ("Gemm", "fp32", 21, 4 * (3 + 21), 4 * 7)],
        id="a matrix product behind a pooled map, which Flatten does not move",
    ),
    pytest.param(
        residual,
        [
            ("Conv 1x1", "fp32", MAP * 24, 4 * (IMAGE + 24 + 8), 4 * 8 * MAP),
            ("Conv 1x1", "fp32", MAP * 64, 4 * (8 * MAP + 64 + 8), 4 * 8 * MAP),
        ],
        id="a sum is computed with its last branch, and what both branches read is read once",
    ),
    pytest.param(
        quantized,
        [
            ("QuantizeLinear", "fp32", 0, 4 * IMAGE, IMAGE),
            ("Conv 1x1", "int8", MAP * 24, IMAGE + 24 + 4 * 8, 8 * MAP),
            ("Conv 1x1", "fp32", MAP * 16, 8 * MAP + 4 * (16 + 2), 4 * 2 * MAP),
        ],
        id="behind QuantizeLinear a value is a byte, and biases of INT8 have four",
    ),
    pytest.param(
        quantized_residual,
        [
            ("Conv 1x1", "fp32", MAP * 24, 4 * (IMAGE + 24 + 8), 4 * 8 * MAP + 8 * MAP),
            ("Conv 1x1", "int8", MAP * 64, 8 * MAP + 64 + 4 * 8 + 4 * 8 * MAP, 4 * 8 * MAP),
        ],
        id="a tensor that is read in float and in INT8 is written in both",
    ),
    pytest.param(
        lambda m, x: m.node("Resize", x, "", "", m.constant(np.int64([1, 3, 40, 24])), mode="linear"),
        [("Resize", "fp32", 0, 4 * IMAGE, 16 * IMAGE)],
        id="sizes are no data",
    ),
    pytest.param(
        lambda m, x: m.node("Concat", x, m.node("Sigmoid", x), axis=1),
        [("Sigmoid", "fp32", 0, 4 * IMAGE, 4 * IMAGE), ("Concat", "fp32", 0, 8 * IMAGE, 8 * IMAGE)],
        id="an activation of the input is a layer of its own",
    ),
]


def told(costs: tuple[LayerCost, ...]) -> list[Told]:
    return [(one.op, one.precision, one.macs, one.bytes_read, one.bytes_written) for one in costs]


@pytest.mark.parametrize(("body", "expected"), CASES)
def test_costs_are_those_counted_by_hand(body: Body, expected: list[Told]) -> None:
    model = graph(body)
    before = ir.to_proto(model).SerializeToString()
    assert told(layer_costs(model)) == expected
    assert ir.to_proto(model).SerializeToString() == before, "the graph is left as it is"


@pytest.mark.parametrize("floats", ["bf16", "fp16"])
def test_floats_of_half_the_width_are_half_the_bytes(floats: Precision) -> None:
    model = graph(residual)
    whole, half = layer_costs(model), layer_costs(model, floats)
    assert [one.bytes for one in half] == [one.bytes // 2 for one in whole]
    assert {one.precision for one in half} == {floats}


def test_what_a_library_computes_together_is_not_written_between() -> None:
    model = graph(lambda m, x: m.conv(m.conv(x, 3, 8, act="relu"), 8, 8, 3, groups=8))
    first, second = (one.name for one in layer_costs(model))
    (both,) = layer_costs(model, together={second: first})
    assert (both.name, both.macs) == (first, MAP * (24 + 72))
    assert (both.bytes_read, both.bytes_written) == (4 * (IMAGE + 24 + 8 + 72 + 8), 4 * 8 * MAP)


def test_every_node_is_of_one_layer_by_its_names() -> None:
    model = graph(quantized)
    aliases = [alias for one in layer_costs(model) for alias in one.aliases]
    runs = [node for node in model.graph if node.op_type != "DequantizeLinear" or node.inputs[0].producer()]
    assert sorted(aliases) == sorted(name for node in runs for name in (node.name, node.outputs[0].name))


def test_a_free_size_is_refused() -> None:
    with pytest.raises(ModelFileError, match="can't be counted"):
        layer_costs(graph(lambda m, x: m.conv(x, 3, 8), side="H"))


@pytest.mark.parametrize("name", zoo_models())
def test_the_layers_of_a_shipped_model_have_all_of_its_multiply_adds(name: str) -> None:
    model = load_graph(zoo_models()[name])
    prepared = prepare_graph(model, require_card(model))
    costs = layer_costs(attach_head_and_tail(prepared, head="dequantize", tail="channels_last_early", upsample="half"))
    assert sum(one.macs for one in costs) == count_macs(prepared, require_card(prepared).fixed_size_hw) > 0
    names = [alias for one in costs for alias in one.aliases]
    assert len(names) == len(set(names))
