"""Which network of the registry, or which backbone of it, a set of weights was made for."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from edgeseg.models.checkpoints import adapted
from edgeseg.models.registry import BACKBONES, create_model, list_models

__all__ = ["Likeness", "nearest_network"]

#: Share of all keys, of the file and of the network, that must agree for a network to be named.
LEAST_ALIKE = 0.1


class Likeness(NamedTuple):
    """How much of a network a file holds.

    Attributes:
        what: The network, in words.
        keys: How many of its entries the file has.
        shapes: How many of these have the same shape.
        total: How many entries it has.
        foreign: How many entries of the file it has not.
    """

    what: str
    keys: int
    shapes: int
    total: int
    foreign: int

    @property
    def rank(self) -> tuple[float, float]:
        """Share of all keys that agree, then share of the shapes."""
        return self.keys / (self.total + self.foreign), self.shapes / self.total

    def __str__(self) -> str:
        told = f"{self.what} ({self.keys} of {self.total} keys"
        alike = self.shapes > 0.9 * self.keys  # The classifier depends on the number of classes.
        return f"{told})" if alike else f"{told}, but {self.shapes} shapes: it has other options)"


def nearest_network(state: dict[str, Tensor]) -> Likeness | None:
    """The network without options, or the backbone alone, that most of `state` is of; None where none is like it."""
    best = max((_likeness(what, own, state) for what, own in _candidates().items()), key=lambda found: found.rank)
    return best if best.rank[0] >= LEAST_ALIKE else None


def _likeness(what: str, own: dict[str, torch.Size], state: dict[str, Tensor]) -> Likeness:
    held = adapted(state, own)
    common = [key for key in own if key in held]
    shapes = sum(own[key] == held[key].shape for key in common)
    return Likeness(what, len(common), shapes, len(own), len(held) - len(common))


@cache
def _candidates() -> dict[str, dict[str, torch.Size]]:
    """Shapes by key of every network and of every backbone, by what it is called."""
    with torch.device("meta"):
        nets = {f"'{name}'": create_model(name, num_classes=2).state_dict() for name in list_models()}
        nets |= {f"the backbone '{name}' alone": make().state_dict() for name, make in BACKBONES.items()}
    return {what: {key: value.shape for key, value in state.items()} for what, state in nets.items()}
