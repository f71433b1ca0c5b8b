"""Weights for a smaller network out of a larger one of the same build."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.models.backbones import EfficientNetLite, MobileNetV2

__all__ = ["Layer", "inherit_weights", "layers_of"]


class Layer(NamedTuple):
    """A convolution and the normalization after it."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d


def layers_of(block: nn.Module) -> list[Layer]:
    """The convolutions of a block, each with its normalization, in order."""
    convs = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    return [Layer(*pair) for pair in zip(convs, norms, strict=True)]


@torch.no_grad()
def inherit_weights(heir: nn.Module, donor: EfficientNetLite, head: Layer) -> None:
    """Fill a narrower network of inverted residuals with the channels of `donor` that matter most.

    Channels are chosen by what they carry, the same ones along each residual path; 5x5 kernels are folded to 3x3, and
    blocks that the donor lacks begin as the identity. A start for training, no network to use: the statistics of the
    chosen channels are no longer those of the normalization. After "Initializing Models with Larger Ones" (Xu et al.,
    ICLR 2024), which takes channels at even steps.

    Args:
        heir: A MobileNetV2, or an EfficientNet-Lite, no wider than the donor.
        donor: With its ImageNet weights.
        head: The donor's last 1x1 convolution and its normalization, for a MobileNetV2.

    Raises:
        UsageError: The heir is of another build, or wider than the donor.
    """
    if not isinstance(heir, MobileNetV2 | EfficientNetLite):
        raise UsageError(
            f"A {type(heir).__name__} can't inherit from EfficientNet-Lite0: it is not made of the same blocks.",
            hint="Set backbone_weights to 'none', or to the path of a checkpoint.",
        )
    (stem,), (their_stem,) = layers_of(heir.stem), layers_of(donor.stem)
    into = _strongest([their_stem.norm], stem.norm.num_features)
    _copy(their_stem, stem, into, None)
    for own, theirs in zip(heir.stages(), donor.stages(), strict=False):
        out = _strongest([layers_of(block)[-1].norm for block in theirs], layers_of(own[0])[-1].norm.num_features)
        for index, block in enumerate(own):
            _inherit_block(layers_of(block), layers_of(theirs[min(index, len(theirs) - 1)]), into, out)
            into = out
            if index >= len(theirs):
                added = layers_of(block)[-1].norm
                nn.init.zeros_(added.weight)
                nn.init.zeros_(added.bias)
    if isinstance(heir, MobileNetV2):
        (last,) = layers_of(heir.features[-1])
        _copy(head, last, _strongest([head.norm], last.norm.num_features), into)


def _inherit_block(own: list[Layer], theirs: list[Layer], into: Tensor, out: Tensor) -> None:
    """Copy one block; `into` and `out` are the donor's channels before and after it."""
    hidden = into
    if len(own) == 3:  # It expands first.
        project, depthwise = theirs[-1].conv.weight[out][:, :, 0, 0], theirs[-2].norm
        strength = project.norm(dim=0) * _strength(depthwise)
        hidden = strength.topk(own[-1].conv.in_channels).indices.sort().values
        _copy(theirs[0], own[0], hidden, into)
    _copy(theirs[-2], own[-2], hidden, None)
    _copy(theirs[-1], own[-1], out, hidden)


def _strength(norm: nn.BatchNorm2d) -> Tensor:
    """Root mean square of each normalized channel."""
    return (norm.weight**2 + norm.bias**2).sqrt()


def _strongest(norms: list[nn.BatchNorm2d], count: int) -> Tensor:
    """Indices, rising, of the `count` channels that carry most in all layers of a residual path together.

    Raises:
        UsageError: There are fewer.
    """
    strength = torch.stack([_strength(norm) for norm in norms]).pow(2).sum(0)
    if count > len(strength):
        raise UsageError(
            f"The network has a layer of {count} channels, EfficientNet-Lite0 only {len(strength)} there.",
            hint="Choose a smaller width, or set backbone_weights to 'none'.",
        )
    return strength.topk(count).indices.sort().values


def _copy(donor: Layer, heir: Layer, out: Tensor, into: Tensor | None) -> None:
    """Copy channels `out` of a layer; `into` are its inputs, None for all (a depthwise layer)."""
    weight = donor.conv.weight[out] if into is None else donor.conv.weight[out][:, into]
    heir.conv.weight.copy_(_folded(weight) if weight.shape[-1] > heir.conv.kernel_size[0] else weight)
    own, theirs = heir.norm.state_dict(), donor.norm.state_dict()
    for name in ("weight", "bias", "running_mean", "running_var"):
        own[name].copy_(theirs[name][out])
    variance = own["running_var"]
    own["weight"].mul_(torch.sqrt((variance + heir.norm.eps) / (variance + donor.norm.eps)))


def _folded(weight: Tensor) -> Tensor:
    """A 5x5 kernel as 3x3, the outer ring added to the nearest taps, so that flat areas give the same."""
    rows = torch.stack([weight[..., :2, :].sum(-2), weight[..., 2, :], weight[..., 3:, :].sum(-2)], -2)
    return torch.stack([rows[..., :2].sum(-1), rows[..., 2], rows[..., 3:].sum(-1)], -1)
