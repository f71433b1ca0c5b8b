"""Each pass alone: what the graph holds before and after, and that it computes the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx_ir as ir
from onnx import TensorProto, helper
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from edgeseg.card import Preprocess
from edgeseg.errors import ModelFileError
from edgeseg.graph.passes import (
    AdoptFrames,
    CutTail,
    FoldBatchNorm,
    FoldConstants,
    FreezeShape,
    GlobalPool,
    MergePointwise,
    NameNodes,
    SetOpset,
)
from edgeseg.graph.verify import run_graph
from tests.graph.foreign import HEIGHT, WIDTH, Shape, foreign
from tests.graphs import GraphMaker

RNG = np.random.default_rng(5)
IMAGE = RNG.normal(0, 1, (1, 3, HEIGHT, WIDTH)).astype(np.float32)


def ops(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def outputs(before: ir.Model, after: ir.Model, image: np.ndarray = IMAGE) -> tuple[np.ndarray, np.ndarray]:
    first, second = (run_graph(model, {model.graph.inputs[0].name: image}, None) for model in (before, after))
    return np.asarray(first, np.float64), np.asarray(second, np.float64)


def assert_same(before: ir.Model, after: ir.Model, image: np.ndarray = IMAGE) -> None:
    first, second = outputs(before, after, image)
    assert np.linalg.norm(first) > 0.1
    np.testing.assert_allclose(second, first, rtol=1e-4, atol=1e-5 * np.abs(first).max())


def changed(model: ir.Model, *passes: ir.passes.PassBase) -> ir.Model:
    copy = model.clone()
    for step in passes:
        copy = step(copy).model
    return copy


def chain(*layers: tuple[int, int, int, int], bias: bool = True) -> ir.Model:
    """Convolutions in a row, each (channels in, channels out, kernel, groups)."""
    m = GraphMaker()
    value = "image"
    for cin, cout, kernel, groups in layers:
        value = m.conv(value, cin, cout, kernel, groups=groups)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, layers[0][0], HEIGHT, WIDTH])
    output = helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, layers[-1][1], HEIGHT, WIDTH])
    return ir.from_proto(m.model([image], [output]))


def test_means_over_the_map_become_global_pools() -> None:
    before = foreign(Shape())
    after = changed(before, GlobalPool())
    assert (ops(before)["ReduceMean"], ops(after)["ReduceMean"], ops(after)["GlobalAveragePool"]) == (1, 0, 1)
    assert_same(before, after)


def test_other_means_stay() -> None:
    m = GraphMaker()
    y = m.node("ReduceMean", "image", axes=[1], keepdims=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    output = helper.make_tensor_value_info(y, TensorProto.FLOAT, [1, 1, HEIGHT, WIDTH])
    before = ir.from_proto(m.model([image], [output]))
    assert ops(changed(before, GlobalPool())) == ops(before)


def test_batch_normalization_goes_into_the_convolution() -> None:
    before = foreign(Shape(batch_norm=True))
    after = changed(before, FoldBatchNorm())
    assert (ops(before)["BatchNormalization"], ops(after)["BatchNormalization"]) == (1, 0)
    assert_same(before, after)


def test_padding_goes_into_the_convolution() -> None:
    before = foreign(Shape(pad=True))
    after = changed(before, FoldBatchNorm())
    assert (ops(before)["Pad"], ops(after)["Pad"]) == (1, 0)
    assert_same(before, after)


@pytest.mark.parametrize(
    ("layers", "left"),
    [
        pytest.param(((3, 3, 1, 3), (3, 8, 1, 1)), 1, id="depthwise 1x1 and pointwise become one"),
        pytest.param(((3, 3, 3, 3), (3, 8, 1, 1)), 2, id="a depthwise 3x3 stays"),
        pytest.param(((3, 8, 1, 1), (8, 4, 1, 1)), 2, id="two full 1x1 stay: merging could cost more"),
        pytest.param(((3, 3, 1, 3), (3, 3, 1, 3)), 2, id="two depthwise 1x1 stay"),
        pytest.param(((3, 6, 1, 3), (6, 4, 1, 1)), 2, id="a channel multiplier stays"),
    ],
)
def test_pointwise_pairs_are_merged(layers: tuple[tuple[int, int, int, int], ...], left: int) -> None:
    before = chain(*layers)
    after = changed(before, MergePointwise())
    assert (ops(before)["Conv"], ops(after)["Conv"]) == (2, left)
    assert_same(before, after)


def test_a_pointwise_pair_with_another_reader_stays() -> None:
    m = GraphMaker()
    first = m.conv("image", 3, 3, groups=3)
    y = m.node("Add", m.conv(first, 3, 3), first)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    output = helper.make_tensor_value_info(y, TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    before = ir.from_proto(m.model([image], [output]))
    assert ops(changed(before, MergePointwise())) == ops(before)


def test_shapes_vanish_once_the_size_is_fixed() -> None:
    before = foreign(Shape(free=("N", "H", "W"), shape_nodes=True))
    after = changed(before, FreezeShape((1, 3, HEIGHT, WIDTH)), FoldConstants())
    assert ops(before)["Shape"] == 1
    assert not set(ops(after)) & {"Shape", "Gather", "Concat"}
    assert_same(before, after)


def test_pairs_of_transpositions_vanish() -> None:
    m = GraphMaker()
    y = m.node("Transpose", m.node("Transpose", m.conv("image", 3, 4), perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    output = helper.make_tensor_value_info(y, TensorProto.FLOAT, [1, 4, HEIGHT, WIDTH])
    before = ir.from_proto(m.model([image], [output]))
    after = changed(before, FoldConstants())
    assert (ops(before)["Transpose"], ops(after)["Transpose"]) == (2, 0)
    assert_same(before, after)


@pytest.mark.parametrize("opset", [11, 13, 18, 20])
def test_every_opset_becomes_17(opset: int) -> None:
    before = foreign(Shape(opset=opset))
    after = changed(before, SetOpset())
    assert (before.opset_imports[""], after.opset_imports[""], after.ir_version) == (opset, 17, 10)
    assert_same(before, after)


def test_operators_of_one_library_are_refused() -> None:
    m = GraphMaker()
    m.nodes.append(helper.make_node("FusedConv", ["image"], ["y"], domain="com.microsoft"))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    graph = helper.make_graph(m.nodes, "g", [image], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = ir.from_proto(helper.make_model(graph, opset_imports=imports, ir_version=8))
    with pytest.raises(ModelFileError, match=r"com\.microsoft"):
        SetOpset()(model)


@pytest.mark.parametrize(
    ("preprocess", "added"),
    [
        pytest.param(Preprocess(), 0, id="128 and 128 vanish into the weights"),
        pytest.param(Preprocess(pixel_format="rgb", channels="bgr"), 0, id="another order goes into the weights"),
        pytest.param(Preprocess(mean=(120, 110, 100), std=(50, 60, 70)), 1, id="a mean stays one addition"),
        pytest.param(Preprocess(mean=(120, 110, 100), pixel_format="bgrx"), 1, id="a mean in the camera's order"),
    ],
)
def test_order_and_scale_go_into_the_first_convolution(preprocess: Preprocess, added: int) -> None:
    before = foreign(Shape())
    after = changed(before, AdoptFrames(preprocess))
    assert sum(ops(after).values()) - sum(ops(before).values()) == added
    frame = RNG.integers(0, 256, (1, 3, HEIGHT, WIDTH)).astype(np.float32)
    pixels = frame - 128
    camera = [preprocess.pixel_format.index(channel) for channel in preprocess.channels]
    mean, std = (np.float32(value).reshape(1, 3, 1, 1) for value in (preprocess.mean, preprocess.std))
    first = run_graph(before, {"image": (frame[:, camera] - mean) / std}, None)
    second = run_graph(after, {"pixels": pixels}, None)
    np.testing.assert_allclose(second, first, rtol=1e-3, atol=1e-3)


def test_without_a_convolution_in_front_they_become_operators() -> None:
    m = GraphMaker()
    y = m.conv(m.node("Sigmoid", "image"), 3, 4, 3)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    output = helper.make_tensor_value_info(y, TensorProto.FLOAT, [1, 4, HEIGHT, WIDTH])
    before = ir.from_proto(m.model([image], [output]))
    after = changed(before, AdoptFrames(Preprocess(mean=(120, 110, 100), std=(50, 60, 70))))
    assert ops(after) - ops(before) == Counter(Add=1, Gather=1, Mul=1)
    frame = RNG.integers(0, 256, (1, 3, HEIGHT, WIDTH)).astype(np.float32)
    mean, std = np.float32([120, 110, 100]).reshape(1, 3, 1, 1), np.float32([50, 60, 70]).reshape(1, 3, 1, 1)
    first = run_graph(before, {"image": (frame[:, ::-1] - mean) / std}, None)
    np.testing.assert_allclose(run_graph(after, {"pixels": frame - 128}, None), first, rtol=1e-4, atol=1e-4)


def test_the_tail_is_cut_back_to_the_logits() -> None:
    before = changed(foreign(Shape(end="labels")), ShapeInferencePass())
    cut = CutTail()
    after = changed(before, cut, RemoveUnusedNodesPass())
    assert ops(before) - ops(after) == Counter(ArgMax=1, Resize=1)
    assert (cut.tail.labels, cut.tail.resized) == (True, True)
    assert [str(dim) for dim in after.graph.outputs[0].shape] == ["1", "3", str(HEIGHT // 2), str(WIDTH // 2)]


def test_every_tensor_gets_a_name_and_a_shape() -> None:
    before = foreign(Shape())
    for node in before.graph:
        node.name = None
    after = changed(before, NameNodes())
    names = [node.name for node in after.graph]
    assert all(names)
    assert len(set(names)) == len(names)
    assert all(value.shape is not None for node in after.graph for value in node.outputs)
