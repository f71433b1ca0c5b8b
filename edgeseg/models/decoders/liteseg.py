"""LiteSeg (Emara, Abd El Munim, Abbas, DICTA 2019, arXiv 1912.06683)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.models.backbones import Backbone
from edgeseg.models.decoders.base import Segmenter
from edgeseg.models.layers import Count, SeparableConv, Stride, Upsampling

__all__ = ["LiteSeg"]

RATES = (1, 3, 6, 9)


class AsppBranch(nn.Module):
    """One rate of the deeper ASPP. Rate 1 is a separable 1x1; others a dilated 3x3 and a plain 3x3."""

    def __init__(self, cin: int, width: int, rate: int) -> None:
        super().__init__()
        self.deeper = rate > 1
        if self.deeper:
            self.conv1 = SeparableConv(width, width)
            self.bn1 = nn.BatchNorm2d(width)
        self.atrous_convolution = SeparableConv(cin, width, 3 if self.deeper else 1, dilation=rate)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.atrous_convolution(x))
        return torch.relu(self.bn1(self.conv1(x))) if self.deeper else x


class LiteSeg(Segmenter):
    """Deeper ASPP with a short residual, and a low-level skip.

    Args:
        backbone: Gives the deepest map and the skips.
        num_classes: Channels of the logits.
        low: Stride of the low-level skip, which may be the deepest map itself.
        low_channels: Channels to which a separable 1x1 brings the skip; None takes it as it is.
        skips: Strides of further maps to take in on the way up (not in the paper), falling: what comes from below
            is upsampled to each, concatenated, and mixed by a separable 3x3.
        decoder_width: Channels of the decoder, 96 in the paper.
        detail: Channels of a last stage (not in the paper) that takes in the map of half the stride of `low`, so that
            logits come at twice the size; None ends at `low`.
        upsampling: `align_corners` as in the paper, `half_pixel` or `by_stride`.

    Raises:
        UsageError: The backbone lacks the map of stride `low`, of one of `skips`, or for `detail`; or `skips` do not
            fall between the deepest map and `low`.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        low: Stride = 4,
        low_channels: Count | None = None,
        skips: tuple[Stride, ...] = (),
        decoder_width: Count = 96,
        detail: Count | None = None,
        upsampling: Upsampling = "align_corners",
    ) -> None:
        super().__init__(backbone, upsampling)
        order = [backbone.deepest, *skips, low] if skips or low != backbone.deepest else [low]
        self.need_strides(*order)
        if sorted(set(order), reverse=True) != order:
            raise UsageError(
                f"skips are {list(skips)}, but have to fall from below {backbone.deepest}, the deepest map, to above "
                f"{low}, the low-level one.",
                hint="As in skips = [16, 8].",
            )
        self.fine = low // 2
        self.has_detail = detail is not None
        width = decoder_width
        deep, self.low, self.deepest, self.skips = backbone.channels[backbone.deepest], low, backbone.deepest, skips
        self.aspp1, self.aspp2, self.aspp3, self.aspp4 = (AsppBranch(deep, width, rate) for rate in RATES)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(deep, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.conv1 = SeparableConv(deep + 5 * width, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.reduces_low = low_channels is not None
        if low_channels is not None:
            self.conv2 = SeparableConv(backbone.channels[low], low_channels, 1)
            self.bn2 = nn.BatchNorm2d(low_channels)
        self.mix = nn.ModuleList(_separable(width + backbone.channels[stride], width) for stride in skips)
        self.last_conv = nn.Sequential(
            *_separable(width + (low_channels or backbone.channels[low]), width), *_separable(width, width)
        )
        head = nn.Conv2d(detail or width, num_classes, 1)
        if detail is None:
            self.last_conv.append(head)
        else:
            self.need_strides(self.fine)
            self.narrow = nn.Sequential(nn.Conv2d(width, detail, 1, bias=False), nn.BatchNorm2d(detail), nn.ReLU())
            self.detail = _separable(detail + backbone.channels[self.fine], detail).append(head)

    def decode(self, maps: dict[int, Tensor]) -> Tensor:
        deep, low = maps[self.deepest], maps[self.low]
        pooled = self.upsample(self.global_avg_pool(deep), deep)
        branches = [branch(deep) for branch in (self.aspp1, self.aspp2, self.aspp3, self.aspp4)]
        y: Tensor = torch.relu(self.bn1(self.conv1(torch.cat([deep, *branches, pooled], 1))))
        above = self.deepest
        for stride, mix in zip(self.skips, self.mix, strict=True):
            y = mix(self._beside(y, maps[stride], above // stride))
            above = stride
        if self.reduces_low:
            low = torch.relu(self.bn2(self.conv2(low)))
        y = self.last_conv(self._beside(y, low, above // self.low))
        if self.has_detail:
            y = self.detail(self._beside(self.narrow(y), maps[self.fine], 2))
        return y

    def _beside(self, y: Tensor, finer: Tensor, factor: int) -> Tensor:
        """What comes from below, at the size of a map that is `factor` times as fine, and that map."""
        return torch.cat([self.upsample(y, finer, factor), finer], 1)


def _separable(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(SeparableConv(cin, cout), nn.BatchNorm2d(cout), nn.ReLU())
