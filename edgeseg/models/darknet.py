"""Weights files of the Darknet framework (Redmon, https://pjreddie.com/darknet)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgeseg.errors import ModelFileError
from edgeseg.models.backbones import DarkNet19

__all__ = ["read_darknet19"]

#: The values of a normalized convolution in the order of the file.
VALUES = ("layers.1.bias", "layers.1.weight", "layers.1.running_mean", "layers.1.running_var", "layers.0.weight")
#: The ImageNet classifier, a 1x1 convolution without normalization, may end the file.
CLASSIFIER = {"classifier.bias": torch.Size([1000]), "classifier.weight": torch.Size([1000, 1024, 1, 1])}


def read_darknet19(path: Path) -> dict[str, Tensor]:
    """The state dict of a `DarkNet19` from a Darknet `.weights` file, with its ImageNet classifier if it has one.

    The file is a header (version as three int32, then the number of images seen, int32 before version 0.2 and int64
    from then on) and one float32 after the other, little-endian. Darknet feeds RGB from 0 to 1, not normalized further.

    Raises:
        ModelFileError: The header is none of Darknet's, or the file is shorter or longer than DarkNet19.
    """
    data = path.read_bytes()
    start, shapes = _header_bytes(data, path), _shapes()
    given, plain, whole = len(data) - start, _float_bytes(shapes), _float_bytes(shapes | CLASSIFIER)
    if given not in (plain, whole):
        raise ModelFileError(
            f"The weights {path} are of another network, or truncated: {max(given, 0)} bytes follow the header; "
            f"DarkNet19 has {plain}, or {whole} with its ImageNet classifier.",
            hint="Take darknet19.weights, or what 'darknet partial' cuts off it after layer 23, named .weights.",
        )
    if given == whole:
        shapes |= CLASSIFIER
    values = torch.from_numpy(np.frombuffer(data, "<f4", offset=start).astype(np.float32))
    parts = torch.split(values, [shape.numel() for shape in shapes.values()])
    return {key: part.view(shape) for (key, shape), part in zip(shapes.items(), parts, strict=True)}


def _header_bytes(data: bytes, path: Path) -> int:
    """The length of the header, which its version decides."""
    try:
        major, minor, revision = struct.unpack_from("<3i", data)
    except struct.error as error:
        raise ModelFileError(
            f"The weights {path} end within the header: {len(data)} bytes.", hint="Fetch the file anew."
        ) from error
    if not all(0 <= number < 1000 for number in (major, minor, revision)):
        raise ModelFileError(
            f"The weights {path} are no Darknet file: its version would be {major}.{minor}.{revision}.",
            hint="For a state dict saved by torch, name the file .pth.",
        )
    return 20 if 10 * major + minor >= 2 else 16


def _float_bytes(shapes: dict[str, torch.Size]) -> int:
    return sum(4 * shape.numel() for shape in shapes.values())


def _shapes() -> dict[str, torch.Size]:
    """The shapes of a DarkNet19 by key, in the order of a file."""
    with torch.device("meta"):
        state = DarkNet19().state_dict()
    layers = dict.fromkeys(".".join(key.split(".")[:2]) for key in state)
    return {f"{layer}.{value}": state[f"{layer}.{value}"].shape for layer in layers for value in VALUES}
