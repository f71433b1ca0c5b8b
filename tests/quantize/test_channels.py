"""Which channels equalization scales, and which are left alone, by the operators between convolutions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx_ir as ir

from edgeseg.quantize.equalize import channel_peaks, equalize, find_equalization
from tests.quantize.networks import (
    HALF_HW,
    added_everywhere,
    clipped,
    computed_weights,
    concatenated,
    concatenated_rows,
    depthwise_and_pointwise,
    gated,
    in_groups,
    masked,
    over_channels,
    read_inside,
    residual,
    resized,
    shared_weights,
    through,
    transposed,
    unpooled,
)
from tests.quantize.tiny import frames, node, prepared, run

PIXELS = frames(2, seed=3)


def unlike_peaks(model: ir.Model) -> dict[str, np.ndarray]:
    """Peaks far apart in the place of those of any frame, so that whatever may be scaled is."""
    rng = np.random.default_rng(0)
    peaks = channel_peaks(model, PIXELS)
    return {name: np.exp2(rng.uniform(-6, 6, peak.shape)).astype(np.float32) for name, peak in peaks.items()}


def exponents_of(model: ir.Model) -> dict[str, list[np.ndarray]]:
    """By convolution the exponents of the channels that it reads and of those that it makes."""
    told = {}
    for name, exponents in find_equalization(model, unlike_peaks(model)).items():
        image = node(model, name).inputs[0]
        assert image is not None and image.shape is not None
        told[name] = np.split(np.frombuffer(exponents, np.int8), [image.shape[1]])
    return told


@pytest.mark.parametrize(
    ("network", "scaled"),
    [
        pytest.param(through("Relu"), "n0 n3", id="Relu"),
        pytest.param(through("LeakyRelu", alpha=0.3), "n0 n3", id="LeakyRelu"),
        pytest.param(through("MaxPool", HALF_HW, kernel_shape=[2, 2], strides=[2, 2]), "n0 n3", id="MaxPool"),
        pytest.param(
            through("AveragePool", kernel_shape=[3, 3], pads=[1] * 4), "n0 n3", id="AveragePool over a border"
        ),
        pytest.param(resized(mode="linear"), "n0 n3", id="bilinear Resize"),
        pytest.param(resized(mode="nearest"), "n0 n3", id="nearest Resize"),
        pytest.param(clipped(0.0), "n0 n2", id="Clip at zero alone"),
        pytest.param(clipped(0.0, float("inf")), "n0 n2", id="Clip at zero and infinity"),
        pytest.param(depthwise_and_pointwise, "n0 n2 n4", id="depthwise and pointwise"),
        pytest.param(in_groups, "n0 n2 n4", id="convolutions in groups"),
        pytest.param(residual, "n0 n2 n4 n7", id="residual additions"),
        pytest.param(added_everywhere, "n0 n3 n5", id="pooled values added to all places"),
        pytest.param(concatenated, "n0 n2 n5", id="Concat of channels, of one tensor twice"),
        pytest.param(shared_weights, "n0 n2 n4 n6", id="weights that two convolutions share"),
        pytest.param(clipped(0.0, 6.0), "n2", id="Clip from 0 to 6 pins"),
        pytest.param(clipped(-1.0), "n2", id="Clip below zero pins"),
        pytest.param(clipped(None, 6.0), "n2", id="Clip from above alone pins"),
        pytest.param(through("Sigmoid"), "n3", id="Sigmoid pins"),
        pytest.param(through("Softmax", axis=1), "n3", id="Softmax pins"),
        pytest.param(concatenated_rows, "n5", id="Concat of rows pins"),
        pytest.param(
            resized(mode="linear", coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=9.0),
            "n3",
            id="Resize that adds a border of its own pins",
        ),
        pytest.param(gated, "n3 n8", id="a gate pins what it multiplies, and not inside"),
        pytest.param(transposed, "n3", id="a transposed convolution pins"),
        pytest.param(unpooled, "n0 n6", id="MaxUnpool pins, and not before its MaxPool"),
        pytest.param(over_channels, "n8", id="a convolution over channels pins"),
        pytest.param(masked, "n5", id="truth values pin"),
        pytest.param(read_inside, "n8", id="a graph inside of a node pins"),
        pytest.param(computed_weights, "n12", id="computed weights and biases pin"),
        pytest.param(prepared, "n10 n13 n17 n21", id="the tiny network, with Clip from 0 to 6 in its first half"),
    ],
)
def test_equalized_graphs_give_the_same_bits_and_scale_what_they_may(
    network: Callable[[], ir.Model], scaled: str
) -> None:
    model = network()
    before = ir.to_proto(model).SerializeToString()
    exponents = exponents_of(model)
    equalized = equalize(model, find_equalization(model, unlike_peaks(model)))
    for pixels in frames(2, seed=9):
        logits = run(model, pixels)
        assert np.isfinite(logits).all() and logits.any()
        assert np.array_equal(run(equalized, pixels), logits)
    assert " ".join(name for name, (_, made) in exponents.items() if made.any()) == scaled
    assert ir.to_proto(model).SerializeToString() == before


def test_tensors_that_meet_share_their_factors() -> None:
    exponents = exponents_of(residual())
    assert np.array_equal(exponents["n0"][1], exponents["n2"][1])
    assert np.array_equal(exponents["n4"][1], exponents["n2"][1])
    exponents = exponents_of(concatenated())
    parts = [exponents["n0"][1], exponents["n2"][1], exponents["n0"][1]]
    assert np.array_equal(exponents["n5"][0], np.concatenate(parts))


def test_input_and_logits_are_not_scaled() -> None:
    for network in (depthwise_and_pointwise, residual, prepared):
        exponents = list(exponents_of(network()).values())
        assert not exponents[0][0].any()
        assert not exponents[-1][1].any()
