"""Classes and their colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError, nearest

__all__ = ["CAMVID", "CITYSCAPES", "VOID", "LabelSet", "label_set", "voc_palette"]

#: Label of pixels that are not scored.
VOID = 255


@dataclass(frozen=True)
class LabelSet:
    """Class names in the order of their indices, and one RGB colour each."""

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.names)

    def colours(self, *, order: str = "rgb") -> npt.NDArray[np.uint8]:
        """Look-up table `(256, 3)` uint8 in `rgb` or `bgr` order; black where there is no class."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = self.palette
        return np.ascontiguousarray(table[:, ::-1]) if order == "bgr" else table


def voc_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """The deterministic colours of the Pascal VOC development kit, for any number of classes."""
    colours = []
    for index in range(count):
        rgb = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                rgb[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
        colours.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colours)


CAMVID = LabelSet(
    (
        "sky", "building", "pole", "road", "pavement", "tree",
        "sign symbol", "fence", "car", "pedestrian", "bicyclist",
    ),
    (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip

CITYSCAPES = LabelSet(
    (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    (
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip

_NAMED = {"camvid": CAMVID, "cityscapes": CITYSCAPES}


def label_set(text: str) -> LabelSet:
    """Classes from `camvid`, `cityscapes`, a number, or names with commas between.

    Raises:
        UsageError: None of these, or more than 255 classes.
    """
    if text in _NAMED:
        return _NAMED[text]
    names = tuple(f"class {i}" for i in range(int(text))) if text.isdigit() else tuple(map(str.strip, text.split(",")))
    if len(names) == 1 and not text.isdigit():
        raise UsageError(
            f"'{text}' names no set of classes.",
            hint=f"{nearest(text, _NAMED)} Or give a number, or the names: --classes 'road,car,sky'.",
        )
    if len(set(names)) != len(names):
        raise UsageError(f"The classes '{text}' are not all different.", hint="Give each class a name of its own.")
    if not 1 <= len(names) <= 255:
        raise UsageError(f"{len(names)} classes were given; 1 to 255 are possible, because 255 is void.")
    return LabelSet(names, voc_palette(len(names) + 1)[1:])
