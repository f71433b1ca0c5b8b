"""Bias correction: every convolution of a Q/DQ graph gets the means that it has in float."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx_ir as ir

from edgeseg.card import Dialect, Int8Recipe
from edgeseg.errors import ModelFileError
from edgeseg.graph.io import graph_sha256
from edgeseg.graph.runtime import open_graph
from edgeseg.quantize.correction import add_to_biases, measure_corrections
from edgeseg.quantize.dialects import DIALECTS, quantize_onnx
from tests.graphs import GraphMaker, tiny_prepared
from tests.quantize.networks import (
    added_everywhere,
    computed_weights,
    over_channels,
    read_inside,
    residual,
    shared_weights,
    transposed,
    weights,
)
from tests.quantize.tiny import SIZE_HW, as_prepared, constant, finished, frames, node, prepared, ranges_of, run, snr_db

#: One with int32 biases, one with float biases.
BOTH: tuple[Dialect, ...] = ("u8-asym", "s8-sym")
PIXELS = frames(3, seed=7)


def means(model: ir.Model, convs: list[str]) -> dict[str, np.ndarray]:
    """`(C,)` of each convolution's outputs over the frames."""
    names = [node(model, conv).outputs[0].name or "" for conv in convs]
    session = open_graph(model, names)
    answers = [session.run(names, {"pixels": pixels}) for pixels in PIXELS]
    places = [tuple(axis for axis in range(output.ndim) if axis != 1) for output in answers[0]]
    return {
        conv: np.mean([answer[i].mean(places[i], dtype=np.float64) for answer in answers], 0)
        for i, conv in enumerate(convs)
    }


def convolutions(model: ir.Model) -> list[str]:
    return [one.name or "" for one in model.graph if one.op_type in ("Conv", "ConvTranspose")]


def shifts(
    model: ir.Model, dialect: Dialect, keep_float: tuple[str, ...] = ()
) -> tuple[dict[str, float], dict[str, float], dict[str, bytes]]:
    """By convolution the largest shift of a mean without and with corrections, and the corrections."""
    ranges, convs = ranges_of(model), convolutions(model)
    bare = quantize_onnx(model, ranges, dialect=dialect, recipe=Int8Recipe(keep_float=keep_float))
    corrections = measure_corrections(model, bare, PIXELS)
    corrected = Int8Recipe(bias_corrected=True, corrections=corrections, keep_float=keep_float)
    wanted = means(model, convs)
    before, after = means(bare, convs), means(quantize_onnx(model, ranges, dialect=dialect, recipe=corrected), convs)
    return (
        {conv: float(np.abs(before[conv] - wanted[conv]).max()) for conv in convs},
        {conv: float(np.abs(after[conv] - wanted[conv]).max()) for conv in convs},
        corrections,
    )


def chain() -> ir.Model:
    """Convolutions alone, so that a bias shifts all means behind it and nothing else."""
    m = GraphMaker()
    x = m.conv("pixels", 3, 8, 3)
    return finished(m, m.conv(m.conv(x, 8, 8, 3), 8, 8), 8)


def without_biases() -> ir.Model:
    m = GraphMaker()
    x = m.node("Relu", m.node("Conv", "pixels", weights(m, 8, 3, 3, 3), pads=[1] * 4))
    return finished(m, m.node("Relu", m.node("Conv", x, weights(m, 8, 8, 1, 1))), 8)


NETWORKS = {
    "inverted residual, pooling, Concat and classifier": prepared,
    "convolutions without activations": chain,
    "convolutions without biases": without_biases,
    "weights and biases that two convolutions share": shared_weights,
    "a transposed convolution": lambda: transposed(1, bias=True),
    "a transposed convolution in groups": lambda: transposed(2, bias=True),
    "a transposed convolution in groups without a bias": lambda: transposed(2, bias=False),
    "a depthwise transposed convolution": lambda: transposed(8, bias=True),
    "a convolution over channels": over_channels,
    "a graph inside of a node": read_inside,
    "pooled values added to all places": added_everywhere,
    "residual additions": residual,
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dialect", BOTH)
def test_every_convolution_is_nearer_to_its_float_mean(dialect: Dialect, network: str) -> None:
    model = NETWORKS[network]()
    before, after, corrections = shifts(model, dialect)
    assert list(corrections) == convolutions(model)
    for conv, shift in after.items():
        assert shift < max(0.5 * before[conv], 1e-4 * max(before.values())), conv


@pytest.mark.parametrize("network", NETWORKS)
def test_means_are_exact_where_biases_stay_in_float(network: str) -> None:
    before, after, _ = shifts(NETWORKS[network](), "s8-sym")
    assert max(after.values()) < 1e-3 * max(before.values())


@pytest.mark.parametrize("keep_float", [(), ("n1",)], ids=["all in eight bits", "the second convolution in float"])
@pytest.mark.parametrize("dialect", BOTH)
def test_without_activations_all_but_the_rounding_of_biases_is_made_up_for(
    dialect: Dialect, keep_float: tuple[str, ...]
) -> None:
    """A chain of convolutions is linear: nothing behind a corrected one changes its own shift."""
    model = chain()
    before, after, _ = shifts(model, dialect, keep_float)
    deviation = min(float(run(model, pixels).std()) for pixels in PIXELS)
    assert max(before.values()) > 1e-3 * deviation
    assert max(after.values()) < 3e-4 * deviation


def test_a_network_whose_rounding_is_lopsided_comes_closer_to_float() -> None:
    """All weights are rounded down, so that errors add up instead of cancelling out."""
    m = GraphMaker()
    x = m.conv("pixels", 3, 8, 3, act="relu")
    weights = np.where(np.arange(8 * 8).reshape(8, 8, 1, 1) % 9, 0.49, 127).astype(np.float32) / 127
    model = finished(m, m.node("Relu", m.node("Conv", x, m.constant(weights))), 8)
    ranges = ranges_of(model)
    bare = quantize_onnx(model, ranges, dialect="s8-sym")
    corrections = measure_corrections(model, bare, PIXELS)
    corrected = quantize_onnx(model, ranges, dialect="s8-sym", recipe=Int8Recipe(corrections=corrections))
    assert snr_db(corrected, model) > snr_db(bare, model) + 3


@pytest.mark.parametrize("dialect", BOTH)
def test_convolutions_without_biases_get_one(dialect: Dialect) -> None:
    model = without_biases()
    ranges = ranges_of(model)
    corrections = measure_corrections(model, quantize_onnx(model, ranges, dialect=dialect), PIXELS)
    corrected = quantize_onnx(model, ranges, dialect=dialect, recipe=Int8Recipe(corrections=corrections))
    for conv in convolutions(model):
        bias = node(corrected, conv).inputs[2]
        assert bias is not None
        dequantize = bias.producer()
        told, step = constant(bias) if dequantize is None else None, 1e-6
        if dequantize is not None:
            whole, step = constant(dequantize.inputs[0]), constant(dequantize.inputs[1])
            told = whole * step
        assert np.all(np.abs(told - np.frombuffer(corrections[conv], "<f4")) <= 0.51 * step)


def test_convolutions_with_computed_weights_or_biases_are_left_as_they_are() -> None:
    model = computed_weights()
    dynamic = {
        one.name for one in model.graph if one.op_type == "Conv" and any(v.producer() for v in one.inputs[1:] if v)
    }
    assert len(dynamic) == 2
    before, after, corrections = shifts(model, "s8-sym", tuple(sorted(map(str, dynamic))))
    assert set(corrections) == set(convolutions(model)) - dynamic
    assert all(after[conv] < max(0.5 * before[conv], 1e-5) for conv in corrections)


def test_corrections_depend_on_the_frames_and_on_nothing_else() -> None:
    model = prepared()
    ranges = ranges_of(model)
    bare = quantize_onnx(model, ranges, dialect="u8-asym")
    contents = [ir.to_proto(one).SerializeToString() for one in (model, bare)]
    given = [pixels.copy() for pixels in PIXELS]
    steps: list[tuple[int, int]] = []
    first = measure_corrections(model, bare, given, on_conv=lambda done, of: steps.append((done, of)))
    assert measure_corrections(model, bare, PIXELS) == first
    assert measure_corrections(model, bare, PIXELS[:1]) != first
    assert steps == [(done + 1, len(first)) for done in range(len(first))]
    assert [ir.to_proto(one).SerializeToString() for one in (model, bare)] == contents
    assert all(np.array_equal(*both) for both in zip(given, PIXELS, strict=True))


def test_several_frames_per_call_count_as_much_as_one_after_the_other() -> None:
    ranges = ranges_of(as_prepared(tiny_prepared(*SIZE_HW)))
    told = []
    for batch, pixels in ((1, PIXELS), (3, [np.concatenate(PIXELS)])):
        model = as_prepared(tiny_prepared(*SIZE_HW, batch=batch))
        told.append(measure_corrections(model, quantize_onnx(model, ranges, dialect="s8-sym"), pixels))
    for alone, together in zip(*(one.values() for one in told), strict=True):
        assert np.frombuffer(together, "<f4") == pytest.approx(np.frombuffer(alone, "<f4"), abs=1e-3)


def test_a_bias_that_two_convolutions_share_is_changed_for_each_alone() -> None:
    graph = shared_weights().graph
    one, other = [conv for conv in graph if conv.op_type == "Conv"][2:4]
    assert one.inputs[2] is other.inputs[2]
    before = constant(one.inputs[2]).copy()
    add_to_biases(graph, {one.name or "": np.full(8, 0.5, "<f4").tobytes()})
    assert np.array_equal(constant(one.inputs[2]), before + np.float32(0.5))
    assert np.array_equal(constant(other.inputs[2]), before)
    assert one.inputs[1] is other.inputs[1]


@pytest.mark.parametrize(
    "corrections",
    [
        pytest.param({"nowhere": np.zeros(8, "<f4").tobytes()}, id="of a convolution that is not there"),
        pytest.param({"n0": np.zeros(7, "<f4").tobytes()}, id="of one with fewer channels"),
        pytest.param({"n0": np.zeros(1, "<f4").tobytes()}, id="of one channel, which would fit by broadcasting"),
        pytest.param({"n0": b"\0\0\0"}, id="of no whole number of values"),
        pytest.param({"n1": np.zeros(8, "<f4").tobytes()}, id="of a node that is no convolution"),
    ],
)
def test_corrections_of_another_graph_are_refused(corrections: Mapping[str, bytes]) -> None:
    model = prepared()
    assert (node(model, "n0").op_type, node(model, "n1").op_type) == ("Conv", "Clip")
    with pytest.raises(ModelFileError, match="of another graph"):
        quantize_onnx(model, ranges_of(model), dialect="u8-asym", recipe=Int8Recipe(corrections=dict(corrections)))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_corrections_are_followed_at_another_size(dialect: Dialect) -> None:
    model, larger = prepared(), as_prepared(tiny_prepared(64, 96))
    ranges = ranges_of(model)
    corrections = measure_corrections(model, quantize_onnx(model, ranges, dialect=dialect), PIXELS)
    plain, corrected = (
        quantize_onnx(larger, ranges, dialect=dialect, recipe=Int8Recipe(corrections=found))
        for found in ({}, corrections)
    )
    assert graph_sha256(plain) != graph_sha256(corrected)
