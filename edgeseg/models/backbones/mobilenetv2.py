"""MobileNetV2 (Sandler et al., CVPR 2018), keys as in torchvision and in the LiteSeg authors' checkpoints."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from edgeseg.models.backbones.base import Backbone, Downsampling, OutputStride
from edgeseg.models.layers import InvertedResidual, WidthMultiplier, conv_bn, make_divisible

__all__ = ["MobileNetV2"]

#: expansion, channels, repeats, stride of the first
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV2(Backbone):
    """Features at strides 2 to `output_stride`; the deepest comes after the last 1x1 convolution.

    Args:
        width: Width multiplier. The last layer never gets narrower than 1280 channels, as in the paper.
        output_stride: Stride of the deepest map; 8 and 16 dilate the last stages.
    """

    prefix = "mobile_features"

    def __init__(self, *, width: WidthMultiplier = 1.0, output_stride: OutputStride = 32) -> None:
        super().__init__()
        cin, down = make_divisible(32 * width), Downsampling(output_stride, total=2)
        layers: list[nn.Module] = [nn.Sequential(*conv_bn(3, cin, 3, stride=2))]
        for expand, channels, repeats, first in STAGES:
            cout = make_divisible(channels * width)
            for index in range(repeats):
                stride, dilation = down.step(first if index == 0 else 1)
                layers.append(InvertedResidual(cin, cout, expand=expand, stride=stride, dilation=dilation))
                down.mark(len(layers) - 1, cout)
                cin = cout
        last = make_divisible(1280 * max(1.0, width))
        layers.append(nn.Sequential(*conv_bn(cin, last)))
        down.mark(len(layers) - 1, last)
        self.features = nn.Sequential(*layers)
        self.channels, self.deepest, self._down = down.channels, down.total, down

    @property
    def stem(self) -> nn.Module:
        """The first convolution and its normalization."""
        return self.features[0]

    def stages(self) -> list[list[InvertedResidual]]:
        """The blocks, stage by stage, without stem and last layer."""
        blocks = iter(list(self.features)[1:-1])
        return [[cast("InvertedResidual", next(blocks)) for _ in range(repeats)] for _, _, repeats, _ in STAGES]

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        return self._down.run(self.features, x)
