"""The frames of a bundle that a board judges on, with what float32 answers to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.build.bundle import PackedGate
from edgeseg.build.candidates import Built
from edgeseg.build.gate import GateFrames
from edgeseg.build.judge import golden_answer
from edgeseg.build.stock import Stock
from edgeseg.data.resize import resize_frame, shown_window
from edgeseg.evaluate import class_maps, confident_pixels
from edgeseg.labels import VOID
from edgeseg.windows import Window

__all__ = ["pack_frames"]

UInt8 = npt.NDArray[np.uint8]


def pack_frames(stock: Stock, float_engine: Built, part: Callable[[str], Path]) -> PackedGate:
    """The gate's frames at the network's size, so that only the engine differs on a board, with float's answers.

    Args:
        stock: Has the frames.
        float_engine: Answers to them.
        part: Gives the file of a part of the bundle, by its name.
    """
    frames, card = stock.frames, stock.card
    windows: dict[str, Window] = {}

    def write(name: str, image: UInt8) -> None:
        part(name).write_bytes(cv2.imencode(".png", image)[1].tobytes())

    for index, (frame, label) in enumerate(_labelled(frames)):
        name = f"{index:05}"
        write(f"gate/{name}.frame.png", resize_frame(frame, card.fixed_size_hw, card.preprocess.resize))
        if label is not None:
            write(f"gate/{name}.label.png", label)
        windows[name] = shown_window((frame.shape[0], frame.shape[1]), card.fixed_size_hw, card.preprocess.resize)

    def pictures() -> Iterator[UInt8]:
        return (np.asarray(cv2.imread(str(part(f"gate/{name}.frame.png"))), np.uint8) for name in windows)

    backend, engine = float_engine.candidate.backend, float_engine.engine
    with backend.load(engine) as session, backend.load(engine, "logits") as logits:
        write("golden.png", golden_answer(session, logits))
        for (name, window), answer in zip(windows.items(), class_maps(session, pictures()), strict=True):
            window.fill_outside(answer, VOID)
            write(f"gate/{name}.map.png", answer)
        if frames.labelled is None:
            for (name, window), sure in zip(windows.items(), confident_pixels(logits, pictures()), strict=True):
                seen = np.where(sure, np.uint8(255), np.uint8(0))
                window.fill_outside(seen, 0)
                write(f"gate/{name}.sure.png", seen)
    return PackedGate(kind=frames.kind, frames=tuple(windows), warnings=frames.warnings)


def _labelled(frames: GateFrames) -> Iterator[tuple[UInt8, UInt8 | None]]:
    """The frames, `(H, W, 3)` uint8 BGR, each with its label where it has one."""
    if frames.labelled is not None:
        yield from frames.labelled
    else:
        yield from ((frame, None) for frame in frames.frames())
