"""Copy-paste of rare classes from one labelled frame into another."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["paste_objects"]

UInt8 = npt.NDArray[np.uint8]
#: Chance of each object to be taken along.
KEPT = 0.5


def paste_objects(
    target: tuple[UInt8, UInt8], source: tuple[UInt8, UInt8], classes: tuple[int, ...], rng: np.random.Generator
) -> tuple[UInt8, UInt8]:
    """Put objects of the rare classes of `source` where they stand, over `target`.

    An object is a connected region of pixels of these classes, so that a bicyclist keeps the pole that stands in
    front; each is taken with a chance of one half. Source: Ghiasi et al., "Simple Copy-Paste", CVPR 2021, without
    its blending.

    Args:
        target: Frame `(H, W, 3)` and mask `(H, W)`, uint8.
        source: The same of another frame, of the same size.
        classes: Ids of the rare classes.
        rng: Decides which objects.

    Returns:
        A new frame and mask, or those of `target` where there is nothing to paste.
    """
    wanted = np.isin(source[1], classes)
    count, regions = cv2.connectedComponents(wanted.astype(np.uint8))
    taken = rng.random(count) < KEPT
    taken[0] = False
    if not taken.any():
        return target
    pasted = taken[regions]
    return np.where(pasted[..., None], source[0], target[0]), np.where(pasted, source[1], target[1])
