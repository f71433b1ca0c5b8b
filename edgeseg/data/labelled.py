"""Labelled frames: `images/` with `masks/` or `labels/` beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg.card import Resize
from edgeseg.data.images import IMAGE_SUFFIXES, image_files, read_frame, read_mask
from edgeseg.data.resize import resize_frame, restore_class_map
from edgeseg.errors import UsageError, nearest

__all__ = ["LabelledFrames", "find_data_set", "open_labelled", "open_validation"]

Frame = npt.NDArray[np.uint8]
KNOWN = ("camvid",)


@dataclass(frozen=True)
class LabelledFrames:
    """Pairs of an image and its mask, in the order of the images' paths.

    Attributes:
        size_hw: That both are brought to when they are read; None leaves them as they are.
    """

    pairs: tuple[tuple[Path, Path], ...]
    num_classes: int
    size_hw: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> tuple[Frame, Frame]:
        """Frame `(H, W, 3)` uint8 BGR and mask `(H, W)` uint8, 255 where void.

        Raises:
            UsageError: The sizes differ, or the mask holds an id that is no class.
        """
        image, mask = self.pairs[index]
        frame, label = read_frame(image), read_mask(mask, self.num_classes)
        if frame.shape[:2] != label.shape:
            raise UsageError(
                f"{image} is {frame.shape[1]}x{frame.shape[0]}, its mask {label.shape[1]}x{label.shape[0]}.",
                hint="Bring both to one size, the mask by nearest neighbour.",
            )
        if self.size_hw is not None:
            frame, label = resize_frame(frame, self.size_hw, Resize()), restore_class_map(label, self.size_hw, Resize())
        return frame, label

    def __iter__(self) -> Iterator[tuple[Frame, Frame]]:
        return (self.read(index) for index in range(len(self)))


def find_data_set(name: str) -> Path:
    """The folder of a data set known by name, below `$EDGESEG_DATA` or `../shared/data`.

    Raises:
        UsageError: The name is unknown, or its folder is in neither place.
    """
    if name not in KNOWN:
        raise UsageError(f"'{name}' is neither a folder nor a known data set.", hint=nearest(name, KNOWN))
    roots = [Path(os.environ["EDGESEG_DATA"])] if os.environ.get("EDGESEG_DATA") else []
    roots.append(Path("../shared/data"))
    for root in roots:
        if (root / name).is_dir():
            return root / name
    looked = " and ".join(str(root / name) for root in roots)
    raise UsageError(
        f"The data set '{name}' was not found; looked for {looked}.",
        hint="Set EDGESEG_DATA to the folder above it, or pass a folder that holds images/ and labels/.",
    )


def open_labelled(folder: str | Path, num_classes: int) -> LabelledFrames:
    """Pair the images of a folder with its masks, by the stem of their names.

    Args:
        folder: Holds `images/` and `masks/` or `labels/`, with the same subfolders.
        num_classes: Ids from 0 to this less one count, 255 is void.

    Raises:
        UsageError: A folder is missing or empty, or an image has no mask.
    """
    folder = Path(folder)
    images = folder / "images"
    masks = next((folder / name for name in ("masks", "labels") if (folder / name).is_dir()), None)
    if not images.is_dir() or masks is None:
        raise UsageError(
            f"{folder} is no labelled data set.", hint="It needs a folder images/ and a folder masks/ or labels/."
        )
    by_stem = {path.relative_to(masks).with_suffix(""): path for path in image_files(masks)}
    pairs = [(path, by_stem.get(path.relative_to(images).with_suffix(""))) for path in image_files(images)]
    if not pairs:
        raise UsageError(f"There are no images in {images}.", hint=f"Looked for {' '.join(IMAGE_SUFFIXES)}.")
    lonely = [image for image, mask in pairs if mask is None]
    if lonely:
        raise UsageError(
            f"{len(lonely)} of {len(pairs)} images have no mask in {masks}, the first is {lonely[0].name}.",
            hint="A mask has its image's name, with .png at the end.",
        )
    return LabelledFrames(tuple((image, mask) for image, mask in pairs if mask is not None), num_classes)


def open_validation(name: str | Path, num_classes: int) -> LabelledFrames:
    """The frames to score on: a folder with `images/` itself, or the `val/` of a data set's folder or known name.

    Raises:
        UsageError: As `find_data_set` and `open_labelled`.
    """
    root = Path(name) if Path(name).is_dir() else find_data_set(str(name))
    return open_labelled(root if (root / "images").is_dir() else root / "val", num_classes)
