"""PP-LiteSeg (Peng et al., 2022, arXiv 2204.02681)."""

from __future__ import annotations

from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn

from edgeseg.models.backbones import Backbone
from edgeseg.models.decoders.base import Segmenter
from edgeseg.models.decoders.blocks import conv_block
from edgeseg.models.layers import Count, Upsampling, conv_bn, upsample

__all__ = ["PPLiteSeg", "pool_to_bins"]

Widths = Annotated[tuple[Count, ...], msgspec.Meta(min_length=2)]

BINS = (1, 2, 4)


class PPLiteSeg(Segmenter):
    """Pyramid pooling on the deepest map, fused upwards with finer ones by spatial attention, with falling channels.

    Args:
        backbone: Gives the deepest map and those to fuse: the next finer ones, as many as `decoder_channels` has beyond
            one. Of a backbone with output stride 32 these are strides 16 and 8, as in the paper.
        num_classes: Channels of the logits.
        decoder_channels: Rising, of each fusion from the finest to the coarsest, then of the pyramid pooling:
            32, 64, 128 in the paper's smaller network, 64, 96, 128 in the larger.
        upsampling: `half_pixel`, `by_stride` or `align_corners`.

    Raises:
        UsageError: The backbone has fewer maps finer than its deepest than there are fusions.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        decoder_channels: Widths = (32, 64, 128),
        upsampling: Upsampling = "half_pixel",
    ) -> None:
        super().__init__(backbone, upsampling)
        *fused, below = decoder_channels
        self.deepest, self.skips = backbone.deepest, self.finer_strides(at_least=len(fused))[: len(fused)]
        self.context = SimplePyramidPooling(backbone.channels[backbone.deepest], below, self.upsampling)
        self.fusions = nn.ModuleList()
        for stride, width in zip(self.skips, reversed(fused), strict=True):
            self.fusions.append(AttentionFusion(backbone.channels[stride], below, width, self.upsampling))
            below = width
        self.head = nn.Sequential(conv_block(below, below), nn.Conv2d(below, num_classes, 1))

    def decode(self, maps: dict[int, Tensor]) -> Tensor:
        y = self.context(maps[self.deepest])
        above = self.deepest
        for stride, fuse in zip(self.skips, self.fusions, strict=True):
            y = fuse(maps[stride], y, above // stride)
            above = stride
        logits: Tensor = self.head(y)
        return logits


class SimplePyramidPooling(nn.Module):
    """SPPM: means over 1, 4 and 16 parts of the map, a 1x1 convolution for each, upsampled, summed, and one 3x3."""

    def __init__(self, cin: int, cout: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.stages = nn.ModuleList(conv_block(cin, cout, 1) for _ in BINS)
        self.conv_out = conv_block(cout, cout)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [stage(pool_to_bins(x, bins)) for bins, stage in zip(BINS, self.stages, strict=True)]
        first, *others = (upsample(one, x.shape[2:], self.upsampling) for one in pooled)
        y: Tensor = self.conv_out(sum(others, first))
        return y


class AttentionFusion(nn.Module):
    """UAFM with spatial attention: where to believe the finer map, and where what comes from below.

    The weights are made of the mean and the maximum over the channels of both.
    """

    def __init__(self, low_channels: int, cin: int, cout: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.conv_low = conv_block(low_channels, cin)
        self.attention = nn.Sequential(conv_block(4, 2), *conv_bn(2, 1, 3, activation=None), nn.Sigmoid())
        self.conv_out = conv_block(cin, cout)

    def forward(self, low: Tensor, high: Tensor, factor: int) -> Tensor:
        low = self.conv_low(low)
        high = upsample(high, low.shape[2:], self.upsampling, factor=factor)
        seen = [reduce(x, dim=1, keepdim=True) for x in (low, high) for reduce in (torch.mean, torch.amax)]
        weight = self.attention(torch.cat(seen, 1))
        y: Tensor = self.conv_out(weight * low + (1 - weight) * high)
        return y


def pool_to_bins(x: Tensor, bins: int) -> Tensor:
    """Adaptive average pooling of `(N, C, h, w)` to `(N, C, bins, bins)`, as torch defines it, for h and w of any size.

    Means over rows and columns are products with matrices that depend on the size alone. So one graph serves all sizes,
    and once its size is frozen the matrices are constants; pooling operators would need kernels known at export, and
    windows of equal size.
    """
    if bins == 1:
        return x.mean((2, 3), keepdim=True)
    columns = x @ _bin_means(x.shape[3], bins, x)
    return (columns.transpose(2, 3) @ _bin_means(x.shape[2], bins, x)).transpose(2, 3)


def _bin_means(size: int, bins: int, like: Tensor) -> Tensor:
    """`(size, bins)`: the share of each of `size` places in the mean of each bin. A place is in all bins it touches."""
    place = torch.arange(size, device=like.device)[:, None] * bins
    start = torch.arange(bins, device=like.device) * size
    inside = ((place < start + size) & (place + bins > start)).to(like.dtype)
    return inside / inside.sum(0)
