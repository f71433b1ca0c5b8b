"""What the tests of the stream are made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeseg.backends.fake import FakeSession
from edgeseg.card import Card, Preprocess, Resize
from edgeseg.labels import LabelSet, voc_palette
from edgeseg.stream import Captured, Segmented
from edgeseg.stream.report import Dropped, FrameAge, SourceReport, StreamReport
from edgeseg.stream.source import State

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


def segmented(
    picture: UInt8, sequence: int = 0, *, class_map: UInt8 | None = None, captured_ns: int = 0, name: str = ""
) -> Segmented:
    """What a sink is given of a frame whose overlay is `picture` itself."""
    if class_map is None:
        class_map = np.zeros(picture.shape[:2], np.uint8)
    frame = Captured(picture, sequence, captured_ns, name or f"test-{sequence:06d}", "test")
    return Segmented(frame, picture, class_map, 20.0, {}, None, report(), lambda given: given.frame)


def report(state: State = "live", *, frozen: bool = False, reason: str = "", silent_s: float = 0.0) -> StreamReport:
    """Of a stream from the one source `test` in that state."""
    dropped = Dropped(newest=104, corrupt=6)
    source = SourceReport("test", state, frozen, reason, 1, 1, 5210, 5100, dropped, "driver", silent_s)
    ages = FrameAge(33.1, 41.6, 58.2), FrameAge(21.4, 24.9, 31.0)
    stages = {"capture": 2.1, "resize": 0.4, "inference": 8.3, "restore": 0.2, "draw": 0.9, "encode": 3.1}
    return StreamReport(
        None, 5210, 5100, 5100, dropped, 24.3, 29.7, *ages, 812.0, stages, 1, 1, [source], [], {}
    )  # fmt: skip
