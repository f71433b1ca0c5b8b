"""What samples of latency allow to be said: percentiles, their intervals, and estimates that hold with confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["bootstrap_interval", "bootstrap_intervals", "early_stopping", "least_samples", "percentile"]

Floats = npt.NDArray[np.float64]
#: So many samples must lie beyond a percentile, for it to be told.
BEYOND = 10
#: Of the estimate by early stopping, as MLPerf Inference has it.
CONFIDENCE = 0.99
RESAMPLES = 200


def least_samples(percent: float) -> int:
    """Samples that a percentile needs: 20 for the 50th, 100 for the 90th, 1,000 for the 99th."""
    return math.ceil(round(BEYOND / (1 - percent / 100), 6))


def percentile(samples: Floats, percent: float) -> float | None:
    """A percentile by linear interpolation; None where there are fewer samples than it needs.

    Args:
        samples: `(N,)`, of any order.
        percent: Above 0 and below 100.
    """
    enough = len(samples) >= least_samples(max(percent, 100 - percent))
    return float(np.percentile(samples, percent)) if enough else None


def bootstrap_intervals(
    samples: Floats, percents: Sequence[float], *, block: int = 1, confidence: float = 0.95, seed: int = 0
) -> list[tuple[float, float] | None]:
    """Intervals of percentiles by the bootstrap, on blocks of neighbours, since what disturbs a machine lasts.

    The moving block bootstrap of Künsch (1989), with blocks of the cube root of N at least.

    Args:
        samples: `(N,)` in the order of measuring.
        percents: Above 0 and below 100.
        block: Samples that are disturbed alike; blocks are as long, but no longer than a tenth of all samples.
        confidence: Of the interval, below 1.
        seed: Of the resamples.

    Returns:
        The ends of each, None where the percentile itself is not told.
    """
    count = len(samples)
    told = [percent for percent in percents if percentile(samples, percent) is not None]
    if not told:
        return [None] * len(percents)
    length = max(round(count ** (1 / 3)), min(block, count // 10))
    blocks = math.ceil(count / length)
    rng = np.random.default_rng(seed)
    found = np.empty((RESAMPLES, len(told)))
    for index in range(RESAMPLES):
        begins = rng.integers(0, count - length + 1, blocks)
        chosen = (begins[:, None] + np.arange(length)).ravel()[:count]
        found[index] = np.percentile(samples[chosen], told)
    low, high = np.percentile(found, (50 * (1 - confidence), 50 * (1 + confidence)), axis=0)
    ends = dict(zip(told, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    return [ends.get(percent) for percent in percents]


def bootstrap_interval(samples: Floats, percent: float, *, block: int = 1, seed: int = 0) -> tuple[float, float] | None:
    """The same of one percentile."""
    return bootstrap_intervals(samples, (percent,), block=block, seed=seed)[0]


def early_stopping(samples: Floats, percent: float = 90.0) -> float | None:
    """A latency that, with 99 % confidence, is not below the percentile; None where there are too few samples (64 for
    the 90th).

    The early stopping of MLPerf Inference with a tolerance of 0: of N samples the t-th largest, t being the largest
    count for which so few beyond the true percentile would be improbable.

    Args:
        samples: `(N,)`, of any order.
        percent: Above 0 and below 100.
    """
    beyond = _allowed_beyond(len(samples), 1 - percent / 100)
    return float(np.partition(samples, -beyond)[-beyond]) if beyond else None


def _allowed_beyond(count: int, share: float) -> int:
    """The largest t for which P(X <= t) <= 1 - confidence, X being binomial of `count` and `share`; 0 for none."""
    total, allowed = 0.0, 0
    for beyond in range(count + 1):
        total += math.exp(_log_binomial(count, beyond, share))
        if total > 1 - CONFIDENCE:
            break
        allowed = beyond
    return allowed


def _log_binomial(count: int, hits: int, share: float) -> float:
    ways = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
    return ways + hits * math.log(share) + (count - hits) * math.log1p(-share)
