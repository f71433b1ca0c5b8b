"""Weights into and out of networks, by key. No pickled code is ever run."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgeseg.errors import ModelFileError
from edgeseg.files import atomic_path

__all__ = ["load_weights", "read_state_dict", "save_weights"]

logger = logging.getLogger(__name__)

#: ImageNet classifiers that published checkpoints carry and a segmentation network does not use.
CLASSIFIERS = ("classifier.", "fc.", "_fc.")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by key from `.safetensors`, or from `.pth` / `.pt` without running any code in it.

    A state dict under `state_dict` or `model` is unwrapped, and DataParallel's `module.` is cut off.

    Raises:
        ModelFileError: The file is missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise ModelFileError(f"There is no weights file at {path}.")
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Any] = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).split("\n")[0]
        raise ModelFileError(
            f"The weights {path} could not be read: {reason}",
            hint="A .pth file may hold tensors only: code in it is not run. "
            "Save the network's state_dict() and pass that.",
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelFileError(f"The weights {path} hold no tensors by key; found {', '.join(map(str, state))[:200]}.")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def load_weights(net: nn.Module, path: str | Path) -> nn.Module:
    """Fill `net` with the weights at `path`, every key and shape matching, and return it.

    Unused ImageNet classifiers in the file are dropped with a log line.

    Raises:
        ModelFileError: The file can't be read, or its keys or shapes are not the network's.
    """
    path = Path(path)
    state, own = read_state_dict(path), net.state_dict()
    unused = [key for key in state if key not in own and _is_classifier(key)]
    if unused:
        logger.info("Dropped the unused ImageNet classifier of %s: %s", path.name, ", ".join(unused))
    state = {key: value for key, value in state.items() if key not in unused}
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in own]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, the network's {tuple(own[key].shape)}"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    for what, keys in (("lack", missing), ("have unknown keys", unknown), ("have other shapes", shapes)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ModelFileError(
                f"The weights {path} do not fit this network: they {what}: {'; '.join(keys[:3])}{more}.",
                hint="Check the model's name, its number of classes and its options.",
            )
    net.load_state_dict(state, strict=False)
    return net


def save_weights(net: nn.Module, path: str | Path, metadata: dict[str, str] | None = None) -> None:
    """Write the weights of `net` as safetensors, whole or not at all."""
    state = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    with atomic_path(Path(path)) as part:
        save_file(state, part, metadata=metadata)


def _is_classifier(key: str) -> bool:
    return any(f".{key}".rfind(f".{name}") >= 0 for name in CLASSIFIERS)
