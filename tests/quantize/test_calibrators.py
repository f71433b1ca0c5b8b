"""Calibrators choose thresholds from histograms, by the dialect's symmetry."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnxruntime")

from edgeseg.card import Dialect
from edgeseg.errors import UsageError
from edgeseg.quantize.calibrators import CALIBRATORS, Threshold, thresholds
from edgeseg.quantize.histogram import TensorRange
from tests.quantize.tiny import ranges

DIALECTS: tuple[Dialect, ...] = ("u8-asym", "u8-asym-reduced", "s8-sym")
GAUSS = np.random.default_rng(0).normal(0, 1, 100_000).astype(np.float32)


def threshold(values: np.ndarray, calibrator: str, dialect: Dialect) -> Threshold:
    """Of a single tensor that held these values."""
    tensor = TensorRange.of(values.astype(np.float32))
    one = dataclasses.replace(ranges(), tensors={"x": tensor})
    return thresholds(one, calibrator, dialect)["x"]


@pytest.mark.parametrize("calibrator", [*CALIBRATORS, "percentile:99.9"])
@pytest.mark.parametrize("dialect", DIALECTS)
@given(values=st.lists(st.floats(-1e4, 1e4, width=32, allow_subnormal=False), min_size=1, max_size=300))
def test_thresholds_hold_zero_and_never_reach_beyond_what_was_seen(
    calibrator: str, dialect: Dialect, values: list[float]
) -> None:
    seen = np.asarray(values, np.float32)
    low, high = threshold(seen, calibrator, dialect)
    if dialect == "s8-sym":
        assert 0 <= -low == high <= np.abs(seen).max()
    else:
        assert min(0, seen.min()) <= low <= 0 <= high <= max(0, seen.max())


@pytest.mark.parametrize(
    ("values", "dialect", "expected"),
    [
        pytest.param([-1.5, 0.5, 3.25], "u8-asym", (-1.5, 3.25), id="both ends where zero need not be in the middle"),
        pytest.param([-1.5, 0.5, 3.25], "s8-sym", (-3.25, 3.25), id="the larger magnitude where it must"),
        pytest.param([2.0, 3.0], "u8-asym", (0.0, 3.0), id="zero where all values lie above"),
        pytest.param([-2.0, -3.0], "u8-asym", (-3.0, 0.0), id="zero where all values lie below"),
        pytest.param([0.0, 0.0], "s8-sym", (0.0, 0.0), id="nothing where all is zero"),
    ],
)
def test_minmax_covers_exactly(values: list[float], dialect: Dialect, expected: Threshold) -> None:
    assert threshold(np.asarray(values), "minmax", dialect) == expected


def test_percentile_of_symmetric_dialects_covers_that_share_of_magnitudes() -> None:
    low, high = threshold(GAUSS, "percentile:99", "s8-sym")
    covered = np.mean((low <= GAUSS) & (high >= GAUSS))
    assert 0.99 <= covered < 0.992


def test_percentile_of_asymmetric_dialects_cuts_the_same_at_both_ends() -> None:
    low, high = threshold(GAUSS, "percentile:99", "u8-asym")
    assert 0.004 < np.mean(low > GAUSS) <= 0.005
    assert 0.004 < np.mean(high < GAUSS) <= 0.005


def test_percentile_alone_means_99_99() -> None:
    assert threshold(GAUSS, "percentile", "s8-sym") == threshold(GAUSS, "percentile:99.99", "s8-sym")


def test_a_hundred_percent_are_minimum_and_maximum() -> None:
    assert threshold(GAUSS, "percentile:100", "u8-asym") == (GAUSS.min(), GAUSS.max())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_entropy_gives_up_a_lone_outlier(dialect: Dialect) -> None:
    low, high = threshold(np.append(GAUSS, 60.0), "entropy", dialect)
    assert 2.5 < high < 12
    assert low < -2.5


@pytest.mark.parametrize("dialect", DIALECTS)
def test_entropy_keeps_the_whole_of_an_even_spread(dialect: Dialect) -> None:
    even = np.linspace(-1, 1, 200_001)
    low, high = threshold(even, "entropy", dialect)
    assert (low, high) == pytest.approx((-1, 1), abs=0.05)


def test_entropy_is_not_misled_by_the_zeros_of_a_relu() -> None:
    relu = np.concatenate([np.abs(GAUSS), np.zeros(10 * GAUSS.size, np.float32)])
    assert threshold(relu, "entropy", "s8-sym")[1] > 2.5


SAMPLES = np.random.default_rng(1).normal(0, 1, 20_000)
SPREADS = {
    "values on both sides of zero": SAMPLES,
    "long tails on both sides": np.random.default_rng(2).standard_t(3, 20_000),
    "what Relu leaves": np.maximum(SAMPLES, 0),
    "values below zero alone": -(np.abs(SAMPLES) ** 1.5),
    "a long tail on one side and a short one on the other": np.random.default_rng(3).exponential(1, 20_000) - 0.3,
    "two heaps far apart": np.where(np.arange(20_000) < 50, 8 + SAMPLES, 0.1 * SAMPLES),
    "values cut at 6": np.clip(2 + 3 * SAMPLES, 0, 6),
}


def squared_error(values: np.ndarray, limits: Threshold, dialect: Dialect) -> float:
    """Mean over values that are quantized within these limits and dequantized."""
    low, high = limits
    least, most = (-127, 127) if dialect == "s8-sym" else (0, 255)
    scale = max((high - low) / (most - least), 1e-30)
    zero = 0 if dialect == "s8-sym" else np.rint(-low / scale)
    levels = np.clip(np.rint(values / scale) + zero, least, most)
    return float(np.mean(((levels - zero) * scale - values) ** 2))


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("dialect", ["u8-asym", "s8-sym"])
def test_mse_errs_no_more_than_the_best_limits_that_a_search_finds(dialect: Dialect, spread: str) -> None:
    values = SPREADS[spread].astype(np.float32)
    low, high = threshold(values, "minmax", dialect)
    shares = np.linspace(0.04, 1, 25)
    pairs = [(a, a) for a in shares] if dialect == "s8-sym" else [(a, b) for a in shares for b in shares]
    best = min(squared_error(values, (a * low, b * high), dialect) for a, b in pairs)
    assert squared_error(values, threshold(values, "mse", dialect), dialect) <= 1.03 * best


@pytest.mark.parametrize("dialect", DIALECTS)
def test_mse_gives_up_a_lone_outlier_among_millions(dialect: Dialect) -> None:
    many = np.tile(GAUSS, 20)
    for sign in (1, -1) if dialect != "s8-sym" else (1,):
        low, high = threshold(sign * np.append(many, 60.0), "mse", dialect)
        assert 4 < max(-low, high) < 25
        assert min(-low, high) > 3.5
    few_low, few_high = threshold(np.append(GAUSS[:1000], 60.0), "mse", dialect)
    assert few_high == pytest.approx(60, rel=0.02), "among a thousand it weighs more than all others"
    assert few_low < -2.5


@pytest.mark.parametrize("dialect", DIALECTS)
def test_mse_keeps_the_whole_of_an_even_spread(dialect: Dialect) -> None:
    assert threshold(np.linspace(-1, 1, 200_001), "mse", dialect) == (-1, 1)


@pytest.mark.parametrize("dialect", ["u8-asym", "s8-sym"])
@given(scale=st.integers(-40, 40))
def test_mse_follows_the_scale_of_the_values(dialect: Dialect, scale: int) -> None:
    low, high = threshold(GAUSS[:2000], "mse", dialect)
    assert threshold(np.ldexp(GAUSS[:2000], scale), "mse", dialect) == (np.ldexp(low, scale), np.ldexp(high, scale))


def test_mse_is_not_misled_by_the_zeros_of_a_relu() -> None:
    relu = np.maximum(GAUSS, 0)
    alone = threshold(relu[relu > 0], "mse", "s8-sym")
    assert threshold(np.append(relu, np.zeros(10 * relu.size)), "mse", "s8-sym") == alone


@pytest.mark.parametrize(
    ("calibrator", "message"),
    [
        pytest.param("minimax", "no calibrator 'minimax'", id="a name misspelt"),
        pytest.param("minmax:1", "takes no argument", id="an argument for a calibrator without one"),
        pytest.param("percentile:", "50 to 100 is possible", id="an argument left out after the colon"),
        pytest.param("percentile:much", "50 to 100 is possible", id="an argument that is no number"),
        pytest.param("percentile:nan", "50 to 100 is possible", id="an argument that is not a number by name"),
        pytest.param("percentile:101", "50 to 100 is possible", id="an argument out of range"),
    ],
)
def test_a_calibrator_that_is_none_is_refused(calibrator: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        thresholds(ranges(), calibrator, "u8-asym")


def test_a_misspelt_calibrator_is_told_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        thresholds(ranges(), "entropie", "u8-asym")
    assert "'entropy'" in caught.value.hint
