"""What the tests of the stream are made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeseg.backends.fake import FakeSession
from edgeseg.card import Card, Preprocess, Resize
from edgeseg.labels import LabelSet, voc_palette
from edgeseg.stream import Captured

UInt8 = npt.NDArray[np.uint8]
LABELS = LabelSet(("ground", "tree", "car", "sky"), voc_palette(5)[1:])


def make_session(size_hw: tuple[int, int] = (24, 32), *, batch: int = 1, resize: Resize | None = None) -> FakeSession:
    """A session whose class is the quarter of the brightness scale that a pixel's green lies in."""
    preprocess = Preprocess(resize=resize or Resize("stretch", "nearest"))
    card = Card(
        kind="engine", model="bands", classes=LABELS.names, palette=LABELS.palette, size_hw=size_hw, batch=batch,
        preprocess=preprocess,
    )  # fmt: skip
    return FakeSession(card, "class_map")


def captured(sequence: int = 0, pixels: UInt8 | None = None, name: str = "") -> Captured:
    """A frame as a source gives it."""
    return Captured(pixels, sequence, 0, name or f"test-{sequence:06d}", "test")
