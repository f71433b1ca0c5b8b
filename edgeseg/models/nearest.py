"""Which network of the registry a set of weights was made for."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from edgeseg.models.registry import create_model, list_models

__all__ = ["Likeness", "nearest_network"]


class Likeness(NamedTuple):
    """How much of a network a file holds: `keys` and `shapes` of its `total` entries agree."""

    name: str
    keys: int
    shapes: int
    total: int

    def __str__(self) -> str:
        told = f"'{self.name}' ({self.keys} of {self.total} keys"
        alike = self.shapes > 0.9 * self.keys  # The classifier depends on the number of classes.
        return f"{told})" if alike else f"{told}, but {self.shapes} shapes: it has other options)"


def nearest_network(state: dict[str, Tensor]) -> Likeness:
    """The network of the registry, without options, that most of the keys and shapes of `state` are of."""
    return max((_likeness(name, state) for name in list_models()), key=_rank)


def _likeness(name: str, state: dict[str, Tensor]) -> Likeness:
    own = _shapes(name)
    common = [key for key in own if key in state]
    return Likeness(name, len(common), sum(own[key] == state[key].shape for key in common), len(own))


@cache
def _shapes(name: str) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: value.shape for key, value in create_model(name, num_classes=2).state_dict().items()}


def _rank(likeness: Likeness) -> tuple[float, float]:
    return likeness.keys / likeness.total, likeness.shapes / likeness.total
