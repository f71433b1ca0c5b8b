"""Published checkpoints whose keys are another project's, brought to those of the networks here."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping

from torch import Tensor

__all__ = ["adapted"]

#: A layer of MobileNetV2's blocks in torchvision: 1 the block, 2 the layer, 3 the part of a nested one, 4 the value.
MOBILENETV2 = re.compile(r"((?:.*\.)?features\.\d+\.conv)\.(\d+)\.(?:(\d+)\.)?(\w+)")
#: Convolution, normalization and activation.
PARTS = 3
#: What DataParallel puts into keys, and the published ShuffleNet of LiteSeg kept.
WRAPPER = "module"


def adapted(state: Mapping[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """Tensors under the keys of a network, where their layout is one of these; any other comes back as it is.

    - MobileNetV2 of torchvision, which nests the parts of all layers but the last of a block.
    - Any that differs from the network in parts `module` of its keys: LiteSeg's ShuffleNet has one within, which is
      often cut out with those before the keys, and which the backbone alone never had.

    Args:
        state: Tensors by key, as a file holds them.
        own: The keys of the network.
    """
    nested: dict[str, set[str]] = defaultdict(set)
    for match in map(MOBILENETV2.fullmatch, state):
        if match and match[3]:
            nested[match[1]].add(match[2])
    renamed = {_flat(key, nested): value for key, value in state.items()}
    names = {_unwrapped(key): key for key in own}
    return {names.get(_unwrapped(key), key): value for key, value in renamed.items()}


def _unwrapped(key: str) -> str:
    return ".".join(part for part in key.split(".") if part != WRAPPER)


def _flat(key: str, nested: Mapping[str, Collection[str]]) -> str:
    """The key of a layer, where all layers of its block stand in one flat sequence."""
    match = MOBILENETV2.fullmatch(key)
    if not match or match[1] not in nested:
        return key
    block, layer, part, name = match.groups()
    before = len(nested[block])
    index = PARTS * int(layer) + int(part) if part else PARTS * before + int(layer) - before
    return f"{block}.{index}.{name}"
