"""Labels that a network without training answers well enough to be its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import onnx_ir as ir

from edgeseg.backends import Engine, open_backend
from edgeseg.data.images import read_frame
from edgeseg.data.resize import restore_class_map
from edgeseg.evaluate import class_maps
from edgeseg.labels import VOID
from edgeseg.quantize.probe import Probe

__all__ = ["engine_labels", "graph_labels"]


def _relabel(folder: Path, answers: Iterable[np.ndarray]) -> None:
    for path, answer in zip(sorted((folder / "masks").iterdir()), answers, strict=True):
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        left = (mask != VOID) & (np.arange(mask.shape[1]) < 5 * mask.shape[1] // 8)
        mask[left] = answer[left]
        cv2.imwrite(str(path), mask)


def engine_labels(folder: Path, engine: Engine) -> None:
    """Make the left five eighths of each mask in a folder what an engine answers, except for what is void."""
    frames = _frames(folder)
    with open_backend(engine.card.backend).load(engine) as session:
        resize = engine.card.preprocess.resize
        maps = list(class_maps(session, frames))
        _relabel(folder, [restore_class_map(a, f.shape[:2], resize) for a, f in zip(maps, frames, strict=True)])


def graph_labels(folder: Path, prepared: ir.Model) -> None:
    """The same, by what a prepared graph answers."""
    probe = Probe(prepared, [(frame, None) for frame in _frames(folder)])
    _relabel(folder, probe.answer(prepared).maps)


def _frames(folder: Path) -> list[np.ndarray]:
    return [read_frame(path) for path in sorted((folder / "images").iterdir())]
