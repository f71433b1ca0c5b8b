"""Weights into and out of networks, by key. No pickled code is ever run."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from edgeseg.errors import ModelFileError
from edgeseg.files import write_bytes
from edgeseg.models.checkpoints import adapted
from edgeseg.models.darknet import read_darknet19

__all__ = ["load_weights", "read_state_dict", "save_weights"]

logger = logging.getLogger(__name__)

#: ImageNet classifiers that published checkpoints carry and a segmentation network does not use.
CLASSIFIERS = frozenset({"classifier", "fc", "_fc"})

#: What DataParallel and `torch.compile` put before every key, the outer one first.
WRAPPER_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")

#: What torch and safetensors raise for files that are damaged, no weights, or hold code.
UNREADABLE = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, OSError)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by key from `.safetensors`, from DarkNet19's `.weights`, or from `.pth` / `.pt` without running its code.

    A state dict under `state_dict`, `model` or `model_state_dict` is unwrapped, and the prefix that DataParallel or
    `torch.compile` put before every key is cut off.

    Raises:
        ModelFileError: The file is missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise ModelFileError(f"There is no weights file at {path}.")
    state = _unwrap(_read(path))
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise ModelFileError(f"The weights {path} hold no tensors by key; found {', '.join(map(str, state))[:200]}.")
    for prefix in WRAPPER_PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def _read(path: Path) -> dict[Any, Any]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".weights":
            return read_darknet19(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ModelFileError(
            f"The weights {path} could not be read: {reason}",
            hint="It is damaged, or holds more than tensors; code in it is not run. Save the network's state_dict().",
        ) from error
    if not isinstance(state, dict):
        raise ModelFileError(f"The weights {path} hold a {type(state).__name__}, not tensors by key.")
    return state


def _unwrap(state: dict[Any, Any]) -> dict[Any, Any]:
    """The state dict that training scripts put beside their optimizer's state, by its usual names."""
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(state.get(wrapper), dict):
            return _unwrap(state[wrapper])
    return state


def load_weights(net: nn.Module, path: str | Path) -> nn.Module:
    """Fill `net` with the weights at `path`, every key and shape matching, and return it.

    Unused ImageNet classifiers in the file are dropped with a log line. Files of torchvision and of Darknet hold a
    backbone alone, and load into a network's `features()`.

    Raises:
        ModelFileError: The file can't be read, or its keys or shapes are not the network's.
    """
    path, own = Path(path), net.state_dict()
    state = adapted(read_state_dict(path), own)
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
    write_bytes(Path(path), save(state, metadata=metadata))


def _is_classifier(key: str) -> bool:
    return not CLASSIFIERS.isdisjoint(key.split(".")[:-1])
