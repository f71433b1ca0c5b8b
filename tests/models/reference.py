"""The published LiteSeg-MobileNetV2 checkpoint as its keys and shapes, filled with reproducible values."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data"


def published_keys() -> dict[str, list[int]]:
    """Every key of the authors' checkpoint and its shape, in order."""
    keys: dict[str, list[int]] = json.loads((DATA / "liteseg_mobilenet_keys.json").read_text())
    return keys


def published_state() -> dict[str, torch.Tensor]:
    """A state dict with the keys of the authors' checkpoint, each value drawn by its key."""
    return {key: _values(key, shape) for key, shape in published_keys().items()}


def _values(key: str, shape: list[int]) -> torch.Tensor:
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key.endswith("running_var"):
        values = rng.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        values = rng.normal(0, 0.1, shape)
    elif len(shape) == 1 and key.endswith("weight"):
        values = rng.uniform(0.8, 1.2, shape)
    elif len(shape) == 1 and key.endswith("bias"):
        values = rng.normal(0, 0.1, shape)
    else:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    return torch.from_numpy(values.astype(np.float32))
