"""Class maps out of logits, and how sure the network is of them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.card import Card, Upsampling, tail_size
from edgeseg.errors import UsageError

__all__ = ["ConfidentAnswers"]

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class ConfidentAnswers:
    """Picks classes as the engine's own tail does, and tells how far ahead they are.

    Attributes:
        confidence: `(h, w)` float32 at the size where classes are picked: the best class's softmax, 0 to 1, of the
            last frame.
        margin: Of the same shape: its lead over the second best.
    """

    def __init__(self, card: Card, logits_shape: tuple[int, ...], unknown_below: float | None = None) -> None:
        """Make all buffers.

        Args:
            card: Of the engine.
            logits_shape: Of one frame: `(C, h, w)`.
            unknown_below: Pixels of less confidence than this, 0 to 1, are 255; None leaves all.

        Raises:
            UsageError: The shape is none of logits.
        """
        if len(logits_shape) != 3:
            raise UsageError(f"Logits of one frame are (C, h, w); these are {logits_shape}.")
        channels, height, width = logits_shape
        self._card, self._unknown_below = card, unknown_below
        size_hw = card.fixed_size_hw
        at = tail_size(size_hw, (height, width), card.upsample)
        self._resize = _Resize((height, width), at, card.upsampling, channels)
        self._powers = np.empty((channels, *at), np.float32)
        self.confidence, self.margin, self._second = (np.empty(at, np.float32) for _ in range(3))
        self._picked, self._mask = np.empty(at, np.uint8), np.empty(at, np.uint8)
        self._out = np.empty(size_hw, np.uint8)
        rows, columns = (_nearest(of, new, card.upsampling) for of, new in zip(at, size_hw, strict=True))
        self._places = rows[:, None] * at[1] + columns

    def class_map(self, logits: Float32, out: UInt8 | None = None) -> tuple[UInt8, float]:
        """The class map of one frame, and the mean of its `margin`, 0 to 1.

        Args:
            logits: `(C, h, w)` float32.
            out: `(H, W)` uint8 of the network's size to write to; without it the class map is valid until the next
                call.
        """
        planes = self._resize(logits)
        if len(planes) == 1:
            self._pick_one(planes[0])
        else:
            self._pick_best(planes)
        if self._unknown_below is not None:
            np.less(self.confidence, self._unknown_below, out=self._mask.view(np.bool_))
            np.negative(self._mask, out=self._mask)
            np.maximum(self._picked, self._mask, out=self._picked)
        out = self._out if out is None else out
        if self._picked.shape == out.shape:
            np.copyto(out, self._picked)
        else:
            np.take(self._picked, self._places, out=out, mode="clip")
        return out, float(self.margin.mean())

    def _pick_one(self, plane: Float32) -> None:
        """Class 1 is above the threshold, by a sigmoid around it."""
        np.greater(plane, self._card.threshold, out=self._picked.view(np.bool_))
        np.subtract(plane, self._card.threshold, out=self.margin)
        if self._card.probabilities:
            self.margin *= 2
        else:
            self.margin /= 2
            np.tanh(self.margin, out=self.margin)
        np.abs(self.margin, out=self.margin)
        np.minimum(self.margin, 1, out=self.margin)
        np.add(self.margin, 1, out=self.confidence)
        self.confidence /= 2

    def _pick_best(self, planes: Float32) -> None:
        """The first of the best classes; `numpy.argmax` takes as long as all of this."""
        best, lower = self.confidence, self._powers[0]
        np.copyto(best, planes[0])
        self._second.fill(-np.inf)
        self._picked.fill(0)
        for index, plane in enumerate(planes[1:], 1):
            cv2.compare(plane, best, cv2.CMP_GT, dst=self._mask)
            # Indices rise, so that the class found last is the largest.
            np.bitwise_and(self._mask, np.uint8(index), out=self._mask)
            np.maximum(self._picked, self._mask, out=self._picked)
            cv2.min(plane, best, dst=lower)
            cv2.max(self._second, lower, dst=self._second)
            cv2.max(best, plane, dst=best)
        if self._card.probabilities:
            np.subtract(best, self._second, out=self.margin)
        else:
            self._softmax(planes)

    def _softmax(self, planes: Float32) -> None:
        """From the two best logits, in `confidence` and `_second`, to the best's confidence and margin."""
        np.subtract(planes, self.confidence, out=self._powers)
        np.subtract(self._second, self.confidence, out=self._second)
        for powers in (self._powers.reshape(len(planes), -1), self._second):
            cv2.exp(powers, dst=powers)
        np.sum(self._powers, axis=0, out=self.confidence)
        np.divide(1, self.confidence, out=self.confidence)
        np.subtract(1, self._second, out=self.margin)
        self.margin *= self.confidence


class _Resize:
    """Bilinear resize of planes, as ONNX defines it for each kind of coordinates."""

    def __init__(
        self, size_hw: tuple[int, int], new_hw: tuple[int, int], upsampling: Upsampling, channels: int
    ) -> None:
        self._grown: Float32 | None = np.empty((channels, *new_hw), np.float32) if new_hw != size_hw else None
        self._matrices: tuple[Float32, Float32] | None = None
        if upsampling != "half_pixel":
            rows, columns = (_bilinear(of, new, upsampling) for of, new in zip(size_hw, new_hw, strict=True))
            self._matrices = rows, np.ascontiguousarray(columns.T)
            self._tall = np.empty((channels, new_hw[0], size_hw[1]), np.float32)

    def __call__(self, planes: Float32) -> Float32:
        """`(C, H, W)` float32 from `(C, h, w)`, in a buffer of its own; `planes` themselves where sizes are equal."""
        if self._grown is None:
            return planes
        if self._matrices is None:
            size = self._grown.shape[:0:-1]
            for plane, grown in zip(planes, self._grown, strict=True):
                cv2.resize(plane, size, dst=grown, interpolation=cv2.INTER_LINEAR)
        else:
            np.matmul(self._matrices[0], planes, out=self._tall)
            np.matmul(self._tall, self._matrices[1], out=self._grown)
        return self._grown


def _places(size: int, new_size: int, upsampling: Upsampling) -> Float64:
    """For each position of the output, where it lies in the input."""
    place = np.arange(new_size, dtype=np.float64)
    if upsampling == "align_corners":
        return place * (size - 1) / max(1, new_size - 1)
    if upsampling == "half_pixel":
        return (place + 0.5) * size / new_size - 0.5
    return place * size / new_size


def _nearest(size: int, new_size: int, upsampling: Upsampling) -> npt.NDArray[np.intp]:
    """For each position of the output, the input's nearest; of two the lower."""
    return np.ceil(_places(size, new_size, upsampling) - 0.5).clip(0, size - 1).astype(np.intp)


def _bilinear(size: int, new_size: int, upsampling: Upsampling) -> Float32:
    """Weights `(new_size, size)` of the input's positions in each of the output's."""
    place = _places(size, new_size, upsampling).clip(0, size - 1)
    weights: Float32 = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(size))).astype(np.float32)
    return weights
