from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx
import onnx_ir as ir

from edgeseg.card import Card, Preprocess
from edgeseg.errors import ModelFileError, UsageError
from edgeseg.graph.io import graph_card, graph_sha256, load_graph, weights_sha256
from edgeseg.graph.prepare import Foreign, prepare_graph
from edgeseg.graph.verify import verify_prepared
from edgeseg.labels import label_set
from tests.graph.foreign import CLASSES, HEIGHT, WIDTH, Shape, classifier, foreign
from tests.graphs import GraphMaker

IMAGENET = Preprocess(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
ABOUT = Foreign("foreign", IMAGENET)


def scene(height: int = HEIGHT, width: int = WIDTH, channels: int = 3) -> np.ndarray:
    """A smooth frame with all colours in it."""
    y, x = np.mgrid[:height, :width]
    planes = [127 + 120 * np.sin(x / (3 + c) + y / (5 - c) + c) for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)[None]


def prepared_card(model: ir.Model) -> Card:
    card = graph_card(model)
    assert card is not None
    return card


@pytest.mark.parametrize(
    ("shape", "about", "upsampling"),
    [
        pytest.param(Shape(), ABOUT, "half_pixel", id="logits at full size"),
        pytest.param(Shape(coordinates="align_corners"), ABOUT, "align_corners", id="corners aligned"),
        pytest.param(Shape(coordinates="asymmetric"), ABOUT, "asymmetric", id="asymmetric coordinates"),
        pytest.param(Shape(coordinates="pytorch_half_pixel"), ABOUT, "half_pixel", id="torch's name for half pixels"),
        pytest.param(Shape(end="small"), ABOUT, "half_pixel", id="logits at the decoder's size"),
        pytest.param(Shape(end="softmax"), ABOUT, "half_pixel", id="softmax behind the logits"),
        pytest.param(Shape(end="labels"), ABOUT, "half_pixel", id="a label map instead of logits"),
        pytest.param(Shape(end="labels_keepdims"), ABOUT, "half_pixel", id="a label map with a channel"),
        pytest.param(Shape(end="sigmoid"), ABOUT, "half_pixel", id="one channel with sigmoid"),
        pytest.param(
            Shape(end="sigmoid"), Foreign("f", IMAGENET, threshold=0.7), "half_pixel", id="sigmoid with a threshold"
        ),
        pytest.param(Shape(end="raw"), ABOUT, "half_pixel", id="one raw channel"),
        pytest.param(Shape(end="raw"), Foreign("f", IMAGENET, threshold=-0.4), "half_pixel", id="raw with a threshold"),
        pytest.param(Shape(end="sigmoid_first"), ABOUT, "half_pixel", id="one channel, resized after its sigmoid"),
        pytest.param(Shape(end="clip"), ABOUT, "half_pixel", id="one channel, cut to 0 and 1"),
        pytest.param(Shape(computed_pad=True), ABOUT, "half_pixel", id="padding computed by nodes"),
        pytest.param(Shape(end="greater"), ABOUT, "half_pixel", id="one channel, compared in the graph"),
        pytest.param(Shape(channels_last=True), ABOUT, "half_pixel", id="channels last"),
        pytest.param(Shape(channels_last=True, end="labels"), ABOUT, "half_pixel", id="channels last, label map"),
        pytest.param(Shape(batch_norm=True), ABOUT, "half_pixel", id="batch normalization not folded"),
        pytest.param(Shape(pad=True), ABOUT, "half_pixel", id="padding by a node of its own"),
        pytest.param(
            Shape(free=("N", "H", "W"), shape_nodes=True),
            ABOUT,
            "half_pixel",
            id="free sizes, shapes computed by nodes",
        ),
        pytest.param(
            Shape(free=("N", "H", "W"), shape_nodes=True, channels_last=True),
            ABOUT,
            "half_pixel",
            id="free, channels last",
        ),
        pytest.param(
            Shape(),
            Foreign("f", Preprocess(pixel_format="rgb", mean=(0, 0, 0), std=(255, 255, 255))),
            "half_pixel",
            id="rgb",
        ),
        pytest.param(
            Shape(), Foreign("f", Preprocess(pixel_format="bgrx", channels="bgr")), "half_pixel", id="bgrx, no mean"
        ),
        *(pytest.param(Shape(opset=opset), ABOUT, "half_pixel", id=f"opset {opset}") for opset in range(11, 21)),
    ],
)
def test_a_prepared_graph_computes_what_the_original_does(shape: Shape, about: Foreign, upsampling: str) -> None:
    original = foreign(shape)
    before = graph_sha256(original)
    prepared = prepare_graph(original, about, size_hw=(HEIGHT, WIDTH))

    frame = scene(channels=len(about.preprocess.pixel_format))
    assert verify_prepared(original, about, prepared, frame) >= 0.999
    assert graph_sha256(original) == before
    assert prepared_card(prepared).upsampling == upsampling
    assert [value.name for value in prepared.graph.inputs] == ["pixels"]
    assert [value.name for value in prepared.graph.outputs] == ["logits"]
    ops = {node.op_type for node in prepared.graph}
    assert not ops & {"BatchNormalization", "ReduceMean", "Shape", "Gather", "Pad", "ConstantOfShape", "ArgMax"}
    assert all(
        node.name and all(value.name and value.shape is not None for value in node.outputs) for node in prepared.graph
    )
    assert prepared.opset_imports[""] == 17


@pytest.mark.parametrize("keep_io", [True, False], ids=["float32 at its ends", "all in half precision"])
def test_half_precision_is_raised(keep_io: bool, tmp_path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(ir.to_proto(foreign(Shape())), keep_io_types=keep_io)
    onnx.save(half, tmp_path / "half.onnx")
    original = load_graph(tmp_path / "half.onnx")
    assert any(v.const_value.dtype is ir.DataType.FLOAT16 for v in original.graph.initializers.values())
    prepared = prepare_graph(original, ABOUT)
    assert verify_prepared(original, ABOUT, prepared, scene()) >= 0.999
    values = [*prepared.graph.initializers.values(), *(v for node in prepared.graph for v in node.outputs)]
    assert {value.dtype for value in values} <= {ir.DataType.FLOAT, ir.DataType.INT64}


def test_probabilities_that_are_resized_are_known_as_such() -> None:
    """Their margin is their difference: a softmax over probabilities would never be confident."""
    card = prepared_card(prepare_graph(foreign(Shape(end="softmax_first")), ABOUT))
    assert card.probabilities
    assert not prepared_card(prepare_graph(foreign(Shape(end="softmax")), ABOUT)).probabilities


def test_the_frame_tells_the_classes_apart() -> None:
    """Otherwise the comparison above would pass whatever the passes did."""
    from edgeseg.graph.verify import plain_class_map

    original = foreign(Shape())
    prepared = prepare_graph(original, ABOUT)
    shares = np.bincount(plain_class_map(original, ABOUT, prepared_card(prepared), scene()).ravel(), minlength=CLASSES)
    assert (shares / shares.sum() > 0.05).all()


@pytest.mark.parametrize(
    ("shape", "user", "words"),
    [
        pytest.param(Shape(auxiliary=True), {}, "2 outputs", id="two outputs and none named"),
        pytest.param(Shape(), {"output": "nowhere"}, "no tensor 'nowhere'", id="an output that is not there"),
        pytest.param(Shape(end="nearest"), {}, "resized after its ArgMax", id="a label map that is resized"),
        pytest.param(Shape(batch=4), {}, "takes 4 images at a time", id="a fixed batch of four"),
        pytest.param(Shape(), {"classes": label_set("a,b")}, "2 classes were given", id="too few class names"),
        pytest.param(
            Shape(end="sigmoid"), {"classes": label_set("a,b,c")}, "one channel", id="three classes of one channel"
        ),
        pytest.param(Shape(end="sigmoid"), {"threshold": 1.5}, "out of range", id="no probability as threshold"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(shape: Shape, user: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        prepare_graph(foreign(shape), Foreign("f", IMAGENET, **user), size_hw=(HEIGHT, WIDTH))


def test_another_size_than_a_fixed_one_is_refused() -> None:
    with pytest.raises(UsageError, match="fixed to 1x3x24x32; 1x3x48x64"):
        prepare_graph(foreign(Shape()), ABOUT, size_hw=(48, 64))


@pytest.mark.parametrize(
    ("shape", "size_hw"),
    [
        pytest.param(Shape(free=("N",)), None, id="batch"),
        pytest.param(Shape(free=("N",), batch=4), None, id="batch, the graph made for four"),
        pytest.param(Shape(free=("N", "H", "W"), shape_nodes=True), (HEIGHT, WIDTH), id="batch and size"),
        pytest.param(Shape(free=("H", "W"), shape_nodes=True), (HEIGHT, WIDTH), id="size"),
        pytest.param(Shape(free=("W",), shape_nodes=True, end="labels"), (HEIGHT, WIDTH), id="width, a label map"),
        pytest.param(
            Shape(free=("N", "H", "W"), shape_nodes=True, channels_last=True),
            (HEIGHT, WIDTH),
            id="batch and size, channels last",
        ),
        *(
            pytest.param(
                Shape(free=("N", "H", "W"), shape_nodes=True, opset=opset), (HEIGHT, WIDTH), id=f"opset {opset}"
            )
            for opset in (11, 13, 18)
        ),
    ],
)
def test_dimensions_of_minus_one_are_free(shape: Shape, size_hw: tuple[int, int] | None) -> None:
    original = foreign(dataclasses.replace(shape, minus_one=True))
    named = foreign(shape)
    dims = original.graph.inputs[0].shape
    assert dims is not None
    assert [dim == -1 for dim in dims] == [not isinstance(dim, int) for dim in named.graph.inputs[0].shape or ()]
    prepared = prepare_graph(original, ABOUT, size_hw=size_hw)
    assert prepared.graph.inputs[0].shape == [1, 3, HEIGHT, WIDTH]
    assert prepared_card(prepared).size_hw == (HEIGHT, WIDTH)
    assert verify_prepared(original, ABOUT, prepared, scene()) >= 0.999
    assert weights_sha256(prepared) == weights_sha256(prepare_graph(named, ABOUT, size_hw=size_hw))


@pytest.mark.parametrize(
    ("free", "size_hw", "batch", "words"),
    [
        pytest.param(("N", "H", "W"), None, 1, "any size", id="no size, and none asked for"),
        pytest.param(("N", "W"), None, 1, "any size", id="no width, and none asked for"),
        pytest.param(
            ("N", "W"), (48, WIDTH), 1, "fixed to -1x3x24x-1; 1x3x48x32", id="another height than the fixed one"
        ),
        pytest.param(("H", "W"), (HEIGHT, WIDTH), 2, "takes 1 images at a time", id="another batch than the fixed one"),
    ],
)
def test_dimensions_beside_minus_one_count(
    free: tuple[str, ...], size_hw: tuple[int, int] | None, batch: int, words: str
) -> None:
    original = foreign(Shape(free=free, shape_nodes=True, minus_one=True))
    with pytest.raises(UsageError, match=words):
        prepare_graph(original, ABOUT, size_hw=size_hw, batch=batch)


def test_a_batch_of_minus_one_takes_what_is_asked_for() -> None:
    original = foreign(Shape(free=("N", "H", "W"), shape_nodes=True, minus_one=True))
    prepared = prepare_graph(original, ABOUT, size_hw=(48, 64), batch=2)
    assert prepared.graph.inputs[0].shape == [2, 3, 48, 64]
    assert prepared.graph.outputs[0].shape == [2, CLASSES, 24, 32]


def test_a_card_gives_the_size_where_dimensions_are_minus_one() -> None:
    original = foreign(Shape(free=("N", "H", "W"), shape_nodes=True, minus_one=True))
    card = prepared_card(prepare_graph(original, ABOUT, size_hw=(48, 64)))
    assert prepare_graph(original, card).graph.inputs[0].shape == [1, 3, 48, 64]


def test_free_sizes_need_one_to_be_named() -> None:
    with pytest.raises(UsageError, match="any size"):
        prepare_graph(foreign(Shape(free=("N", "H", "W"), shape_nodes=True)), ABOUT)


def test_the_logits_of_a_resized_label_map_can_be_named() -> None:
    original = foreign(Shape(end="nearest"))
    with pytest.raises(UsageError) as refusal:
        prepare_graph(original, ABOUT)
    about = Foreign("f", IMAGENET, output=refusal.value.hint.split("--output ")[1])
    prepared = prepare_graph(original, about)
    assert verify_prepared(original, about, prepared, scene()) >= 0.999


def test_an_output_can_be_named() -> None:
    original = foreign(Shape(auxiliary=True))
    about = Foreign("f", IMAGENET, output=original.graph.outputs[1].name)
    prepared = prepare_graph(original, about)
    assert verify_prepared(original, about, prepared, scene()) >= 0.999


def test_weights_hash_alike_at_every_size_and_graphs_do_not() -> None:
    original = foreign(Shape(free=("N", "H", "W"), shape_nodes=True))
    small, large = (prepare_graph(original, ABOUT, size_hw=size) for size in ((24, 32), (48, 80)))
    assert weights_sha256(small) == weights_sha256(large)
    assert graph_sha256(small) != graph_sha256(large)
    assert graph_sha256(prepare_graph(original, ABOUT, size_hw=(24, 32))) == graph_sha256(small)


@pytest.mark.parametrize(
    ("matrix", "follows_size"),
    [
        pytest.param(np.array([[0.5, 0], [0.5, 0.5], [0, 0.5]]), True, id="means over overlapping parts"),
        pytest.param(np.full((5, 1), 0.2), True, id="the mean of all"),
        pytest.param(np.array([[0.5, 0], [0.5, 0.4], [0, 0.6]]), False, id="a weighted mean"),
        pytest.param(np.array([[1.0, -0.5], [0, 0.5], [0, 1]]), False, id="signed weights"),
        pytest.param(np.zeros((3, 2)), False, id="nothing at all"),
        pytest.param(np.array([0.5, 0.5]), False, id="a vector"),
    ],
)
def test_matrices_that_take_means_over_places_are_no_weights(matrix: np.ndarray, follows_size: bool) -> None:
    bare, pooled = (_multiplied(given.astype(np.float32)) for given in (np.ones((1, 1)), matrix))
    assert (weights_sha256(bare) == weights_sha256(pooled)) is follows_size


def _multiplied(matrix: np.ndarray) -> ir.Model:
    m = GraphMaker()
    m.node("MatMul", "x", m.constant(matrix), out="y")
    ends = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", [4, len(matrix)]), ("y", [4, *matrix.shape[1:]]))
    )
    model: ir.Model = ir.from_proto(m.model(*([end] for end in ends)))
    return model


def test_a_graph_that_computes_something_else_is_found_out() -> None:
    original = foreign(Shape())
    prepared = prepare_graph(original, ABOUT)
    other = prepare_graph(foreign(Shape(), seed=4), ABOUT)
    assert verify_prepared(original, ABOUT, prepared, scene()) >= 0.999
    with pytest.raises(ModelFileError, match="does not compute what the original does"):
        verify_prepared(original, ABOUT, other, scene())


def test_a_classifier_is_no_segmentation_graph() -> None:
    with pytest.raises(UsageError, match="no map over the image"):
        prepare_graph(classifier(), ABOUT)
