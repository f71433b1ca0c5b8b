"""What graphs cost: multiply-adds of operators by hand, and those of a graph whose size is free."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnxscript")

import onnx_ir as ir
from onnx import TensorProto, helper

from edgeseg.errors import ModelFileError, UsageError
from edgeseg.graph.cost import count_macs, count_parameters
from tests.graphs import GraphMaker

Body = Callable[[GraphMaker, str], str]


def graph(body: Body, height: int | str = "H", width: int | str = "W") -> ir.Model:
    """An image through `body`."""
    maker = GraphMaker()
    out = body(maker, "image")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, height, width])
    rank = 2 if maker.nodes[-1].op_type == "Gemm" else 4
    logits = helper.make_tensor_value_info(out, TensorProto.FLOAT, list("abcd"[:rank]))
    return ir.from_proto(maker.model([image], [logits]))


def weights(maker: GraphMaker, *shape: int) -> str:
    return maker.constant(np.ones(shape, np.float32))


def pooled(maker: GraphMaker, x: str) -> str:
    return maker.node("Flatten", maker.node("GlobalAveragePool", x))


CASES = [
    pytest.param(lambda m, x: m.conv(x, 3, 8, 3), 20 * 12 * 8 * 3 * 9, 8 * 27 + 8, id="a 3x3 convolution"),
    pytest.param(lambda m, x: m.conv(x, 3, 8, 3, stride=2), 10 * 6 * 8 * 3 * 9, 224, id="a stride of two"),
    pytest.param(lambda m, x: m.conv(x, 3, 3, 5, groups=3), 20 * 12 * 3 * 25, 3 * 25 + 3, id="a depthwise 5x5"),
    pytest.param(lambda m, x: m.conv(x, 3, 6, 1, groups=3), 20 * 12 * 6 * 1, 6 + 6, id="three groups"),
    pytest.param(
        lambda m, x: m.node("Conv", x, weights(m, 4, 3, 3, 3), dilations=[2, 2], pads=[2] * 4),
        20 * 12 * 4 * 3 * 9,
        108,
        id="a dilated convolution",
    ),
    pytest.param(
        lambda m, x: m.node("ConvTranspose", x, weights(m, 3, 5, 2, 2), strides=[2, 2]),
        20 * 12 * 3 * 5 * 4,
        60,
        id="a transposed convolution, by its input",
    ),
    pytest.param(lambda m, x: m.node("Gemm", pooled(m, x), weights(m, 3, 7)), 3 * 7, 21, id="Gemm"),
    pytest.param(
        lambda m, x: m.node("Gemm", m.node("Transpose", pooled(m, x)), weights(m, 7, 3), transA=1, transB=1),
        3 * 7,
        21,
        id="Gemm of transposed matrices",
    ),
    pytest.param(lambda m, x: m.node("MatMul", x, weights(m, 12, 5)), 3 * 20 * 5 * 12, 60, id="MatMul"),
    pytest.param(lambda m, x: m.node("Relu", m.node("MaxPool", x, kernel_shape=[2, 2])), 0, 0, id="nothing of these"),
]


@pytest.mark.parametrize(("body", "macs", "parameters"), CASES)
def test_costs_are_those_counted_by_hand(body: Body, macs: int, parameters: int) -> None:
    model = graph(body)
    before = ir.to_proto(model).SerializeToString()
    assert count_macs(model, (20, 12)) == macs
    assert count_parameters(model.graph) == parameters
    assert ir.to_proto(model).SerializeToString() == before, "the graph is left as it is"


def test_shapes_that_the_graph_computes_are_followed() -> None:
    def body(m: GraphMaker, x: str) -> str:
        small = m.conv(x, 3, 4, 3, stride=2)
        sizes = m.node("Concat", m.constant(np.int64([1, 4])), m.node("Shape", x, start=2), axis=0)
        return m.conv(m.node("Resize", small, "", "", sizes, mode="linear"), 4, 2)

    assert count_macs(graph(body), (20, 12)) == 10 * 6 * 4 * 27 + 20 * 12 * 2 * 4


def test_a_graph_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match="fixed to"):
        count_macs(graph(lambda m, x: m.conv(x, 3, 8), 20, 12), (20, 16))


def test_a_shape_that_depends_on_the_image_is_refused() -> None:
    def body(m: GraphMaker, x: str) -> str:
        count = m.node("Shape", m.node("NonZero", x))
        last = m.node("Gather", count, m.constant(np.int64([1])))
        sizes = m.node("Concat", m.constant(np.int64([1, 3, 4])), last, axis=0)
        return m.conv(m.node("Expand", m.constant(np.ones((1, 3, 4, 1), np.float32)), sizes), 3, 2)

    with pytest.raises(ModelFileError, match="can't be counted"):
        count_macs(graph(body), (20, 12))


def test_weights_in_eight_bits_count_too() -> None:
    def body(m: GraphMaker, x: str) -> str:
        weight = m.constant(np.ones((8, 3, 3, 3), np.int8))
        scale = m.constant(np.float32(1))
        return m.node("Conv", x, m.node("DequantizeLinear", weight, scale, m.constant(np.int8(0))), pads=[1] * 4)

    model = graph(body)
    assert count_parameters(model.graph) == 216
    assert count_macs(model, (20, 12)) == 20 * 12 * 216
