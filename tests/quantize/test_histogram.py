"""Histograms are exact, and the same in whatever parts and order values come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.quantize.histogram import BINS, FINEST, TensorRange

WHOLE = st.lists(st.integers(-4095, 4095), min_size=1, max_size=40)
REAL = st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=1, max_size=40)
ZERO = BINS // 2


def array(values: list[float]) -> np.ndarray:
    return np.asarray(values, np.float32)


def same(one: TensorRange, other: TensorRange) -> bool:
    limits = (one.minimum, one.maximum, one.exponent) == (other.minimum, other.maximum, other.exponent)
    return limits and bool(np.array_equal(one.counts, other.counts))


@given(WHOLE)
def test_whole_numbers_are_counted_as_numpy_counts_them(values: list[int]) -> None:
    found = TensorRange.of(array(values), exponent=12)
    assert np.array_equal(found.counts, np.bincount(np.asarray(values) + ZERO, minlength=BINS))
    assert (found.minimum, found.maximum, found.count) == (min(values), max(values), len(values))


@given(REAL)
def test_every_value_lies_in_the_bin_whose_edges_hold_it(values: list[float]) -> None:
    found = TensorRange.of(array(values))
    assert np.array_equal(found.counts, np.histogram(array(values).astype(np.float64), found.edges())[0])


@given(REAL)
def test_the_limit_is_the_smallest_power_of_two_above_all_magnitudes(values: list[float]) -> None:
    found = TensorRange.of(array(values))
    largest = float(np.abs(array(values)).max())
    assert largest < 2.0**found.exponent
    assert found.exponent == FINEST or largest >= 2.0 ** (found.exponent - 1)


@given(st.lists(REAL, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_merging_is_exact_and_independent_of_order(parts: list[list[float]], random: object) -> None:
    whole = TensorRange.of(array([value for part in parts for value in part]))
    forward = sum_of([TensorRange.of(array(part)) for part in parts])
    shuffled = parts.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    backward = sum_of([TensorRange.of(array(part)) for part in shuffled])
    assert same(forward, whole)
    assert same(backward, whole)


@given(REAL, REAL)
def test_a_wider_limit_given_beforehand_changes_nothing_in_the_sum(first: list[float], second: list[float]) -> None:
    before = TensorRange.of(array(first))
    assert same(before + TensorRange.of(array(second), before.exponent), TensorRange.of(array(second)) + before)


def sum_of(ranges: list[TensorRange]) -> TensorRange:
    total = ranges[0]
    for one in ranges[1:]:
        total = total + one
    return total


def test_more_values_than_one_chunk_are_all_counted() -> None:
    values = np.random.default_rng(0).normal(0, 3, (1, 7, 123, 211)).astype(np.float32)
    found = TensorRange.of(values)
    assert np.array_equal(found.counts, np.histogram(values.astype(np.float64), found.edges())[0])


def test_zeros_alone_take_the_finest_limit_and_merge_into_any_other() -> None:
    zeros = TensorRange.of(np.zeros(5, np.float32))
    assert (zeros.minimum, zeros.maximum, zeros.exponent) == (0.0, 0.0, FINEST)
    both = zeros + TensorRange.of(array([-1.0, 3.0]))
    assert (both.exponent, both.count, both.counts[ZERO]) == (2, 7, 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        TensorRange.of(array([0.0, bad, 1.0]))
