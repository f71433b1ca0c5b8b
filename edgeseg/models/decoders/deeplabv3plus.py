"""DeepLab v3+ (Chen, Zhu, Papandreou, Schroff, Adam, ECCV 2018, arXiv 1802.02611) with separable convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeseg.models.backbones import Backbone
from edgeseg.models.decoders.base import Segmenter
from edgeseg.models.decoders.blocks import conv_block, separable_block
from edgeseg.models.layers import Count, Stride, Upsampling

__all__ = ["DeepLabV3Plus"]

#: Pixels between the taps of the ASPP branches: rates 6, 12 and 18 at output stride 16, and 12, 24 and 36 at 8, as in
#: the paper; so 3, 6 and 9 at 32.
REACHES = (96, 192, 288)


class DeepLabV3Plus(Segmenter):
    """ASPP on the deepest map, upsampled to a low-level skip of few channels and refined by two convolutions.

    Every 3x3 convolution of ASPP and decoder is separable, with batch normalization and ReLU behind both halves.

    Args:
        backbone: Gives the deepest map and the skip.
        num_classes: Channels of the logits.
        low: Stride of the low-level skip, and of the logits.
        low_channels: To which a 1x1 convolution brings the skip, 48 in the paper.
        decoder_width: Channels of the ASPP and the decoder, 256 in the paper.
        upsampling: `half_pixel`, `by_stride` or `align_corners`.

    Raises:
        UsageError: The backbone has no map of stride `low`.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        low: Stride = 4,
        low_channels: Count = 48,
        decoder_width: Count = 256,
        upsampling: Upsampling = "half_pixel",
    ) -> None:
        super().__init__(backbone, upsampling)
        self.need_strides(low)
        self.low, self.deepest = low, backbone.deepest
        deep, width = backbone.channels[backbone.deepest], decoder_width
        rates = (reach // backbone.deepest for reach in REACHES)
        self.aspp = nn.ModuleList(
            [conv_block(deep, width, 1), *(separable_block(deep, width, dilation=rate) for rate in rates)]
        )
        self.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_block(deep, width, 1))
        self.project = conv_block((len(self.aspp) + 1) * width, width, 1)
        self.reduce_low = conv_block(backbone.channels[low], low_channels, 1)
        self.refine = nn.Sequential(separable_block(width + low_channels, width), separable_block(width, width))
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def decode(self, maps: dict[int, Tensor]) -> Tensor:
        deep, low = maps[self.deepest], self.reduce_low(maps[self.low])
        pooled = self.upsample(self.image_pool(deep), deep)
        y = self.project(torch.cat([*(branch(deep) for branch in self.aspp), pooled], 1))
        higher = self.upsample(y, low, self.deepest // self.low)
        logits: Tensor = self.classifier(self.refine(torch.cat([higher, low], 1)))
        return logits
