"""Percentiles, intervals and estimates against independent oracles: numpy, scipy, MLPerf's load generator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.bench.statistics import bootstrap_interval, early_stopping, least_samples, percentile

SAMPLES = st.lists(st.floats(0.01, 1e4, allow_nan=False), min_size=1, max_size=400).map(np.asarray)


@pytest.mark.parametrize(("percent", "least"), [(50, 20), (90, 100), (95, 200), (99, 1000), (99.9, 10_000)])
def test_a_percentile_is_told_where_ten_samples_lie_beyond_it(percent: float, least: int) -> None:
    assert least_samples(percent) == least
    assert percentile(np.ones(least - 1), percent) is None
    assert percentile(np.ones(least), percent) == 1


@given(SAMPLES, st.sampled_from([10, 50, 90, 95]))
def test_percentiles_are_those_of_numpy_or_none(samples: np.ndarray, percent: float) -> None:
    found = percentile(samples, percent)
    assert found is None or found == np.percentile(samples, percent)


def test_early_stopping_needs_64_samples_for_the_90th_percentile() -> None:
    samples = np.arange(64, dtype=np.float64)
    assert early_stopping(samples[:63]) is None
    assert early_stopping(samples) == 63
    assert early_stopping(np.arange(662.0), 99) == 661 and early_stopping(np.arange(661.0), 99) is None


@pytest.mark.parametrize("percent", [50.0, 90.0, 97.0, 99.0])
@pytest.mark.parametrize("count", [70, 700, 1024, 24_576])
def test_early_stopping_is_the_binomial_bound_of_scipy(count: int, percent: float) -> None:
    binom = pytest.importorskip("scipy.stats").binom
    beyond = int(sum(binom.cdf(np.arange(count), count, 1 - percent / 100) <= 0.01))
    allowed = beyond - 1
    samples = np.random.default_rng(count).permutation(count).astype(np.float64)
    assert early_stopping(samples, percent) == (count - allowed if allowed > 0 else None)


def test_an_estimate_lies_above_the_true_percentile_with_its_confidence() -> None:
    rng = np.random.default_rng(0)
    truth = -np.log(0.1)
    below = sum(float(early_stopping(rng.exponential(size=500)) or 0) < truth for _ in range(2000))
    assert below <= 0.01 * 2000 * 1.5


def test_an_interval_holds_the_true_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    holds = 0
    for seed in range(60):
        interval = bootstrap_interval(rng.exponential(size=300), 50, seed=seed)
        assert interval is not None
        holds += interval[0] <= np.log(2) <= interval[1]
    assert holds >= 52


def test_an_interval_of_samples_that_are_disturbed_together_holds_the_truth_too() -> None:
    """A machine that is slow and fast for fifty frames each: of single frames the interval is far too narrow."""
    rng, hold, single = np.random.default_rng(0), 0, 0
    for seed in range(40):
        samples = np.repeat(rng.exponential(size=80), 50)
        for block in (50, 1):
            interval = bootstrap_interval(samples, 50, block=block, seed=seed)
            assert interval is not None
            held = interval[0] <= np.log(2) <= interval[1]
            hold, single = (hold + held, single) if block > 1 else (hold, single + held)
    assert hold >= 32 > single


def test_what_lasts_widens_an_interval() -> None:
    """Samples that come in stretches of alike ones tell less than the same in any order."""
    rng = np.random.default_rng(1)
    lasting = np.repeat(rng.exponential(size=100), 10)
    apart = bootstrap_interval(rng.permutation(lasting), 50)
    together = bootstrap_interval(lasting, 50)
    assert apart is not None and together is not None
    assert together[1] - together[0] > 1.3 * (apart[1] - apart[0])


def test_too_few_samples_have_no_interval() -> None:
    assert bootstrap_interval(np.ones(19), 50) is None
