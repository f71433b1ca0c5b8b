"""Labelled scenes that anyone can draw: coloured boxes on a ground, the colour tells the class."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgeseg.labels import VOID

COLOURS = np.array([(40, 40, 40), (30, 200, 60), (220, 60, 200)], np.uint8)
CLASSES = "ground,tree,car"


def draw_scene(rng: np.random.Generator, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A BGR frame with noise and its mask with a void border."""
    mask = np.zeros(size_hw, np.uint8)
    for box_class in (1, 2, 1, 2):
        top, left = (int(rng.integers(0, side // 2)) for side in size_hw)
        mask[top : top + size_hw[0] // 3, left : left + size_hw[1] // 3] = box_class
    frame = np.clip(COLOURS[mask] + rng.normal(0, 6, (*size_hw, 3)), 0, 255).astype(np.uint8)
    mask[:2] = VOID
    return frame, mask


def write_scenes(folder: Path, count: int, *, seed: int, size_hw: tuple[int, int] = (48, 64)) -> Path:
    """`count` scenes in the layout `images/` and `masks/`."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        frame, mask = draw_scene(rng, size_hw)
        cv2.imwrite(str(folder / "images" / f"{index:03d}.png"), frame)
        cv2.imwrite(str(folder / "masks" / f"{index:03d}.png"), mask)
    return folder


def write_data_set(
    folder: Path, *, training: int = 6, validation: int = 2, size_hw: tuple[int, int] = (48, 64)
) -> Path:
    """Scenes in `train/` and `val/`."""
    write_scenes(folder / "train", training, seed=1, size_hw=size_hw)
    write_scenes(folder / "val", validation, seed=2, size_hw=size_hw)
    return folder
