"""U-Net (Ronneberger, Fischer, Brox, MICCAI 2015, arXiv 1505.04597) on any backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeseg.models.backbones import Backbone
from edgeseg.models.decoders.base import Segmenter
from edgeseg.models.decoders.blocks import conv_block, separable_block
from edgeseg.models.layers import Count, Upsampling

__all__ = ["UNet"]


class UNet(Segmenter):
    """From the deepest map up by one stride at a time: upsample, concatenate the backbone's map, two 3x3 convolutions.

    The skips are all maps of the backbone that are finer than its deepest; logits come at the finest. Unlike in the
    paper, maps are padded and keep their size, are upsampled bilinearly, and the convolutions are separable.

    Args:
        backbone: Gives the maps.
        num_classes: Channels of the logits.
        decoder_width: Channels at stride 2; at each coarser stride they are twice as many.
        separable: Depthwise and 1x1 convolutions in the place of the paper's 3x3 ones.
        upsampling: `half_pixel`, `by_stride` or `align_corners`.

    Raises:
        UsageError: The backbone has no map that is finer than its deepest.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        decoder_width: Count = 32,
        separable: bool = True,
        upsampling: Upsampling = "half_pixel",
    ) -> None:
        super().__init__(backbone, upsampling)
        self.deepest, self.skips = backbone.deepest, self.finer_strides(at_least=1)
        block = separable_block if separable else conv_block
        self.up = nn.ModuleList()
        below = backbone.channels[backbone.deepest]
        for stride in self.skips:
            width = decoder_width * stride // 2
            self.up.append(nn.Sequential(block(below + backbone.channels[stride], width), block(width, width)))
            below = width
        self.classifier = nn.Conv2d(below, num_classes, 1)

    def decode(self, maps: dict[int, Tensor]) -> Tensor:
        y, above = maps[self.deepest], self.deepest
        for stride, mix in zip(self.skips, self.up, strict=True):
            y = mix(torch.cat([self.upsample(y, maps[stride], above // stride), maps[stride]], 1))
            above = stride
        logits: Tensor = self.classifier(y)
        return logits
