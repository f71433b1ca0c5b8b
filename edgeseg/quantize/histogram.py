"""The range of one tensor: minimum, maximum, and a histogram that can be merged without loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "TensorRange"]

#: Bins of every histogram. Half of them lie on either side of zero.
BINS = 8192
#: The finest limit is 2 ** this. What lies below counts as zero for every purpose here.
FINEST = -100
#: Values that are binned at once, so that what is between the steps stays in the cache.
CHUNK = 1 << 16


@dataclass(frozen=True, eq=False)
class TensorRange:
    """What a tensor held on all frames.

    The histogram has `BINS` bins of equal width over `[-2 ** exponent, 2 ** exponent)`. Their edges are multiples of
    a power of two, so that the wider histogram of two is reached by adding pairs of bins: sums are exact, and the
    same in whatever order and parts the frames came.

    Attributes:
        minimum, maximum: Exact.
        exponent: Of the limit: the smallest, and at least `FINEST`, with every magnitude below `2 ** exponent`.
        counts: `(BINS,)` int64, values per bin.
    """

    minimum: float
    maximum: float
    exponent: int
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, values: npt.NDArray[np.float32], exponent: int = FINEST) -> TensorRange:
        """The range of one array, of any shape but not empty.

        Args:
            values: float32.
            exponent: Use a limit of at least `2 ** exponent`.

        Raises:
            ValueError: A value is not finite.
        """
        low, high = float(values.min()), float(values.max())
        if not np.isfinite((low, high)).all():
            raise ValueError(f"values from {low} to {high} are not finite")
        largest = max(-low, high, 2.0 ** (FINEST - 1))
        exponent = max(exponent, int(np.frexp(largest)[1]))
        return cls(low, high, exponent, _count(values.reshape(-1), exponent))

    @property
    def count(self) -> int:
        """How many values were seen."""
        return int(self.counts.sum())

    def edges(self) -> npt.NDArray[np.float64]:
        """`(BINS + 1,)` float64: the edges of the bins, rising; bin `i` holds `edges[i] <= value < edges[i + 1]`."""
        return np.ldexp(np.arange(-BINS // 2, BINS // 2 + 1, dtype=np.float64), self.exponent - BINS.bit_length() + 2)

    def __add__(self, other: TensorRange) -> TensorRange:
        exponent = max(self.exponent, other.exponent)
        counts = _widened(self.counts, exponent - self.exponent) + _widened(other.counts, exponent - other.exponent)
        low, high = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        return TensorRange(low, high, exponent, counts)


def _count(values: npt.NDArray[np.float32], exponent: int) -> npt.NDArray[np.int64]:
    """Values per bin. Scaling by a power of two and rounding down are exact in float32."""
    scale = np.float32(np.ldexp(1.0, BINS.bit_length() - 2 - exponent))
    scaled = np.empty(min(CHUNK, values.size), np.float32)
    bins = np.empty(scaled.size, np.intp)
    counts = np.zeros(BINS, np.int64)
    for start in range(0, values.size, CHUNK):
        chunk = values[start : start + CHUNK]
        part: npt.NDArray[Any] = scaled[: chunk.size]
        np.multiply(chunk, scale, out=part)
        np.floor(part, out=part)
        part += BINS // 2
        np.copyto(bins[: chunk.size], part, casting="unsafe")
        counts += np.bincount(bins[: chunk.size], minlength=BINS)
    return counts


def _widened(counts: npt.NDArray[np.int64], doublings: int) -> npt.NDArray[np.int64]:
    """The histogram of the same values with the limit doubled that many times."""
    for _ in range(min(doublings, BINS.bit_length())):
        pairs = counts.reshape(-1, 2).sum(1)
        counts = np.zeros(BINS, np.int64)
        counts[BINS // 4 : BINS * 3 // 4] = pairs
    return counts
