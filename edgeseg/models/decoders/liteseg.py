"""LiteSeg (Emara, Abd El Munim, Abbas, DICTA 2019, arXiv 1912.06683)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeseg.models.backbones import Backbone
from edgeseg.models.layers import SeparableConv, Upsampling, upsample

__all__ = ["LiteSeg"]

WIDTH = 96
RATES = (1, 3, 6, 9)


class AsppBranch(nn.Module):
    """One rate of the deeper ASPP. Rate 1 is a separable 1x1; others a dilated 3x3 and a plain 3x3."""

    def __init__(self, cin: int, rate: int) -> None:
        super().__init__()
        self.deeper = rate > 1
        if self.deeper:
            self.conv1 = SeparableConv(WIDTH, WIDTH)
            self.bn1 = nn.BatchNorm2d(WIDTH)
        self.atrous_convolution = SeparableConv(cin, WIDTH, 3 if self.deeper else 1, dilation=rate)
        self.bn = nn.BatchNorm2d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.atrous_convolution(x))
        return torch.relu(self.bn1(self.conv1(x))) if self.deeper else x


class LiteSeg(nn.Module):
    """Deeper ASPP with a short residual, and a low-level skip.

    Args:
        backbone: Gives the deepest map and the skips.
        num_classes: Channels of the logits.
        low: Stride of the low-level skip.
        low_channels: Channels to which a separable 1x1 brings the skip; None takes it as it is.
        skip16: Take the map of stride 16 in as well (not in the paper): the context is upsampled to it,
            concatenated, and mixed by a separable 3x3 before the low-level skip.
        upsampling: `align_corners` as in the paper, or `half_pixel`.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        low: int = 4,
        low_channels: int | None = None,
        skip16: bool = False,
        upsampling: Upsampling = "align_corners",
    ) -> None:
        super().__init__()
        deep, self.low, self.upsampling = backbone.channels[backbone.deepest], low, upsampling
        self.deepest, self.prefix = backbone.deepest, backbone.prefix
        self.add_module(backbone.prefix, backbone)
        self.aspp1, self.aspp2, self.aspp3, self.aspp4 = (AsppBranch(deep, rate) for rate in RATES)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(deep, WIDTH, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()
        )
        self.conv1 = SeparableConv(deep + 5 * WIDTH, WIDTH, 1)
        self.bn1 = nn.BatchNorm2d(WIDTH)
        self.reduces_low = low_channels is not None
        if low_channels is not None:
            self.conv2 = SeparableConv(backbone.channels[low], low_channels, 1)
            self.bn2 = nn.BatchNorm2d(low_channels)
        self.skip16 = skip16
        if skip16:
            self.mix16 = nn.Sequential(
                SeparableConv(WIDTH + backbone.channels[16], WIDTH), nn.BatchNorm2d(WIDTH), nn.ReLU()
            )
        self.last_conv = nn.Sequential(
            SeparableConv(WIDTH + (low_channels or backbone.channels[low]), WIDTH),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            SeparableConv(WIDTH, WIDTH),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Conv2d(WIDTH, num_classes, 1),
        )

    def forward_low(self, x: Tensor) -> Tensor:
        """Logits at the decoder's own size, `(N, num_classes, ceil(H / low), ceil(W / low))`."""
        maps: dict[int, Tensor] = getattr(self, self.prefix)(x)
        deep, low = maps[self.deepest], maps[self.low]
        pooled = upsample(self.global_avg_pool(deep), deep.shape[2:], self.upsampling)
        branches = [branch(deep) for branch in (self.aspp1, self.aspp2, self.aspp3, self.aspp4)]
        y = torch.relu(self.bn1(self.conv1(torch.cat([deep, *branches, pooled], 1))))
        if self.skip16:
            y = upsample(y, maps[16].shape[2:], self.upsampling)
            y = self.mix16(torch.cat([y, maps[16]], 1))
        if self.reduces_low:
            low = torch.relu(self.bn2(self.conv2(low)))
        y = torch.cat([upsample(y, low.shape[2:], self.upsampling), low], 1)
        logits: Tensor = self.last_conv(y)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the input's size.

        Args:
            x: `(N, 3, H, W)` float, RGB, normalized as the weights expect.

        Returns:
            `(N, num_classes, H, W)`, any range.
        """
        return upsample(self.forward_low(x), x.shape[2:], self.upsampling)
