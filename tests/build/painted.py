"""A network that knows its colours, and frames painted in them, so that what it finds can be said beforehand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from edgeseg.build import BuildRecipe
from tests.graphs import GraphMaker

UInt8 = npt.NDArray[np.uint8]
SIZE_HW = (48, 64)
CLASSES = ("red", "green", "blue")
BLACK = np.zeros((*SIZE_HW, 3), np.uint8)


def colour_network(path: Path) -> Path:
    """A float graph without a card that gives each pixel the class of its strongest colour."""
    m = GraphMaker()
    weight, bias = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), np.zeros(3, np.float32)
    seen = m.node("Relu", m.node("Conv", "image", m.constant(weight), m.constant(bias)))
    m.node("Conv", seen, m.constant(weight), m.constant(bias), out="logits")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 32, 48)) for name in ("image", "logits")]
    onnx.save(m.model(ends[:1], ends[1:]), path)
    return path


def recipe_for(network: Path, source: str | Path, **fields: object) -> BuildRecipe:
    """What a user says of that network."""
    about = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "input_range": 255, "classes": ",".join(CLASSES)}
    return BuildRecipe(model=str(network), calib=str(source), **{**about, **fields})  # type: ignore[arg-type]


def painted(colour: str, seed: int) -> UInt8:
    """A BGR frame of patches that all have one colour the strongest; each seed gives another picture."""
    rng = np.random.default_rng([CLASSES.index(colour), seed])
    patches = rng.integers(20, 100, (6, 8, 3)).astype(np.uint8)
    patches[..., 2 - CLASSES.index(colour)] += 120
    return np.asarray(cv2.resize(patches, SIZE_HW[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)


def write_frames(folder: Path, frames: list[UInt8]) -> Path:
    """Numbered images in a new folder."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / f"{index:03}.png"), frame)
    return folder
