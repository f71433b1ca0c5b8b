"""Whether two engines answer alike, where no labels say which one is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgeseg.card import Upsampling
from edgeseg.evaluate.confusion import ConfusionMatrix
from edgeseg.evaluate.drop import COUNTING_SHARE, resample_blocks

__all__ = ["CONFIDENT", "MIN_CLASS_IOU", "MIN_CONFIDENT", "MIN_SHARE", "Agreement", "confidence_margin"]

ClassMap = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

#: A pixel is confident where the two best softmax values differ by at least this.
CONFIDENT = 0.3
#: Share of confident pixels that must be equal, and IoU against float that each class that counts must have.
MIN_SHARE, MIN_CLASS_IOU = 0.96, 0.80
#: With a smaller share of confident pixels than this, agreement on them tells nothing.
MIN_CONFIDENT = 0.01
#: Rows of full size that are worked on at once, so that memory stays small with many classes.
BAND = 64


@dataclass
class Agreement:
    """Pixels by a reference's class (rows) and another engine's (columns): every one, and the confident ones."""

    every: ConfusionMatrix
    confident: ConfusionMatrix
    frames: int = 0
    _by_frame: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def empty(cls, num_classes: int) -> Agreement:
        """No frame yet."""
        return cls(ConfusionMatrix.empty(num_classes), ConfusionMatrix.empty(num_classes))

    def update(self, reference: ClassMap, other: ClassMap, confident: npt.NDArray[np.bool_]) -> None:
        """Add one frame.

        Args:
            reference: `(H, W)` or `(pixels,)` uint8 classes by the float engine.
            other: Of the same shape, by the engine in question.
            confident: Of the same shape, where the float engine's margin is at least `CONFIDENT`.

        Raises:
            UsageError: Shapes differ, or an index is no class.
        """
        self.every.update(other, reference)
        sure, answer = reference[confident], other[confident]
        self.confident.update(answer, sure)
        self._by_frame.append((int((answer == sure).sum()), sure.size))
        self.frames += 1

    def share(self) -> float:
        """Share of all pixels with the same class, 0 to 1; NaN without any pixel."""
        return self.every.pixel_accuracy()

    def confident_share(self) -> float:
        """Share of the confident pixels with the same class, 0 to 1; NaN where none is confident."""
        return self.confident.pixel_accuracy()

    def confident_ci95(self, *, resamples: int = 2000, seed: int = 0) -> tuple[float, float] | None:
        """The 95 % interval of `confident_share` over blocks of frames, as in `miou_drop`; None with fewer than two."""
        if self.frames < 2 or not self.confident.counts.any():
            return None
        times = resample_blocks(self.frames, resamples, np.random.default_rng(seed))
        equal, sure = (times @ np.array(column, np.float64) for column in zip(*self._by_frame, strict=True))
        low, high = np.nanpercentile(
            np.divide(equal, sure, out=np.full(len(sure), np.nan), where=sure > 0), (2.5, 97.5)
        )
        return float(low), float(high)

    def confident_part(self) -> float:
        """Share of all pixels that the float engine is confident of, 0 to 1."""
        return float(self.confident.counts.sum() / max(1, int(self.every.counts.sum())))

    def class_iou(self, counting_share: float = COUNTING_SHARE) -> Float64:
        """`(C,)` IoU against the reference on confident pixels; NaN for classes with at most that share of them."""
        counting = self.confident.class_share() > counting_share
        return np.where(counting, self.confident.class_iou(), np.nan)

    def passes(self) -> bool:
        """Whether the engine answers as the reference does; never where too few pixels are confident to tell."""
        told = self.confident_part() >= MIN_CONFIDENT
        return told and self.confident_share() >= MIN_SHARE and not bool((self.class_iou() < MIN_CLASS_IOU).any())


def confidence_margin(
    logits: Float32,
    size_hw: tuple[int, int],
    upsampling: Upsampling,
    *,
    threshold: float = 0.0,
    probabilities: bool = False,
) -> Float32:
    """How far the best class is ahead of the second best.

    Args:
        logits: `(C, h, w)` float32. A single channel is class 1 above `threshold`, by a sigmoid around it.
        size_hw: Height and width to upsample the logits to, bilinearly.
        upsampling: Its coordinates.
        threshold: Of a single channel.
        probabilities: `logits` are probabilities already.

    Returns:
        `size_hw` float32: difference of the two largest softmax values, 0 to 1.
    """
    channels, height, width = logits.shape
    columns = _taps(width, size_hw[1], upsampling)
    margin = np.empty(size_hw, np.float32)
    for rows, band in _bands(_taps(height, size_hw[0], upsampling)):
        wide = _interpolate(_interpolate(logits, band, 1), columns, 2)
        margin[rows] = _one_margin(wide[0], threshold, probabilities) if channels == 1 else _margin(wide, probabilities)
    return margin


def _one_margin(channel: Float32, threshold: float, probabilities: bool) -> Float32:
    margin: Float32 = np.abs(2 * (channel - threshold) if probabilities else np.tanh((channel - threshold) / 2))
    return margin


def _margin(logits: Float32, probabilities: bool) -> Float32:
    """`(H, W)` from `(C, H, W)`."""
    best: Float32 = np.partition(logits, -2, axis=0)[-2:]
    if probabilities:
        ahead: Float32 = best[1] - best[0]
        return ahead
    total = np.exp(logits - best[1]).sum(0)
    margin: Float32 = (1 - np.exp(best[0] - best[1])) / total
    return margin


@dataclass(frozen=True)
class _Taps:
    """For each position of the output the two of the input that it lies between, and how near the second is."""

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    weight: Float32


def _taps(size: int, new_size: int, upsampling: Upsampling) -> _Taps:
    place = np.arange(new_size, dtype=np.float64)
    if upsampling == "align_corners":
        place *= (size - 1) / max(1, new_size - 1)
    elif upsampling == "half_pixel":
        place = (place + 0.5) * size / new_size - 0.5
    else:
        place *= size / new_size
    place = place.clip(0, size - 1)
    first = np.floor(place).astype(np.intp)
    return _Taps(first, np.minimum(first + 1, size - 1), (place - first).astype(np.float32))


def _bands(taps: _Taps) -> Iterator[tuple[slice, _Taps]]:
    for start in range(0, len(taps.first), BAND):
        rows = slice(start, start + BAND)
        yield rows, _Taps(taps.first[rows], taps.second[rows], taps.weight[rows])


def _interpolate(values: Float32, taps: _Taps, axis: int) -> Float32:
    weight = taps.weight[:, None] if axis == 1 else taps.weight
    first, second = values.take(taps.first, axis), values.take(taps.second, axis)
    return first + (second - first) * weight
