"""Layers that backbones and decoders share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Count",
    "InvertedResidual",
    "SeparableConv",
    "Stride",
    "Upsampling",
    "WidthMultiplier",
    "channel_shuffle",
    "conv_bn",
    "make_divisible",
    "upsample",
]

Upsampling = Literal["align_corners", "half_pixel", "by_stride"]
#: Options of networks, checked where one is made by name.
Count = Annotated[int, msgspec.Meta(ge=1, le=4096)]
Stride = Literal[2, 4, 8, 16, 32]
WidthMultiplier = Annotated[float, msgspec.Meta(gt=0, le=4)]


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of `divisor`, never losing more than a tenth.

    Source: the MobileNet authors' reference code (Sandler et al., "MobileNetV2", CVPR 2018).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def conv_bn(
    cin: int,
    cout: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    eps: float = 1e-5,
    activation: type[nn.Module] | None = nn.ReLU6,
) -> list[nn.Module]:
    """Convolution without bias that keeps the map's size at stride 1, batch normalization, activation."""
    padding = dilation * (kernel - 1) // 2
    layers: list[nn.Module] = [
        nn.Conv2d(cin, cout, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(cout, eps=eps),
    ]
    return layers if activation is None else [*layers, activation(inplace=True)]


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise, project, and add where the shapes agree.

    `conv` is one flat sequence; without expansion it begins with the depthwise convolution.
    Source: Sandler et al., "MobileNetV2", CVPR 2018.
    """

    def __init__(
        self, cin: int, cout: int, *, expand: int, stride: int, kernel: int = 3, dilation: int = 1, eps: float = 1e-5
    ) -> None:
        super().__init__()
        hidden = cin * expand
        layers = conv_bn(cin, hidden, eps=eps) if expand != 1 else []
        layers += conv_bn(hidden, hidden, kernel, stride=stride, dilation=dilation, groups=hidden, eps=eps)
        layers += conv_bn(hidden, cout, eps=eps, activation=None)
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class SeparableConv(nn.Module):
    """A depthwise convolution followed by a 1x1 one, neither with bias, nothing in between."""

    def __init__(self, cin: int, cout: int, kernel: int = 3, *, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv1 = nn.Conv2d(cin, cin, kernel, padding=padding, dilation=dilation, groups=cin, bias=False)
        self.pointwise = nn.Conv2d(cin, cout, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.conv1(x))
        return y


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of `(N, C, h, w)` out in turns: the first of each group, then the second of each.

    Source: Zhang et al., "ShuffleNet", CVPR 2018.
    """
    # Not flatten, which takes the exporter minutes where sizes are symbols.
    n, channels, h, w = x.shape
    return x.view(n, groups, channels // groups, h, w).transpose(1, 2).reshape(n, channels, h, w)


def upsample(
    x: Tensor, size_hw: tuple[int, int] | torch.Size, mode: Upsampling, *, factor: int | None = None
) -> Tensor:
    """Bilinear resize of `(N, C, h, w)` to `(N, C, *size_hw)`.

    Args:
        x: The map.
        size_hw: At most `factor` times as large.
        mode: `align_corners` maps corner pixels onto each other, as the LiteSeg checkpoints expect; `half_pixel` maps
            pixel areas, as cameras and most engines do. `by_stride` does so with `factor`, where there is one, and cuts
            off what is too much, so that maps stay aligned where the coarsest stride does not divide the frame.
        factor: How many times as coarse as the resized map `x` is, by their strides.
    """
    if mode == "by_stride" and factor is not None:
        height, width = (factor * side for side in x.shape[2:])
        larger = functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
        return larger[:, :, : size_hw[0], : size_hw[1]]
    return functional.interpolate(x, size=size_hw, mode="bilinear", align_corners=mode == "align_corners")
