"""Whether labels can be those of a network's classes at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeseg.errors import UsageError
from edgeseg.evaluate.confusion import ConfusionMatrix

__all__ = ["labels_fit"]


def labels_fit(matrix: ConfusionMatrix, classes: Sequence[str]) -> None:
    """Refuse labels that a float network answers worse than one class everywhere would: nothing can be lost on them.

    Args:
        matrix: Of the float network on all frames.
        classes: Names in the order of their indices.

    Raises:
        UsageError: They are of other classes, or of other frames.
    """
    commonest = int(matrix.class_share().argmax())
    constant = ConfusionMatrix(np.zeros_like(matrix.counts))
    constant.counts[:, commonest] = matrix.counts.sum(1)
    if matrix.miou() < constant.miou():
        raise UsageError(
            f"On these labels the float network has mIoU {100 * matrix.miou():.2f}, and '{classes[commonest]}' "
            f"everywhere would have {100 * constant.miou():.2f}: they are labels of other classes or of other "
            "frames, or it is hardly trained.",
            hint=f"Label the frames with the ids of {', '.join(f'{i} {name}' for i, name in enumerate(classes))}.",
        )
