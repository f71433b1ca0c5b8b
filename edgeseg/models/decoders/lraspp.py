"""LR-ASPP (Howard et al., "Searching for MobileNetV3", ICCV 2019, arXiv 1905.02244)."""

from __future__ import annotations

from torch import Tensor, nn

from edgeseg.models.backbones import Backbone
from edgeseg.models.decoders.base import Segmenter
from edgeseg.models.decoders.blocks import conv_block
from edgeseg.models.layers import Count, Stride, Upsampling

__all__ = ["LRASPP"]


class LRASPP(Segmenter):
    """Lite reduced ASPP: the deepest map, weighed by channel, and a low-level map, classified each and summed.

    The channels' weights come from the means of the whole map, as in torchvision; the paper takes means over windows of
    49x49 places. The deepest map is classified before it is upsampled, at less cost and with the same logits, because
    both are linear and a bilinear resize keeps constants.

    Args:
        backbone: Gives the deepest map and the low-level one.
        num_classes: Channels of the logits.
        low: Stride of the low-level map, and of the logits.
        decoder_width: Channels of the deepest map before it is classified, 128 in the paper.
        upsampling: `half_pixel`, `by_stride` or `align_corners`.

    Raises:
        UsageError: The backbone has no map of stride `low`.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        low: Stride = 8,
        decoder_width: Count = 128,
        upsampling: Upsampling = "half_pixel",
    ) -> None:
        super().__init__(backbone, upsampling)
        self.need_strides(low)
        self.low, self.deepest = low, backbone.deepest
        deep = backbone.channels[backbone.deepest]
        self.cbr = conv_block(deep, decoder_width, 1)
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(deep, decoder_width, 1, bias=False), nn.Sigmoid())
        self.low_classifier = nn.Conv2d(backbone.channels[low], num_classes, 1)
        self.high_classifier = nn.Conv2d(decoder_width, num_classes, 1)

    def decode(self, maps: dict[int, Tensor]) -> Tensor:
        deep, low = maps[self.deepest], maps[self.low]
        high: Tensor = self.high_classifier(self.cbr(deep) * self.scale(deep))
        logits: Tensor = self.upsample(high, low, self.deepest // self.low) + self.low_classifier(low)
        return logits
