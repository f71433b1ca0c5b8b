"""Images and label masks from files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError, UsageError
from edgeseg.labels import VOID

__all__ = ["IMAGE_SUFFIXES", "frame_files", "image_files", "read_frame", "read_mask"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


def image_files(folder: Path) -> list[Path]:
    """The image files below `folder`, sorted by their path, but for hidden ones, which may be half written."""
    found = (p for p in folder.rglob("[!.]*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    return sorted(found)


def frame_files(folder: Path) -> list[Path]:
    """The image files below `folder`, without the `masks/` and `labels/` that lie beside an `images/`."""

    def is_mask(path: Path) -> bool:
        above = path.relative_to(folder).parents
        return any(p.name in ("labels", "masks") and (folder / p.parent / "images").is_dir() for p in above)

    return [path for path in image_files(folder) if not is_mask(path)]


def read_frame(path: Path) -> npt.NDArray[np.uint8]:
    """`(H, W, 3)` uint8 BGR, turned upright by its EXIF orientation.

    Raises:
        EdgesegError: The file is missing, empty or no image.
    """
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise EdgesegError(f"The image {path} could not be read: {error.strerror}.") from error
    frame = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if frame is None:
        raise EdgesegError(f"The file {path} is no image that OpenCV can decode ({encoded.size} bytes).")
    return np.asarray(frame, np.uint8)


def read_mask(path: Path, num_classes: int) -> npt.NDArray[np.uint8]:
    """`(H, W)` uint8 class indices, 255 where void. Palette images give their indices, not their colours.

    Raises:
        EdgesegError: The file is missing or no image.
        UsageError: It is not single-channel, or holds ids that are no class.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P", "1"):
                raise UsageError(
                    f"The mask {path} has mode {image.mode}; single-channel 8-bit class indices are needed.",
                    hint="Save masks as 8-bit grey or palette PNG, one class index per pixel, 255 for void.",
                )
            mask = np.array(image, np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise EdgesegError(f"The mask {path} could not be read: {error}") from error
    found = np.unique(mask)
    wrong = found[(found >= num_classes) & (found != VOID)]
    if wrong.size:
        ids = ", ".join(map(str, wrong[:8]))
        raise UsageError(
            f"The mask {path} holds the ids {ids}, but there are {num_classes} classes "
            f"(0 to {num_classes - 1}, and 255 for void).",
            hint="Do labels and model belong together? Map other ids to 255, or pass the right --classes.",
        )
    return mask
