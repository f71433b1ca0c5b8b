"""The published LiteSeg checkpoints as their keys and shapes, filled with reproducible values.

`data/liteseg_mobilenet_logits.npz` holds every fourth row and column of what the authors' MobileNetV2 gives with these
values.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

DATA = Path(__file__).parent / "data"

Checkpoint = Literal["mobilenet", "shufflenet", "darknet"]


def published_keys(checkpoint: Checkpoint = "mobilenet") -> dict[str, list[int]]:
    """Every key of one of the authors' checkpoints and its shape, in order."""
    keys: dict[str, list[int]] = json.loads((DATA / f"liteseg_{checkpoint}_keys.json").read_text())
    return keys


def published_state(checkpoint: Checkpoint = "mobilenet") -> dict[str, torch.Tensor]:
    """A state dict with the keys of the authors' checkpoint, each value drawn by its key."""
    return {key: drawn(key, shape) for key, shape in published_keys(checkpoint).items()}


def drawn(key: str, shape: Sequence[int]) -> torch.Tensor:
    """Reproducible values for a key."""
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
