"""Augmentation of a frame and its mask, a pure function of a random generator."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.labels import VOID
from edgeseg.train.recipe import Augment

__all__ = ["augment"]

UInt8 = npt.NDArray[np.uint8]


def augment(frame: UInt8, mask: UInt8, settings: Augment, rng: np.random.Generator) -> tuple[UInt8, UInt8]:
    """A random crop of a randomly scaled, flipped and coloured frame.

    Args:
        frame: `(H, W, 3)` uint8, any channel order.
        mask: `(H, W)` uint8.
        settings: How strongly.
        rng: Decides everything; the same state gives the same result.

    Returns:
        Frame `(h, w, 3)` and mask `(h, w)` of the size `settings.crop_hw`.
    """
    frame, mask = _scale(frame, mask, rng.uniform(*settings.scale))
    frame, mask = _crop(frame, mask, settings.crop_hw, rng)
    if rng.random() < settings.flip:
        frame, mask = frame[:, ::-1], mask[:, ::-1]
    return _colour(frame, settings, rng), np.ascontiguousarray(mask)


def _scale(frame: UInt8, mask: UInt8, scale: float) -> tuple[UInt8, UInt8]:
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    resized = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8), np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _crop(frame: UInt8, mask: UInt8, crop_hw: tuple[int, int], rng: np.random.Generator) -> tuple[UInt8, UInt8]:
    height, width = crop_hw
    below, right = max(0, height - frame.shape[0]), max(0, width - frame.shape[1])
    if below or right:
        frame = np.pad(frame, ((0, below), (0, right), (0, 0)), constant_values=128)
        mask = np.pad(mask, ((0, below), (0, right)), constant_values=VOID)
    top = int(rng.integers(frame.shape[0] - height + 1))
    left = int(rng.integers(frame.shape[1] - width + 1))
    return frame[top : top + height, left : left + width], mask[top : top + height, left : left + width]


def _colour(frame: UInt8, settings: Augment, rng: np.random.Generator) -> UInt8:
    brightness, contrast, saturation = (
        1 + rng.uniform(-limit, limit) for limit in (settings.brightness, settings.contrast, settings.saturation)
    )
    image = frame.astype(np.float32) * brightness
    grey = image.mean(2, keepdims=True)
    image = grey + (image - grey) * saturation
    middle = grey.mean()
    image = middle + (image - middle) * contrast
    return np.asarray(np.clip(image, 0, 255), np.uint8)
