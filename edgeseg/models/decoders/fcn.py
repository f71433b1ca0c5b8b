"""FCN (Long, Shelhamer, Darrell, CVPR 2015, arXiv 1411.4038) with one head."""

from __future__ import annotations

from torch import Tensor, nn

from edgeseg.models.backbones import Backbone
from edgeseg.models.decoders.base import Segmenter
from edgeseg.models.decoders.blocks import conv_block
from edgeseg.models.layers import Count, Upsampling

__all__ = ["FCN"]


class FCN(Segmenter):
    """A 3x3 convolution and a classifier on the deepest map, the least that a decoder can be.

    This is the form in which segmentation libraries keep FCN: logits at the deepest stride alone, without the paper's
    sums with those of finer strides.

    Args:
        backbone: Gives the deepest map.
        num_classes: Channels of the logits.
        decoder_width: Channels between the two convolutions; None takes a quarter of those of the deepest map.
        upsampling: Of the logits: `half_pixel`, which `by_stride` is here, or `align_corners`.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        decoder_width: Count | None = None,
        upsampling: Upsampling = "half_pixel",
    ) -> None:
        super().__init__(backbone, upsampling)
        self.deepest, deep = backbone.deepest, backbone.channels[backbone.deepest]
        width = decoder_width or max(1, deep // 4)
        self.head = nn.Sequential(conv_block(deep, width), nn.Conv2d(width, num_classes, 1))

    def decode(self, maps: dict[int, Tensor]) -> Tensor:
        logits: Tensor = self.head(maps[self.deepest])
        return logits
