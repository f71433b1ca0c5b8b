"""Which blocks lose most in eight bits, and whether a quick look ranks them alike."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.card import Int8Recipe
from edgeseg.data.scene import Scene
from edgeseg.quantize.measure import measure_ranges
from edgeseg.quantize.probe import Probe
from edgeseg.quantize.sensitivity import (
    Variants,
    keep_also,
    measure_sensitivity,
    quick_frames,
    rank_blocks,
    rank_correlation,
)
from tests.graphs import GraphMaker
from tests.quantize.tiny import SIZE_HW, constant, finished, frames, node

CHANNELS = 8
INF = math.inf


def fragile(at: int) -> ir.Model:
    """Seven convolutions of three blocks; between the two from the `at`-th on, channels are spread by 1000.

    ReLU passes factors on, so that in float the function is that of like channels; one scale for all channels can't
    serve them.
    """
    m = GraphMaker(seed=2)
    y = m.conv("pixels", 3, CHANNELS, 3, act="relu")
    for _ in range(6):
        y = m.conv(y, CHANNELS, CHANNELS, 3, act="relu")
    model = finished(m, y, CHANNELS)
    factors = np.geomspace(1, 1000, CHANNELS).astype(np.float32)
    first, second = node(model, f"n{2 * at}"), node(model, f"n{2 * at + 2}")
    for value in first.inputs[1:]:
        assert value is not None
        value.const_value = ir.Tensor((constant(value).T * factors).T)
    weight = second.inputs[1]
    assert weight is not None
    weight.const_value = ir.Tensor(constant(weight) / factors[None, :, None, None])
    return model


@functools.cache
def opened(at: int) -> tuple[Variants, Probe]:
    """One scale for all channels, and four frames."""
    model = fragile(at)
    ranges = measure_ranges(model, frames(4), calibration_sha256="c" * 64, threads=1)
    variants = Variants(model, ranges, "u8-asym", Int8Recipe(per_tensor=True))
    scene = Scene(SIZE_HW, seed=3)
    return variants, Probe(model, [(scene.render(9 * index), None) for index in range(4)])


def in_eight_bits(model: ir.Model) -> list[str]:
    """Names of the convolutions whose weights are quantized."""
    return [
        one.name or ""
        for one in model.graph
        if one.op_type == "Conv" and (made := one.inputs[1] and one.inputs[1].producer()) is not None
        if made.op_type == "DequantizeLinear"
    ]


@pytest.mark.parametrize(("at", "block"), [(0, "n0"), (3, "n6"), (4, "n6")])
def test_a_block_that_is_fragile_on_purpose_ranks_first(at: int, block: str) -> None:
    variants, probe = opened(at)
    found = measure_sensitivity(variants, probe)
    first, second, _ = found.blocks
    assert first.block.name == block
    assert first.alone.snr_db is not None and second.alone.snr_db is not None
    assert first.alone.snr_db < second.alone.snr_db - 10
    gains = {one.block.name: one.left_out.snr_db or INF for one in found.blocks}
    assert max(gains, key=gains.__getitem__) == block
    assert found.all_int8.snr_db is not None
    assert gains[block] > found.all_int8.snr_db + 5


def test_a_quick_look_ranks_by_noise_alone() -> None:
    variants, probe = opened(3)
    found = measure_sensitivity(variants, probe)
    assert [one.block for one in found.blocks] == rank_blocks(variants, probe)
    assert [one.quick_db for one in found.blocks] == [one.alone.snr_db for one in found.blocks], "on the same frames"


def test_every_graph_is_told_of() -> None:
    variants, probe = opened(3)
    told: list[tuple[int, int]] = []
    measure_sensitivity(variants, probe, lambda done, of: told.append((done, of)))
    assert told == [(done, 7) for done in range(1, 8)]
    told.clear()
    rank_blocks(variants, probe, lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_one_block_is_quantized_alone_or_left_alone_in_float() -> None:
    variants, _ = opened(3)
    first, middle, last = variants.blocks
    assert in_eight_bits(variants.alone(middle)) == ["n6", "n8", "n10"]
    assert in_eight_bits(variants.without((middle,))) == ["n0", "n2", "n4", "n12"]
    assert in_eight_bits(variants.without((first, last))) == ["n6", "n8", "n10"]
    assert in_eight_bits(variants.without(())) == ["n0", "n2", "n4", "n6", "n8", "n10", "n12"]


@pytest.mark.parametrize(
    ("kept", "blocks"),
    [
        pytest.param((), ["n0", "n6", "n12"], id="nothing"),
        pytest.param(("n6", "n8", "n10"), ["n0", "n12"], id="a whole block, which is none any more"),
        pytest.param(("n6", "n8"), ["n0", "n6", "n12"], id="a part of one"),
    ],
)
def test_what_a_recipe_keeps_in_float_stays_there(kept: tuple[str, ...], blocks: list[str]) -> None:
    model = fragile(3)
    ranges = measure_ranges(model, frames(1), calibration_sha256="c" * 64, threads=1)
    variants = Variants(model, ranges, "u8-asym", Int8Recipe(keep_float=kept))
    assert [block.name for block in variants.blocks] == blocks
    assert not set(kept) & {*in_eight_bits(variants.without(())), *in_eight_bits(variants.alone(variants.blocks[0]))}


def test_keeping_more_forgets_nothing_of_a_recipe() -> None:
    recipe = Int8Recipe(calibrator="entropy", per_tensor=True, keep_float=("b",))
    assert keep_also(recipe, ["c", "a", "b"]) == Int8Recipe(
        calibrator="entropy", per_tensor=True, keep_float=("a", "b", "c")
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(0, [], id="none"),
        pytest.param(1, [0], id="one"),
        pytest.param(4, [0, 1, 2, 3], id="as many as are wanted"),
        pytest.param(7, [0, 1, 2, 3], id="not twice as many"),
        pytest.param(16, [0, 4, 8, 12], id="evenly spaced"),
        pytest.param(101, [0, 25, 50, 75], id="whatever is left over"),
    ],
)
def test_a_quick_look_takes_four_frames(count: int, expected: list[int]) -> None:
    assert list(quick_frames(count)) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param([1, 2, 3], [10, 200, 201], 1.0, id="the same order"),
        pytest.param([1, 2, 3], [3, 2, -5], -1.0, id="the opposite order"),
        pytest.param([1, 2, 3, 4], [1, 3, 2, 4], 0.8, id="two exchanged"),
        # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5 over the root of 4.5 times 5.
        pytest.param([1, 2, 2, 3], [1, 2, 3, 4], 4.5 / math.sqrt(4.5 * 5), id="ties share their mean rank"),
        pytest.param([7, 7, 7, 9], [0, 0, 0, 1], 1.0, id="ties in the same places"),
        pytest.param([1, INF, 2], [-INF, 5, 0], 1.0, id="infinite ones are ranked too"),
        pytest.param([1, 1, 1], [1, 2, 3], None, id="all equal"),
        pytest.param([1], [1], None, id="one"),
        pytest.param([], [], None, id="none"),
        pytest.param([1, math.nan], [1, 2], None, id="not a number"),
    ],
)
def test_rankings_are_correlated(first: Sequence[float], second: Sequence[float], expected: float | None) -> None:
    assert rank_correlation(first, second) == (expected if expected is None else pytest.approx(expected))
    assert rank_correlation(second, first) == (expected if expected is None else pytest.approx(expected))
