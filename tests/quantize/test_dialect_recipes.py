"""What a recipe changes in every dialect: scales per tensor, equalized channels, corrected biases."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import msgspec
import onnx_ir as ir

from edgeseg.card import Dialect, Int8Recipe
from edgeseg.errors import ModelFileError
from edgeseg.graph.io import graph_card, graph_sha256
from edgeseg.quantize.correction import measure_corrections
from edgeseg.quantize.dialects import DIALECTS, quantize_onnx
from edgeseg.quantize.equalize import channel_peaks, equalize, find_equalization
from edgeseg.quantize.lint import lint_tensorrt
from edgeseg.quantize.ranges import Ranges
from edgeseg.quantize.rules import WEIGHTED
from tests.graphs import GraphMaker
from tests.quantize.networks import in_groups, transposed
from tests.quantize.tiny import constant, finished, frames, node, prepared, quantized, ranges, ranges_of, snr_db

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
PER_TENSOR = Int8Recipe(per_tensor=True)


@functools.cache
def equalized() -> tuple[dict[str, bytes], Ranges]:
    """Of the tiny network: its equalization, and the ranges of what that gives."""
    found = find_equalization(prepared(), channel_peaks(prepared(), frames(4)))
    return found, ranges_of(equalize(prepared(), found))


@functools.cache
def whole_recipe(dialect: Dialect) -> Int8Recipe:
    """Of the tiny network, with everything that a repair may put in."""
    found, own = equalized()
    recipe = Int8Recipe(calibrator="mse", per_tensor=True, equalized=True, equalization=found, keep_float=("n13",))
    bare = quantize_onnx(prepared(), own, dialect=dialect, recipe=recipe)
    corrections = measure_corrections(equalize(prepared(), found), bare, frames(2))
    return msgspec.structs.replace(recipe, bias_corrected=True, corrections=corrections)


def weight_scales(model: ir.Model) -> dict[str, np.ndarray]:
    """By the node that reads it, the scale of an eight-bit weight."""
    found = {}
    for one in model.graph:
        dequantize = one.inputs[1].producer() if len(one.inputs) > 1 and one.inputs[1] is not None else None
        if one.op_type in WEIGHTED and dequantize is not None:
            assert constant(dequantize.inputs[0]).dtype == np.int8
            found[one.name or ""] = constant(dequantize.inputs[1])
    return found


def multiplied() -> ir.Model:
    """A matrix product over channels that lie last."""
    m = GraphMaker()
    last = m.node("Transpose", m.conv("pixels", 3, 8, 3, act="relu"), perm=[0, 2, 3, 1])
    mixed = m.node("MatMul", last, m.constant(m.rng.normal(0, 0.3, (8, 8)).astype(np.float32)))
    return finished(m, m.node("Relu", m.node("Transpose", mixed, perm=[0, 3, 1, 2])), 8)


@pytest.mark.parametrize("network", [prepared, multiplied], ids=["convolutions", "a matrix product"])
@every_dialect
def test_one_scale_for_all_weights_of_an_operator(dialect: Dialect, network: Callable[[], ir.Model]) -> None:
    model = network()
    own = ranges_of(model)
    per_channel, per_tensor = (
        quantize_onnx(model, own, dialect=dialect, recipe=recipe) for recipe in (Int8Recipe(), PER_TENSOR)
    )
    scales, finer = weight_scales(per_tensor), weight_scales(per_channel)
    assert set(scales) == set(finer) == {one.name for one in model.graph if one.op_type in WEIGHTED} - {last(model)}
    assert {scale.size for scale in scales.values()} == {1}
    for name, scale in scales.items():
        assert scale == pytest.approx(finer[name].max(), rel=1e-6)
    assert snr_db(per_channel, model) > snr_db(per_tensor, model) > 20
    assert dialect != "s8-sym" or lint_tensorrt(per_tensor) == []


def lifeless(dead: slice) -> ir.Model:
    """A convolution with channels, or all of them, whose weights are zero and whose biases are not."""
    m = GraphMaker()
    kernel = m.rng.normal(0, 0.01, (8, 3, 1, 1)).astype(np.float32)
    kernel[dead] = 0
    bias = m.rng.uniform(0.2, 2, 8).astype(np.float32)
    x = m.node("Relu", m.node("Conv", "pixels", m.constant(kernel), m.constant(bias)))
    return finished(m, m.conv(x, 8, 8, act="relu"), 8)


@pytest.mark.parametrize(
    "dead",
    [
        pytest.param(slice(2, 5), id="some channels without weights"),
        pytest.param(slice(None), id="no channel with weights"),
    ],
)
@pytest.mark.parametrize("recipe", [Int8Recipe(), PER_TENSOR], ids=["per channel", "per tensor"])
@every_dialect
def test_biases_of_channels_without_weights_are_kept(dialect: Dialect, recipe: Int8Recipe, dead: slice) -> None:
    model = lifeless(dead)
    graph = quantize_onnx(model, ranges_of(model), dialect=dialect, recipe=recipe)
    bias = node(graph, "n0").inputs[2]
    assert bias is not None
    dequantize = bias.producer()
    told = constant(bias) if dequantize is None else constant(dequantize.inputs[0]) * constant(dequantize.inputs[1])
    assert told == pytest.approx(constant(node(model, "n0").inputs[2]), abs=2e-3)
    assert snr_db(graph, model) > 25


@pytest.mark.parametrize("recipe", [Int8Recipe(), PER_TENSOR], ids=["per channel", "per tensor"])
@pytest.mark.parametrize("bias", [False, True], ids=["without a bias", "with a bias"])
@pytest.mark.parametrize("groups", [1, 2, 8])
@every_dialect
def test_transposed_convolutions_are_quantized_in_any_groups(
    dialect: Dialect, groups: int, bias: bool, recipe: Int8Recipe
) -> None:
    model = transposed(groups, bias=bias)
    graph = quantize_onnx(model, ranges_of(model), dialect=dialect, recipe=recipe)
    assert set(weight_scales(graph)) == {one.name for one in model.graph if "Conv" in one.op_type} - {last(model)}
    assert snr_db(graph, model) > 20


def last(model: ir.Model) -> str:
    """Name of the classifier."""
    producer = model.graph.outputs[0].producer()
    assert producer is not None
    return producer.name or ""


@every_dialect
def test_the_same_whole_recipe_gives_the_same_bytes(dialect: Dialect) -> None:
    recipe, own = whole_recipe(dialect), equalized()[1]
    told = msgspec.json.decode(msgspec.json.encode(recipe), type=Int8Recipe)
    first, second = (quantize_onnx(prepared(), own, dialect=dialect, recipe=one) for one in (recipe, told))
    assert ir.to_proto(first).SerializeToString() == ir.to_proto(second).SerializeToString()
    without = [
        msgspec.structs.replace(recipe, **change)
        for change in ({"corrections": {}}, {"per_tensor": False}, {"keep_float": ()}, {"calibrator": "minmax"})
    ]
    hashes = {graph_sha256(quantize_onnx(prepared(), own, dialect=dialect, recipe=one)) for one in (recipe, *without)}
    assert len(hashes) == 5, "each part of it counts"


@every_dialect
def test_a_whole_recipe_leaves_nothing_behind_and_changes_no_names(dialect: Dialect) -> None:
    model = prepared()
    before = ir.to_proto(model).SerializeToString()
    graph = quantize_onnx(model, equalized()[1], dialect=dialect, recipe=whole_recipe(dialect)).graph
    assert ir.to_proto(model).SerializeToString() == before
    assert set(graph.initializers) <= {value.name for one in graph for value in one.inputs if value is not None}
    tensors = {value.name for one in model.graph for value in one.outputs}
    placed = ("QuantizeLinear", "DequantizeLinear")
    assert {one.outputs[0].name for one in graph if one.op_type not in placed} <= tensors


@every_dialect
def test_the_card_tells_what_was_done_without_the_arrays(dialect: Dialect) -> None:
    recipe = whole_recipe(dialect)
    graph = quantize_onnx(prepared(), equalized()[1], dialect=dialect, recipe=recipe)
    card = graph_card(graph)
    assert card is not None
    expected = Int8Recipe(calibrator="mse", per_tensor=True, equalized=True, bias_corrected=True, keep_float=("n13",))
    assert card.int8 == {dialect: expected}
    assert recipe.equalization and recipe.corrections
    assert card.made_from["prepared"] == graph_sha256(prepared())


@every_dialect
def test_ranges_and_recipe_are_both_equalized_or_neither(dialect: Dialect) -> None:
    found, own = equalized()
    recipe = Int8Recipe(equalized=True, equalization=found)
    graph = quantize_onnx(prepared(), own, dialect=dialect, recipe=recipe)
    assert snr_db(graph, prepared()) > snr_db(quantized(dialect), prepared()) - 1
    for other, wrong in ((ranges(), recipe), (own, Int8Recipe())):
        with pytest.raises(ModelFileError, match="ranges of other weights"):
            quantize_onnx(prepared(), other, dialect=dialect, recipe=wrong)


@every_dialect
def test_an_equalization_of_another_network_is_refused(dialect: Dialect) -> None:
    other = in_groups()
    recipe = Int8Recipe(equalized=True, equalization=find_equalization(other, channel_peaks(other, frames(1))))
    with pytest.raises(ModelFileError, match="equalization is of another graph"):
        quantize_onnx(prepared(), ranges(), dialect=dialect, recipe=recipe)


@every_dialect
def test_a_graph_with_nothing_to_quantize_is_sent_to_float(dialect: Dialect) -> None:
    m = GraphMaker()
    m.node("MaxPool", m.node("Mul", "pixels", m.constant(np.float32(0.5))), out="pooled", kernel_shape=[1, 1])
    model = finished(m, "pooled", 3)
    classifier = model.graph.outputs[0].producer()
    assert classifier is not None
    own = ranges_of(model)
    quantize_onnx(model, own, dialect=dialect)
    bare = model.clone()
    pooled = next(one for one in bare.graph if one.op_type == "MaxPool").outputs[0]
    end = ir.node("Identity", [pooled], name="end")
    end.outputs[0].name = "logits.only"
    bare.graph.append(end)
    bare.graph.outputs[:] = [end.outputs[0]]
    bare.graph.remove(next(one for one in bare.graph if one.op_type == "Conv"), safe=True)
    with pytest.raises(ModelFileError, match="nothing to quantize") as caught:
        quantize_onnx(bare, ranges_of(bare), dialect=dialect)
    assert "--fp32" in caught.value.hint
