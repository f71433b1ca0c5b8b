"""Graphs in memory, run to look at their tensors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx_ir as ir
from onnx import TensorProto, helper
from onnx_ir.passes.common import ShapeInferencePass

from edgeseg.errors import ModelFileError
from edgeseg.graph.runtime import open_graph
from tests.graphs import CLASSES, GraphMaker, tiny_prepared

PIXELS = np.random.default_rng(0).integers(-128, 128, (1, 3, 32, 48)).astype(np.float32)


def tiny() -> ir.Model:
    model: ir.Model = ir.from_proto(tiny_prepared())
    ShapeInferencePass()(model)
    return model


@pytest.mark.parametrize(
    ("outputs", "shapes"),
    [
        pytest.param([], [(1, CLASSES, 8, 12)], id="none for the graph's own outputs"),
        pytest.param(["logits"], [(1, CLASSES, 8, 12)], id="the graph's own output by its name"),
        pytest.param(["t0"], [(1, 8, 16, 24)], id="a tensor inside, whatever lies behind it"),
        pytest.param(["t11", "logits", "t1"], [(1, 24, 4, 6), (1, CLASSES, 8, 12), (1, 8, 16, 24)], id="several"),
    ],
)
@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "not fused"])
def test_any_tensor_can_be_asked_for_in_any_order(
    outputs: list[str], shapes: list[tuple[int, ...]], fuse: bool
) -> None:
    model = tiny()
    before = ir.to_proto(model).SerializeToString()
    session = open_graph(model, outputs, threads=1, fuse=fuse)
    assert [output.name for output in session.get_outputs()] == (outputs or ["logits"])
    assert [answer.shape for answer in session.run(None, {"pixels": PIXELS})] == shapes
    assert ir.to_proto(model).SerializeToString() == before


def test_tensors_do_not_depend_on_what_else_is_asked_for_where_nothing_is_fused() -> None:
    model = tiny()
    names = [value.name or "" for node in model.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT]
    together = open_graph(model, names, fuse=False).run(names, {"pixels": PIXELS})
    for name, tensor in zip(names, together, strict=True):
        assert np.array_equal(open_graph(model, [name], fuse=False).run([name], {"pixels": PIXELS})[0], tensor)


def rounded_means() -> ir.Model:
    """Seven values, rounded to whole numbers, and the means of neighbours, which are rounded again."""
    m = GraphMaker()
    grid = (m.constant(np.float32(1)), m.constant(np.uint8(100)))
    x = m.node("DequantizeLinear", m.node("QuantizeLinear", "pixels", *grid), *grid)
    y = m.node("Conv", x, m.constant(np.full((1, 1, 1, 2), 0.5, np.float32)), kernel_shape=[1, 2])
    m.node("DequantizeLinear", m.node("QuantizeLinear", y, *grid), *grid, out="logits")
    infos = (("pixels", [1, 1, 1, 7]), ("logits", [1, 1, 1, 6]))
    pixels, logits = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in infos)
    model: ir.Model = ir.from_proto(m.model([pixels], [logits]))
    return model


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "not fused"])
def test_rounding_is_computed_as_it_is_written(fuse: bool) -> None:
    """Kernels for bytes round halves elsewhere, and saturate on some processors."""
    values = np.array([-100, -25.1, -3.2, 0.6, 4.4, 12.3, 200], np.float32)
    read = np.clip(np.rint(values), -100, 155)
    answer = open_graph(rounded_means(), [], fuse=fuse).run(None, {"pixels": values.reshape(1, 1, 1, 7)})[0]
    assert np.array_equal(answer.ravel(), np.rint((read[:-1] + read[1:]) / 2))


def test_a_graph_that_can_not_be_run_is_refused_in_one_line() -> None:
    model = tiny()
    next(iter(model.graph)).op_type = "Conf"
    with pytest.raises(ModelFileError, match=r"ONNX Runtime can't run the graph: .*Conf") as caught:
        open_graph(model, [])
    assert "\n" not in str(caught.value)


def test_an_error_without_words_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("onnxruntime.InferenceSession", fail)
    with pytest.raises(ModelFileError, match="can't run the graph"):
        open_graph(tiny(), [])
