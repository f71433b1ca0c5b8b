"""Equalization: channels of like magnitudes, the same logits to the last bit, and less lost in eight bits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnxruntime")

import onnx_ir as ir

from edgeseg.card import Dialect, Int8Recipe
from edgeseg.errors import ModelFileError
from edgeseg.graph.runtime import open_graph
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.equalize import channel_peaks, equalize, find_equalization
from tests.graphs import GraphMaker, tiny_prepared
from tests.quantize.networks import HALF_HW, depthwise_and_pointwise, residual, shared_weights
from tests.quantize.tiny import SIZE_HW, as_prepared, constant, finished, frames, node, prepared, ranges_of, run, snr_db

PIXELS = frames(2, seed=3)


def spread_out(scale: float, factor: float) -> ir.Model:
    """Five convolutions whose channels were multiplied by up to `factor` times others, and divided where read."""
    m = GraphMaker(1)
    x = m.conv("pixels", 3, 16, 3, stride=2, act="relu")
    for _ in range(4):
        x = m.conv(x, 16, 16, 3, act="relu")
    model = finished(m, x, 16, HALF_HW)
    before = np.ones(3)
    convs = [one for one in model.graph if one.op_type == "Conv"]
    for conv in convs:
        after = scale * factor ** m.rng.uniform(0, 1, 16) if conv is not convs[-1] else np.ones(4)
        ratios = after[:, None, None, None] / before[:, None, None]
        arrays = [constant(conv.inputs[1]) * ratios, *(constant(bias) * after for bias in conv.inputs[2:])]
        for value, array in zip(conv.inputs[1:], arrays, strict=True):
            assert value is not None
            value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
        before = after
    return model


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4], ids=["tiny values", "values of pixels", "huge values"])
@pytest.mark.parametrize("dialect", ["u8-asym", "s8-sym"])
def test_what_channels_of_unlike_magnitude_lose_is_won_back(dialect: Dialect, scale: float) -> None:
    alike, unlike = spread_out(scale, 1), spread_out(scale, 100)
    assert run(unlike, PIXELS[0]) == pytest.approx(run(alike, PIXELS[0]), rel=1e-3, abs=1e-2)
    best = snr_db(quantize_onnx(alike, ranges_of(alike), dialect=dialect), alike)
    lost = snr_db(quantize_onnx(unlike, ranges_of(unlike), dialect=dialect), unlike)
    found = find_equalization(unlike, channel_peaks(unlike, PIXELS))
    recipe = Int8Recipe(equalized=True, equalization=found)
    ranges = ranges_of(equalize(unlike, found))
    won = snr_db(quantize_onnx(unlike, ranges, dialect=dialect, recipe=recipe), unlike)
    assert lost < best - 10
    assert won > lost + 10
    assert won > best - 5


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), decades=st.integers(0, 12))
def test_whatever_the_peaks_the_logits_stay_the_same(seed: int, decades: int) -> None:
    rng = np.random.default_rng(seed)
    for model in (residual(), prepared()):
        tensors = {value.name: value for one in model.graph for value in one.outputs if value.name and value.shape}
        peaks = {
            name: (10.0 ** rng.uniform(-decades, decades, value.shape[1])).astype(np.float32)
            for name, value in tensors.items()
        }
        equalized = equalize(model, find_equalization(model, peaks))
        assert np.array_equal(run(equalized, PIXELS[0]), run(model, PIXELS[0]))


def test_peaks_are_the_largest_magnitudes_of_all_frames_as_they_are_rounded() -> None:
    model = residual()
    peaks = channel_peaks(model, PIXELS)
    names = ("t1", "t3", "t6")
    session = open_graph(model, names)
    held = [session.run(names, {"pixels": pixels}) for pixels in PIXELS]
    for index, name in enumerate(names):
        whole = np.concatenate([answer[index] for answer in held])
        assert peaks[name] == pytest.approx(np.abs(whole).max((0, 2, 3)), rel=1e-6)
    assert not {"t0", "t5"} & set(peaks), "Relu cuts them before they are rounded"
    batched = as_prepared(tiny_prepared(*SIZE_HW, batch=2))
    together, apart = channel_peaks(batched, [np.concatenate(PIXELS)]), channel_peaks(prepared(), PIXELS)
    assert all(together[name] == pytest.approx(peak, rel=1e-5) for name, peak in apart.items())


def test_graphs_of_newer_operator_sets_have_peaks_too() -> None:
    model = depthwise_and_pointwise()
    expected = channel_peaks(model, PIXELS)
    model.opset_imports[""] = 18
    assert all(np.array_equal(peak, expected[name]) for name, peak in channel_peaks(model, PIXELS).items())


@pytest.mark.parametrize("scale", [1e-3, 1e4], ids=["among tiny ones", "among huge ones"])
@pytest.mark.parametrize("peak", [0.0, 1e-30], ids=["zero", "next to nothing"])
def test_a_channel_that_held_nothing_is_not_blown_up_for_other_frames(peak: float, scale: float) -> None:
    model = depthwise_and_pointwise()
    peaks = {name: np.full_like(found, scale) for name, found in channel_peaks(model, PIXELS).items()}
    peaks["t1"][3] = peak
    made = np.split(np.frombuffer(find_equalization(model, peaks)["n0"], np.int8), [3])[1].astype(int)
    assert made[3] >= made.max() - 16
    assert made[3] <= made.max() if peak else made[3] == made.max()


def test_an_equalization_fits_the_same_graph_at_another_size() -> None:
    small, large = prepared(), as_prepared(tiny_prepared(64, 80))
    equalization = find_equalization(small, channel_peaks(small, PIXELS))
    pixels = frames(1, size_hw=(64, 80))[0]
    equalized = equalize(large, equalization)
    assert np.array_equal(run(equalized, pixels), run(large, pixels))
    assert not np.array_equal(constant(node(equalized, "n10").inputs[1]), constant(node(large, "n10").inputs[1]))


def test_replaced_weights_are_not_kept_and_others_not_replaced() -> None:
    model = shared_weights()
    equalized = equalize(model, find_equalization(model, channel_peaks(model, PIXELS)))
    used = {value.name for one in equalized.graph for value in one.inputs if value is not None}
    assert set(equalized.graph.initializers) <= used
    plain = equalize(model, {name: bytes(len(told)) for name, told in find_equalization(model, {}).items()})
    assert ir.to_proto(plain).SerializeToString() == ir.to_proto(model).SerializeToString()
    assert ir.to_proto(equalize(model, {})).SerializeToString() == ir.to_proto(model).SerializeToString()


def _changed(found: dict[str, bytes], name: str, index: int) -> dict[str, bytes]:
    exponents = np.frombuffer(found[name], np.int8).copy()
    exponents[index] += 1
    return {**found, name: exponents.tobytes()}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda found: {**found, "nowhere": bytes(16)}, id="of a convolution that is not there"),
        pytest.param(lambda found: {**found, "n1": bytes(16)}, id="of a node that is no convolution"),
        pytest.param(lambda found: {**found, "n2": bytes(15)}, id="of a convolution with fewer channels"),
        pytest.param(lambda found: {name: found[name] for name in list(found)[:-1]}, id="without the last convolution"),
        pytest.param(lambda found: _changed(found, "n2", 0), id="what is read is not what was made"),
        pytest.param(lambda found: _changed(found, "n2", -1), id="the tensors of an addition differ"),
        pytest.param(lambda found: _changed(found, "n0", 0), id="pixels would be scaled"),
        pytest.param(lambda found: _changed(found, list(found)[-1], -1), id="logits would be scaled"),
    ],
)
def test_an_equalization_of_another_graph_is_refused(change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
    model = residual()
    found = find_equalization(model, channel_peaks(model, PIXELS))
    equalize(model, found)
    with pytest.raises(ModelFileError, match="equalization is of another graph"):
        equalize(model, change(found))


MEMORY = """
import resource, sys
import numpy as np
from edgeseg.quantize.correction import measure_corrections
from edgeseg.quantize.equalize import channel_peaks
from tests.graphs import GraphMaker
from tests.quantize.tiny import as_prepared, finished
from onnx import TensorProto, helper

m = GraphMaker()
x = m.conv("pixels", 3, 32, act="relu")
for _ in range(20):
    x = m.conv(x, 32, 32, act="relu")
m.node("Conv", x, m.constant(np.ones((4, 32, 1, 1), np.float32)), out="logits")
shapes = {"pixels": [1, 3, 256, 256], "logits": [1, 4, 256, 256]}
infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
model = as_prepared(m.model(infos[:1], infos[1:]))
pixels = [np.ones((1, 3, 256, 256), np.float32)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if sys.argv[1] == "peaks":
    channel_peaks(model, pixels)
else:
    measure_corrections(model, model, pixels)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("what", ["peaks", "corrections"])
def test_tensors_are_not_all_held_at_once(what: str) -> None:
    """Forty of 8 MB, of which a few are needed at a time."""
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run([sys.executable, "-c", MEMORY, what], cwd=root, capture_output=True, text=True)
    assert float(told.stdout or "nan") < 150, told.stderr
