"""Batches for training, the same for the same seed, wherever a run was interrupted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgeseg.data.labelled import LabelledFrames
from edgeseg.train.augment import augment
from edgeseg.train.recipe import Augment

__all__ = ["class_frequency", "normalize", "training_batches", "validation_batches"]

CACHED_BYTES = 2 << 30


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Augmented samples, each a pure function of seed, epoch and index. Small data sets stay in memory."""

    def __init__(self, frames: LabelledFrames, settings: Augment, seed: int) -> None:
        self.frames, self.settings, self.seed, self.epoch = frames, settings, seed, 0
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._cached = 0

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        frame, mask = self._read(index)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        frame, mask = augment(frame, mask, self.settings, rng)
        return torch.from_numpy(np.ascontiguousarray(frame[..., ::-1])), torch.from_numpy(mask)

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index not in self._cache:
            frame, mask = self.frames.read(index)
            if self._cached > CACHED_BYTES:
                return frame, mask
            self._cache[index] = frame, mask
            self._cached += frame.nbytes + mask.nbytes
        return self._cache[index]


def normalize(frames: Tensor) -> Tensor:
    """`(N, H, W, 3)` uint8 RGB to `(N, 3, H, W)` float32 `(x - 128) / 128`, channels last in memory."""
    return frames.permute(0, 3, 1, 2).to(torch.float32).sub_(128).div_(128)


def training_batches(
    samples: Samples, *, batch: int, epoch: int, skip: int = 0, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one epoch in their shuffled order, without the first `skip`; the last partial one is dropped.

    Yields:
        Frames `(batch, h, w, 3)` uint8 RGB and masks `(batch, h, w)` uint8.
    """
    samples.epoch = epoch
    order = np.random.default_rng((samples.seed, epoch)).permutation(len(samples)).tolist()
    loader = DataLoader(
        samples, batch_size=batch, sampler=order[skip * batch :], num_workers=workers, drop_last=True, pin_memory=False
    )
    yield from ((frames, masks) for frames, masks in loader)


def validation_batches(frames: LabelledFrames) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Each frame `(1, H, W, 3)` uint8 RGB with its mask `(H, W)` uint8, unchanged and in order."""
    for frame, mask in frames:
        yield torch.from_numpy(np.ascontiguousarray(frame[None, ..., ::-1])), mask


def class_frequency(frames: LabelledFrames) -> np.ndarray:
    """Share of the labelled pixels that each class has, `(num_classes,)`, summing to 1."""
    counts = np.zeros(256, np.int64)
    for _, mask in frames:
        counts += np.bincount(mask.ravel(), minlength=256)
    scored = counts[: frames.num_classes]
    return np.asarray(scored / max(1, int(scored.sum())))
