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
from edgeseg.models.decoders import Segmenter
from edgeseg.models.nearest import nearest_network

__all__ = ["load_weights", "read_state_dict", "save_weights"]

logger = logging.getLogger(__name__)

#: ImageNet classifiers that published checkpoints carry and a segmentation network does not use.
CLASSIFIERS = frozenset({"classifier", "fc", "_fc"})

#: What stands before every key: of `torch.compile` and DataParallel, and names that training scripts give a network.
WRAPPERS = ("_orig_mod.", "module.", "model.", "net.", "network.")

#: Weights and biases of the layers that give one channel a class, in the network with most of them.
MOST_HEADS = 4

#: What torch and safetensors raise for files that are damaged, no weights, or hold code.
UNREADABLE = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, OSError)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by key from `.safetensors`, from DarkNet19's `.weights`, or from `.pth` / `.pt` without running its code.

    A state dict under `state_dict`, `model` or `model_state_dict` is unwrapped, and what DataParallel, `torch.compile`
    or a training script put before every key is cut off.

    Raises:
        ModelFileError: The file is missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        hint = "Where a recipe names it, train the recipe of that folder's name first."
        raise ModelFileError(f"There is no weights file at {path}.", hint=hint)
    state = _unwrap(_read(path))
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        found = ", ".join(map(str, state))[:200] or "nothing"
        raise ModelFileError(
            f"The weights {path} hold no tensors by key; found {found}.", hint="Save the network's state_dict()."
        )
    while wrapper := next((word for word in WRAPPERS if all(key.startswith(word) for key in tensors)), None):
        tensors = {key.removeprefix(wrapper): value for key, value in tensors.items()}
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


def load_weights(net: nn.Module, path: str | Path, *, new_head: bool = False) -> nn.Module:
    """Fill `net` with the weights at `path`, every key and shape matching, and return it.

    Unused ImageNet classifiers in the file are dropped with a log line. Files of torchvision and of Darknet hold a
    backbone alone, and load into a network's `features()`.

    Args:
        net: The network to fill.
        path: The file.
        new_head: Whether weights of the same backbone will do: layers of the decoder that the file lacks, or has in
            another shape, as for another number of classes, keep what `net` has there, with a log line.

    Raises:
        ModelFileError: The file can't be read, its keys or shapes are not the network's, or it holds values that are
            no numbers.
    """
    path, own = Path(path), net.state_dict()
    state = adapted(read_state_dict(path), own)
    backbone = f"{net.prefix}." if isinstance(net, Segmenter) else ""
    unused = [key for key in state if key not in own and key.startswith(backbone) and _is_classifier(key)]
    if unused:
        logger.info("Dropped the unused ImageNet classifier of %s: %s", path.name, ", ".join(unused))
    state = {key: value for key, value in state.items() if key not in unused}
    if new_head and isinstance(net, Segmenter):
        state = _completed(path, state, own, backbone)
    elif heads := _heads_of_other_classes(state, own):
        raise ModelFileError(
            f"The weights {path} are for {len(state[heads[0]])} classes, the network has {len(own[heads[0]])}.",
            hint="Check --classes. To train on from them with a new classifier, set new_head = true in the recipe.",
        )
    _refuse_misfit(path, state, own)
    if broken := [key for key, value in state.items() if not torch.isfinite(value).all()]:
        raise ModelFileError(
            f"The weights {path} hold values that are not numbers, in: {_some(broken)}.",
            hint="The training that made them diverged. Take a checkpoint from before.",
        )
    net.load_state_dict(state, strict=False)
    return net


def _completed(path: Path, state: dict[str, Tensor], own: dict[str, Tensor], backbone: str) -> dict[str, Tensor]:
    """What fits of the file, and the network's own for the rest; the file as it is where that touches the backbone."""
    fits = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    anew = _missing(fits, own)
    if any(key.startswith(backbone) for key in anew):
        return state
    logger.info("These layers begin anew, not from %s: %s", path.name, ", ".join(anew) or "none")
    if unused := [key for key in state if key not in fits]:
        logger.info("These of %s are not used: %s", path.name, ", ".join(unused))
    return {**own, **fits}


def _heads_of_other_classes(state: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Keys that differ from the network's in the number of classes alone; empty where anything else differs too."""
    if _missing(state, own) or any(key not in own for key in state):
        return []
    differ = [key for key in own if key in state and own[key].shape != state[key].shape]
    lengths = {(len(own[key]), len(state[key])) for key in differ if own[key].ndim and state[key].ndim}
    same_inputs = all(own[key].shape[1:] == state[key].shape[1:] for key in differ)
    return differ if same_inputs and len(lengths) == 1 and len(differ) <= MOST_HEADS else []


def _missing(state: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Keys of the network that the file lacks, but for counters that no result depends on."""
    return [key for key in own if key not in state and not key.endswith("num_batches_tracked")]


def _refuse_misfit(path: Path, state: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    wrong = {
        "lack": _missing(state, own),
        "have unknown keys": [key for key in state if key not in own],
        "have other shapes": [
            f"{key} is {tuple(state[key].shape)}, the network's {tuple(own[key].shape)}"
            for key in own
            if key in state and own[key].shape != state[key].shape
        ],
    }
    told = [f"they {what}: {_some(keys)}" for what, keys in wrong.items() if keys]
    if told:
        near = nearest_network(state)
        raise ModelFileError(
            f"The weights {path} do not fit this network; {'; '.join(told)}.",
            hint=f"The nearest is {near}. Check the network's name and its options."
            if near
            else "No network of edgeseg has such keys; see: edgeseg models",
        )


def _some(words: list[str]) -> str:
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def save_weights(net: nn.Module, path: str | Path, metadata: dict[str, str] | None = None) -> None:
    """Write the weights of `net` as safetensors, whole or not at all."""
    state = {key: value.detach().cpu().contiguous() for key, value in net.state_dict().items()}
    write_bytes(Path(path), save(state, metadata=metadata))


def _is_classifier(key: str) -> bool:
    return not CLASSIFIERS.isdisjoint(key.split(".")[:-1])
