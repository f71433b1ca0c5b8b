"""Batches for training, the same for the same seed, wherever a run was interrupted."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from edgeseg.data.images import read_mask
from edgeseg.data.labelled import LabelledFrames, find_data_set, open_labelled
from edgeseg.errors import EdgesegError, UsageError, nearest
from edgeseg.labels import label_set
from edgeseg.train.augment import augment
from edgeseg.train.paste import paste_objects
from edgeseg.train.recipe import Augment, TrainRecipe

__all__ = ["Samples", "class_frequency", "normalize", "split_frames", "training_batches"]

logger = logging.getLogger(__name__)

UInt8 = npt.NDArray[np.uint8]
Sample = tuple[Tensor, Tensor] | EdgesegError
#: Decoded frames that all workers of a process together keep in memory.
CACHED_BYTES = 2 << 30
#: Stretches of frames in a row whose ends are held out.
STRETCHES = 8


def split_frames(recipe: TrainRecipe) -> tuple[LabelledFrames, LabelledFrames]:
    """The frames to train on and those to validate on.

    With `hold_out`, both come from the training frames, and `val/` is not looked at: of each of the `STRETCHES`
    stretches of frames in a row, the last part validates, so that neighbours in a video seldom stand on both sides.

    Raises:
        UsageError: The folder has none of the known layouts, or holds too few frames.
    """
    root, classes = Path(recipe.data), len(label_set(recipe.classes))
    root = root if root.is_dir() else find_data_set(recipe.data)
    folder = root / "train" if (root / "train").is_dir() else root
    training = open_labelled(folder, classes)
    if recipe.hold_out:
        training, validation = _hold_out(training, recipe.hold_out)
    elif folder != root:
        validation = open_labelled(root / "val", classes)
    else:
        kept = max(1, len(training) // 10)
        logger.warning("%s has no train/ and val/: the last %d of %d frames validate.", root, kept, len(training))
        training, validation = _of(training, training.pairs[:-kept]), _of(training, training.pairs[-kept:])
    if len(training) < recipe.batch:
        raise UsageError(
            f"There are {len(training)} frames to train on, fewer than one batch of {recipe.batch}.",
            hint="Choose a smaller --batch, of 2 at least.",
        )
    return replace(training, size_hw=recipe.imgsz), replace(validation, size_hw=recipe.imgsz)


def _of(frames: LabelledFrames, pairs: Iterable[tuple[Path, Path]]) -> LabelledFrames:
    return replace(frames, pairs=tuple(pairs))


def _hold_out(frames: LabelledFrames, share: float) -> tuple[LabelledFrames, LabelledFrames]:
    stretches = [list(part) for part in np.array_split(np.arange(len(frames)), STRETCHES)]
    held = {index for part in stretches for index in part[len(part) - round(share * len(part)) :]}
    if not held:
        raise UsageError(
            f"hold_out = {share:g} of {len(frames)} frames holds none out of any of {len(stretches)} stretches.",
            hint=f"Raise it, to {_least_share(stretches):g} or more, or give val/ and leave it out.",
        )
    kept, taken = ([p for i, p in enumerate(frames.pairs) if (i in held) == wanted] for wanted in (False, True))
    return _of(frames, kept), _of(frames, taken)


def _least_share(stretches: list[list[np.intp]]) -> float:
    """The smallest share in whole percents that holds a frame out of the longest stretch."""
    longest = max(map(len, stretches))
    return next(percent / 100 for percent in range(1, 101) if round(percent / 100 * longest))


class Samples(Dataset[Sample]):
    """Augmented samples, each a pure function of seed, epoch and index. Small data sets stay in memory.

    A frame that can't be read is a sample too: the error, which would lose its hint on the way out of a worker.
    """

    def __init__(
        self,
        frames: LabelledFrames,
        settings: Augment,
        seed: int,
        *,
        rare: tuple[int, ...] = (),
        cached_bytes: int = CACHED_BYTES,
    ) -> None:
        self.frames, self.settings, self.seed = frames, settings, seed
        self._rare = rare if settings.paste else ()
        self._cache: dict[int, tuple[UInt8, UInt8]] = {}
        self._free = cached_bytes

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Frame `(h, w, 3)` uint8 RGB and mask `(h, w)` uint8 by epoch and index."""
        try:
            return self._sample(*key)
        except EdgesegError as error:
            return error

    def _sample(self, epoch: int, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, epoch, index))
        frame, mask = augment(*self._read(index), self.settings, rng)
        if self._rare and rng.random() < self.settings.paste:
            other = augment(*self._read(int(rng.integers(len(self.frames)))), self.settings, rng)
            frame, mask = paste_objects((frame, mask), other, self._rare, rng)
        return torch.from_numpy(np.ascontiguousarray(frame[..., ::-1])), torch.from_numpy(mask)

    def _read(self, index: int) -> tuple[UInt8, UInt8]:
        if index in self._cache:
            return self._cache[index]
        frame, mask = self.frames.read(index)
        if self._free > 0:
            self._cache[index] = frame, mask
            self._free -= frame.nbytes + mask.nbytes
        return frame, mask


def training_batches(
    recipe: TrainRecipe, frames: LabelledFrames, *, first: int, workers: int, rank: int = 0, ranks: int = 1
) -> Iterator[list[Tensor]]:
    """The batches of a whole run from step `first` on; the last partial one of each epoch is dropped.

    Of several processes each gets its own share of every batch.

    Yields:
        Frames `(batch, h, w, 3)` uint8 RGB and masks `(batch, h, w)` uint8.

    Raises:
        EdgesegError: A frame or its mask can't be read, or do not fit.
    """
    rare = _ids(recipe.augment.paste_classes, label_set(recipe.classes).names)
    cached = CACHED_BYTES // max(1, workers)
    samples = Samples(frames, recipe.augment, recipe.seed, rare=rare, cached_bytes=cached)
    keys = (part[rank::ranks] for part in _keys(recipe, len(frames), first))
    loader = DataLoader(
        samples,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=_collated,
        worker_init_fn=_leave_interrupts_to_the_run,
    )
    for batch in loader:
        if isinstance(batch, EdgesegError):
            raise batch
        yield batch


def _collated(samples: list[Sample]) -> list[Tensor] | EdgesegError:
    failed = next((sample for sample in samples if isinstance(sample, EdgesegError)), None)
    return failed or default_collate(samples)


def _ids(wanted: tuple[str, ...], names: tuple[str, ...]) -> tuple[int, ...]:
    for name in wanted:
        if name not in names:
            raise UsageError(f"paste_classes has '{name}', which is no class.", hint=nearest(name, names))
    return tuple(map(names.index, wanted))


def _keys(recipe: TrainRecipe, count: int, first: int) -> Iterator[list[tuple[int, int]]]:
    """Epoch and index of each sample, batch by batch, each epoch in an order of its own."""
    steps = count // recipe.batch
    for epoch in range(first // steps, recipe.epochs):
        order = np.random.default_rng((recipe.seed, epoch)).permutation(count).tolist()
        for step in range(max(0, first - epoch * steps), steps):
            yield [(epoch, index) for index in order[step * recipe.batch : (step + 1) * recipe.batch]]


def _leave_interrupts_to_the_run(_: int) -> None:
    """A terminal sends Ctrl-C to workers too; the run decides when they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def normalize(frames: Tensor) -> Tensor:
    """`(N, H, W, 3)` uint8 RGB to `(N, 3, H, W)` float32 `(x - 128) / 128`, channels last in memory."""
    return frames.permute(0, 3, 1, 2).to(torch.float32).sub_(128).div_(128)


def class_frequency(frames: LabelledFrames) -> npt.NDArray[np.float64]:
    """Share of the labelled pixels that each class has, `(num_classes,)`, summing to 1. Reads every mask.

    Raises:
        UsageError: A mask can't be read or holds an id that is no class, or all pixels of all masks are void.
    """
    counts = np.zeros(256, np.int64)
    for _, mask in frames.pairs:
        counts += np.bincount(read_mask(mask, frames.num_classes).ravel(), minlength=256)
    scored = counts[: frames.num_classes]
    if not scored.any():
        raise UsageError(
            f"All {len(frames)} masks beside {frames.pairs[0][1]} are void: there is nothing to learn or judge.",
            hint="Masks are PNGs of class ids from 0 on; 255 is void.",
        )
    return np.asarray(scored / scored.sum())
