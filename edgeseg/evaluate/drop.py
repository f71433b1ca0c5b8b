"""How much accuracy one engine loses against another, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.evaluate.confusion import ConfusionMatrix

__all__ = ["COUNTING_SHARE", "MiouDrop", "miou_drop", "resample_blocks"]

Float64 = npt.NDArray[np.float64]

#: A class is judged by itself where more than this share of the pixels is its own.
COUNTING_SHARE = 0.01


@dataclass(frozen=True)
class MiouDrop:
    """mIoU of a reference and of another engine on the same frames, fractions of 1.

    Attributes:
        frames: How many.
        drop: `float_miou - miou`, negative for a gain.
        drop_ci95: Its 95 % interval over frames; None with fewer than two.
        class_drop: `(C,)` drops of IoU, NaN for classes that are too small to count.
        small_class_drop: `(C,)` drops of IoU of these; NaN for all others, and for classes that do not occur.
    """

    frames: int
    float_miou: float
    miou: float
    drop: float
    drop_ci95: tuple[float, float] | None
    class_drop: Float64
    small_class_drop: Float64


def miou_drop(
    reference: Sequence[ConfusionMatrix],
    other: Sequence[ConfusionMatrix],
    *,
    counting_share: float = COUNTING_SHARE,
    resamples: int = 2000,
    seed: int = 0,
) -> MiouDrop:
    """Compare two engines frame by frame.

    The interval is a paired bootstrap over blocks of consecutive frames, since neighbours in a video show the
    same scene; a block is as long as the square root of the number of frames.

    Args:
        reference: Of the float engine, one matrix per frame.
        other: Of the engine in question, on the same frames in the same order.
        counting_share: A class counts with more than this share of the labelled pixels, 0 to 1.
        resamples: Of the bootstrap.
        seed: Of the bootstrap; the same seed gives the same interval.

    Raises:
        UsageError: There is no frame, the numbers differ, or no pixel is labelled.
    """
    if not reference or len(reference) != len(other):
        raise UsageError(f"{len(reference)} and {len(other)} frames can't be compared; equal numbers above 0 can.")
    first, second = (sum(matrices, ConfusionMatrix.empty(len(reference[0].counts))) for matrices in (reference, other))
    if not first.counts.any():
        raise UsageError("The frames have no labelled pixel; all are void.")
    drop = first.miou() - second.miou()
    counting = first.class_share() > counting_share
    lost = first.class_iou() - second.class_iou()
    ci95 = _interval(reference, other, resamples, seed) if len(reference) > 1 else None
    return MiouDrop(
        frames=len(reference),
        float_miou=first.miou(),
        miou=second.miou(),
        drop=drop,
        drop_ci95=ci95,
        class_drop=np.where(counting, lost, np.nan),
        small_class_drop=np.where(counting, np.nan, lost),
    )


def _interval(
    reference: Sequence[ConfusionMatrix], other: Sequence[ConfusionMatrix], resamples: int, seed: int
) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of the drop over resampled frames."""
    times = resample_blocks(len(reference), resamples, np.random.default_rng(seed))
    mious = [_mious(times, matrices) for matrices in (reference, other)]
    low, high = np.nanpercentile(mious[0] - mious[1], (2.5, 97.5))
    return float(low), float(high)


def resample_blocks(frames: int, resamples: int, rng: np.random.Generator) -> Float64:
    """How often each frame is drawn, `(resamples, frames)`: whole blocks of neighbours, wrapping round at the end."""
    length = round(frames**0.5)
    blocks = -(-frames // length)
    starts = rng.integers(frames, size=(resamples, blocks, 1))
    drawn = ((starts + np.arange(length)) % frames).reshape(resamples, -1)[:, :frames]
    times = np.zeros((resamples, frames))
    np.add.at(times, (np.arange(resamples)[:, None], drawn), 1)
    return times


def _mious(times: Float64, matrices: Sequence[ConfusionMatrix]) -> Float64:
    """mIoU of each resample over the classes in its labels, `(resamples,)`; NaN for one without any labelled pixel."""
    counts = np.stack([matrix.counts for matrix in matrices]).astype(np.float64)
    hits = times @ np.diagonal(counts, axis1=1, axis2=2)
    union = times @ (counts.sum(1) + counts.sum(2)) - hits
    occurring = times @ counts.sum(2) > 0
    total = np.divide(hits, union, out=np.zeros_like(hits), where=occurring).sum(1)
    mious: Float64 = np.divide(total, occurring.sum(1), out=np.full(len(total), np.nan), where=occurring.any(1))
    return mious
