"""Confusion matrices and intersection over union."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.labels import VOID

__all__ = ["ConfusionMatrix"]

ClassMap = npt.NDArray[np.uint8]


@dataclass
class ConfusionMatrix:
    """Pixels by label (rows) and prediction (columns), summed over frames.

    Sums are exact and mergeable; scores are those of the whole set, not a mean over frames.
    """

    counts: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, num_classes: int) -> ConfusionMatrix:
        """A matrix of zeros, `(num_classes, num_classes)`."""
        return cls(np.zeros((num_classes, num_classes), np.int64))

    def update(self, prediction: ClassMap, label: ClassMap) -> None:
        """Add one frame.

        Args:
            prediction: `(H, W)` uint8 class indices.
            label: `(H, W)` uint8 class indices; pixels with 255 are left out.

        Raises:
            UsageError: Shapes differ, or an index is no class.
        """
        if prediction.shape != label.shape:
            raise UsageError(f"The prediction is {prediction.shape}, the label {label.shape}; they must be equal.")
        classes = len(self.counts)
        scored = label != VOID
        truth, guess = label[scored], prediction[scored]
        highest = max(int(truth.max(initial=0)), int(guess.max(initial=0)))
        if highest >= classes:
            raise UsageError(f"Found class {highest}, but there are {classes} classes.")
        flat = truth.astype(np.int64) * classes + guess
        self.counts += np.bincount(flat, minlength=classes * classes).reshape(classes, classes)

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        return ConfusionMatrix(self.counts + other.counts)

    def class_iou(self) -> npt.NDArray[np.float64]:
        """IoU per class, 0 to 1; NaN for a class in neither labels nor predictions."""
        hits = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - np.diag(self.counts)
        iou = np.full(len(hits), np.nan)
        np.divide(hits, union, out=iou, where=union > 0)
        return iou

    def miou(self) -> float:
        """Mean IoU over the classes that occur in the labels, 0 to 1; NaN without any pixel.

        A class that is only predicted lowers the IoU of those that it takes pixels from, and has no part of its own:
        else a single stray pixel would change what the mean is over.
        """
        labelled = self.counts.sum(1) > 0
        return float(self.class_iou()[labelled].mean()) if labelled.any() else float("nan")

    def pixel_accuracy(self) -> float:
        """Share of scored pixels with the right class, 0 to 1; NaN without any pixel."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float("nan")

    def class_share(self) -> npt.NDArray[np.float64]:
        """Share of scored pixels that each class has in the labels, 0 to 1."""
        share: npt.NDArray[np.float64] = self.counts.sum(1) / max(1, int(self.counts.sum()))
        return share
