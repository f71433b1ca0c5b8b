"""Graphs that ONNX backends refuse: each is told with the node and the library's reason, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeseg.backends import Backend, Engine, EngineOptions, open_backend
from edgeseg.card import KEY, Preprocess, decode_card, encode_card
from edgeseg.errors import MissingDependency, ModelFileError
from edgeseg.files import sha256_file

pytest.importorskip("onnx_ir")
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.backends.frame_graphs import write_frame_graph


@pytest.fixture(params=["onnxruntime", "openvino"], scope="module")
def backend(request: pytest.FixtureRequest) -> Backend:
    try:
        return open_backend(request.param)
    except MissingDependency as error:
        pytest.skip(error.message)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write_frame_graph(tmp_path / "graph.onnx")


def _node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def _replace_weight(model: onnx.ModelProto, name: str, array: np.ndarray) -> None:
    next(w for w in model.graph.initializer if w.name == name).CopyFrom(numpy_helper.from_array(array, name))


def _unknown_operator(model: onnx.ModelProto) -> None:
    _node(model, "n9").op_type = "Sum3000"


def _custom_operator(model: onnx.ModelProto) -> None:
    node = _node(model, "n9")
    node.op_type, node.domain = "Blend", "acme"
    model.opset_import.append(helper.make_opsetid("acme", 1))


def _sizes_that_do_not_meet(model: onnx.ModelProto) -> None:
    del model.graph.value_info[:]
    _replace_weight(model, "w22", np.array([1, 8, 5, 6], np.int64))


def _half_precision_into_float(model: onnx.ModelProto) -> None:
    node = _node(model, "edgeseg.head.dequantize")
    node.op_type = "Cast"
    del node.input[1:]
    node.attribute.append(helper.make_attribute("to", TensorProto.FLOAT16))
    del model.graph.value_info[:]


def _weights_that_do_not_fit(model: onnx.ModelProto) -> None:
    _replace_weight(model, "w4", np.zeros((16, 9, 3, 3), np.float32))


def _class_map_of_another_size(model: onnx.ModelProto) -> None:
    del model.graph.value_info[:]
    _replace_weight(model, "edgeseg.tail.grow.sizes", np.array([1, 1, 16, 24], np.int64))
    model.graph.output[0].type.tensor_type.ClearField("shape")


def _missing_tensor(model: onnx.ModelProto) -> None:
    _node(model, "n9").input[1] = "nowhere"


REFUSED = {
    "an operator that no one knows": (_unknown_operator, r"at node 'n9' \(Sum3000\): .*Sum3000"),
    "an operator of another library": (_custom_operator, r"at node 'n9' \(Blend\): .*Blend"),
    "sizes that do not meet": (_sizes_that_do_not_meet, r"at node 'n16' \(Concat\): .*"),
    "types that do not meet": (_half_precision_into_float, r"at node 'n0' \(Conv\): .*types"),
    "weights that do not fit": (_weights_that_do_not_fit, r"refuses the graph.*: .*channel"),
    "a class map of another size": (_class_map_of_another_size, r"class map of .* shape \(1, 16, 24\)"),
    "a tensor that nothing makes": (_missing_tensor, r"refuses the graph: .*nowhere"),
}


@pytest.mark.parametrize(("spoil", "message"), REFUSED.values(), ids=REFUSED)
def test_a_refused_graph_is_told_with_its_node(
    backend: Backend, graph: Path, spoil: Callable[[onnx.ModelProto], None], message: str
) -> None:
    _spoil(graph, spoil)
    with pytest.raises(ModelFileError, match=message) as caught:
        backend.build(graph, graph.parent / "out" / "engine.onnx", EngineOptions())
    assert "\n" not in caught.value.message
    assert "Exception from" not in caught.value.message and "ONNXRuntimeError" not in caught.value.message
    assert os.listdir(graph.parent) == ["graph.onnx"]


def _no_card(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def _unreadable_card(model: onnx.ModelProto) -> None:
    helper.set_model_props(model, {KEY: "{}"})


def _other_pixel_format(model: onnx.ModelProto) -> None:
    card = decode_card(model.metadata_props[0].value, where="the test")
    card = msgspec.structs.replace(card, preprocess=Preprocess(pixel_format="bgrx"))
    helper.set_model_props(model, {KEY: encode_card(card)})


def _any_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "H"


def _float_frames(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def _no_logits(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["scores" if name == "logits" else name for name in names]


def _two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, None))


NO_FRAME_GRAPH = {
    "no card": (_no_card, "has no card"),
    "a card that can't be read": (_unreadable_card, "can't be read"),
    "channels that the card denies": (_other_pixel_format, "3 channels, but its card says bgrx"),
    "frames of any size": (_any_size, "fixed size"),
    "frames of floats": (_float_frames, "uint8 'frame'"),
    "no logits inside": (_no_logits, "'logits' between"),
    "two outputs": (_two_outputs, "to 'class_map', 'logits'"),
}


@pytest.mark.parametrize(("spoil", "message"), NO_FRAME_GRAPH.values(), ids=NO_FRAME_GRAPH)
def test_only_graphs_from_frames_to_class_maps_are_built(
    backend: Backend, graph: Path, spoil: Callable[[onnx.ModelProto], None], message: str
) -> None:
    _spoil(graph, spoil)
    with pytest.raises(ModelFileError, match=message):
        backend.build(graph, graph.parent / "out" / "engine.onnx", EngineOptions())
    assert os.listdir(graph.parent) == ["graph.onnx"]


def test_weights_outside_are_refused_and_weights_beside_are_taken_in(backend: Backend, graph: Path) -> None:
    folder = graph.parent / "model"
    folder.mkdir()
    model = onnx.load(graph)
    onnx.save(model, folder / "graph.onnx", save_as_external_data=True, location="data.bin", size_threshold=0)
    built = backend.build(folder / "graph.onnx", graph.parent / "engine.onnx", EngineOptions())
    (whole,) = (
        weight for weight in onnx.load(built.path, load_external_data=False).graph.initializer if weight.name == "w0"
    )
    assert not whole.external_data and whole.raw_data
    (folder / "data.bin").rename(graph.parent / "data.bin")
    (folder / "data.bin").symlink_to(graph.parent / "data.bin")
    with pytest.raises(ModelFileError, match="symbolic link"):
        backend.build(folder / "graph.onnx", folder / "engine.onnx", EngineOptions())


def test_an_engine_whose_weights_lie_elsewhere_is_refused(backend: Backend, graph: Path) -> None:
    engine = backend.build(graph, graph.parent / "engine.onnx", EngineOptions())
    onnx.save(onnx.load(engine.path), engine.path, save_as_external_data=True, location="data.bin", size_threshold=0)
    card = msgspec.structs.replace(engine.card, sha256=sha256_file(engine.path))
    with pytest.raises(ModelFileError, match="holds all its weights itself"):
        backend.load(Engine(engine.path, card))


def test_the_engine_file_is_the_graph_without_its_card(backend: Backend, graph: Path) -> None:
    engine = backend.build(graph, graph.parent / "engine.onnx", EngineOptions())
    given, kept = onnx.load(graph), onnx.load(engine.path)
    assert KEY in [entry.key for entry in given.metadata_props] and not kept.metadata_props
    assert given.graph == kept.graph


def _spoil(graph: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(graph)
    change(model)
    graph.write_bytes(model.SerializeToString())
