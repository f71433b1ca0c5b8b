"""Calibrators: from the histogram of a tensor to the range that eight bits shall cover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.card import Dialect
from edgeseg.errors import UsageError, nearest
from edgeseg.quantize.histogram import BINS, TensorRange
from edgeseg.quantize.ranges import Ranges

__all__ = ["CALIBRATORS", "Calibrator", "Threshold", "is_symmetric", "thresholds"]

#: Lowest and highest value that are told apart; zero lies between them.
Threshold = tuple[float, float]
Counts = npt.NDArray[np.int64]

#: Limits that the entropy and the mse calibrator try per tensor, or per end of it.
CANDIDATES = 96


@dataclass(frozen=True)
class Calibrator:
    """One way to choose thresholds.

    Attributes:
        choose: From a tensor's range, the argument and whether zero must lie in the middle. What it gives is cut to
            the tensor's exact minimum and maximum, and mirrored for symmetric dialects.
        argument: Its default, None where the calibrator takes none.
        possible: Least and greatest argument.
    """

    choose: Callable[[TensorRange, float, bool], Threshold]
    argument: float | None = None
    possible: tuple[float, float] = (0.0, 0.0)


def thresholds(ranges: Ranges, calibrator: str, dialect: Dialect) -> dict[str, Threshold]:
    """The range that each tensor's eight bits shall cover.

    Args:
        ranges: As measured.
        calibrator: A name in `CALIBRATORS`, with its argument after a colon: `percentile:99.9`.
        dialect: Symmetric ones get the larger magnitude on both sides.

    Returns:
        By tensor, `low <= 0 <= high`.

    Raises:
        UsageError: There is no such calibrator, or its argument is none that it takes.
    """
    chosen, argument = _parse(calibrator)
    symmetric = is_symmetric(dialect)
    found = {}
    for name, tensor in ranges.tensors.items():
        low, high = chosen.choose(tensor, argument, symmetric)
        low, high = min(0.0, max(low, tensor.minimum)), max(0.0, min(high, tensor.maximum))
        found[name] = (-max(-low, high), max(-low, high)) if symmetric else (low, high)
    return found


def is_symmetric(dialect: Dialect) -> bool:
    """Whether zero lies in the middle of the dialect's eight bits."""
    return dialect == "s8-sym"


def _parse(text: str) -> tuple[Calibrator, float]:
    name, colon, given = text.partition(":")
    if name not in CALIBRATORS:
        raise UsageError(f"There is no calibrator '{name}'.", hint=nearest(name, CALIBRATORS))
    chosen = CALIBRATORS[name]
    if chosen.argument is None and colon:
        raise UsageError(f"Calibrator '{name}' takes no argument, but '{given}' was given.", hint=f"Type {name} alone.")
    least, greatest = chosen.possible
    try:
        argument = float(given) if colon else chosen.argument or 0.0
    except ValueError:
        argument = float("nan")
    if not least <= argument <= greatest:
        raise UsageError(f"'{given}' is no argument for {name}: {least:g} to {greatest:g} is possible.")
    return chosen, argument


def _minmax(tensor: TensorRange, _argument: float, _symmetric: bool) -> Threshold:
    return tensor.minimum, tensor.maximum


def _percentile(tensor: TensorRange, percent: float, symmetric: bool) -> Threshold:
    """Covers at least that share of the values; where zero need not be in the middle, cuts the same at both ends."""
    edges = tensor.edges()
    cut = int(tensor.count * (100 - percent) / 100)
    if symmetric:
        limit = float(edges[BINS // 2 :][_covering(_magnitudes(tensor), cut)])
        return -limit, limit
    low = edges[BINS - _covering(tensor.counts[::-1], cut // 2)]
    return float(low), float(edges[_covering(tensor.counts, cut // 2)])


def _entropy(tensor: TensorRange, _argument: float, symmetric: bool) -> Threshold:
    """The limit whose quantized distribution diverges least from the measured one (Migacz, GTC 2017)."""
    counts = _magnitudes(tensor) if symmetric else tensor.counts
    zero, levels = (0, 128) if symmetric else (BINS // 2, 256)
    held = np.flatnonzero(counts)
    first, last = int(held[0]), int(held[-1]) + 1
    if last - first <= levels:
        return tensor.minimum, tensor.maximum
    counts = counts.copy()
    # Zero is met exactly by every grid, so that its mass tells nothing of the limit.
    counts[zero] = counts[zero + 1]
    farthest = max(last - zero, zero - first)
    tried = np.unique(np.linspace(min(levels, farthest), farthest, CANDIDATES).astype(int))
    windows = [(max(first, zero - limit), min(last, zero + limit)) for limit in tried]
    losses = [_divergence(counts, start, end, levels) for start, end in windows]
    limit = float(tensor.edges()[BINS // 2 + 1] * tried[int(np.argmin(losses))])
    return -limit, limit


def _divergence(counts: Counts, start: int, end: int, levels: int) -> float:
    """Kullback-Leibler divergence between counts cut to a window and the same told apart in `levels` levels."""
    window = counts[start:end]
    if len(window) < levels:
        return float("inf")
    starts = np.arange(levels) * len(window) // levels
    level = np.repeat(np.arange(levels), np.diff(np.append(starts, len(window))))
    mean = np.add.reduceat(window, starts) / np.maximum(1, np.add.reduceat(window > 0, starts))
    told = np.where(window > 0, mean[level], 0.0)
    cut = window.astype(np.float64)
    cut[0] += counts[:start].sum()
    cut[-1] += counts[end:].sum()
    cut, told = cut / cut.sum(), np.maximum(told, 1e-4) / max(1.0, told.sum())
    held = cut > 0
    return float(np.sum(cut[held] * np.log(cut[held] / told[held])))


def _mse(tensor: TensorRange, _argument: float, symmetric: bool) -> Threshold:
    """The limits with the least mean squared error: what is cut off, and rounding by a twelfth of the squared step.

    Source: Banner, Nahshan, Soudry, "Post training 4-bit quantization of convolutional networks", NeurIPS 2019,
    section 3.1, with the measured distribution in the place of the assumed one. Zero, and what lies in the same bin,
    is met by every grid.
    """
    edges = tensor.edges()
    middles = (edges[:-1] + edges[1:]) / 2
    rounded = tensor.count - int(tensor.counts[BINS // 2])
    if symmetric:
        magnitudes, high = _magnitudes(tensor), max(-tensor.minimum, tensor.maximum)
        tried = _tried(high)
        rounded = tensor.count - int(magnitudes[0])
        errors = _cut_off(magnitudes, middles[BINS // 2 :], tried) + rounded * (tried / 127) ** 2 / 12
        limit = float(tried[int(np.argmin(errors))])
        return -limit, limit
    highs, lows = _tried(tensor.maximum), _tried(-tensor.minimum)
    above = _cut_off(tensor.counts, middles, highs)
    below = _cut_off(tensor.counts[::-1], -middles[::-1], lows)
    steps = (highs[:, None] + lows) / 255
    best = np.unravel_index(np.argmin(above[:, None] + below + rounded * steps**2 / 12), steps.shape)
    return -float(lows[best[1]]), float(highs[best[0]])


def _tried(most: float) -> npt.NDArray[np.float64]:
    """Limits from the farthest value inwards, so that among equals the one that cuts off least is taken."""
    return max(0.0, most) * np.arange(CANDIDATES, 0, -1) / CANDIDATES


def _cut_off(
    counts: Counts, middles: npt.NDArray[np.float64], limits: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Squared error of the values above each limit, summed; `middles` rise."""
    first = np.searchsorted(middles, limits, side="right")
    sums = [np.append(np.cumsum((counts * middles**power)[::-1])[::-1], 0.0)[first] for power in range(3)]
    error: npt.NDArray[np.float64] = sums[2] - 2 * limits * sums[1] + limits**2 * sums[0]
    return np.maximum(error, 0.0)


def _magnitudes(tensor: TensorRange) -> Counts:
    """`(BINS // 2,)`: values by their distance from zero."""
    return tensor.counts[BINS // 2 :] + tensor.counts[: BINS // 2][::-1]


def _covering(counts: Counts, cut: int) -> int:
    """How many of the first bins hold all values but at most `cut`."""
    return int(np.searchsorted(np.cumsum(counts), counts.sum() - cut)) + 1


CALIBRATORS: dict[str, Calibrator] = {
    "minmax": Calibrator(_minmax),
    "percentile": Calibrator(_percentile, 99.99, (50.0, 100.0)),
    "entropy": Calibrator(_entropy),
    "mse": Calibrator(_mse),
}
