"""MobileNetV1 (Howard et al., "MobileNets", 2017, arXiv 1704.04861)."""

from __future__ import annotations

from torch import Tensor, nn

from edgeseg.models.backbones.base import Backbone, Downsampling, OutputStride
from edgeseg.models.layers import WidthMultiplier, conv_bn, make_divisible

__all__ = ["MobileNetV1"]

#: channels and stride of the depthwise separable layers
LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
EPS = 1e-3


class MobileNetV1(Backbone):
    """Features at strides 2 to `output_stride`, from pairs of a depthwise 3x3 and a 1x1 convolution.

    Args:
        width: Width multiplier; the paper has 0.25, 0.5, 0.75 and 1.
        output_stride: Stride of the deepest map; 8 and 16 dilate the last layers.
    """

    prefix = "mobile_features"

    def __init__(self, *, width: WidthMultiplier = 1.0, output_stride: OutputStride = 32) -> None:
        super().__init__()
        cin, down = make_divisible(32 * width), Downsampling(output_stride, total=2)
        layers = [nn.Sequential(*conv_bn(3, cin, 3, stride=2, eps=EPS, activation=nn.ReLU))]
        for channels, designed in LAYERS:
            cout, (stride, dilation) = make_divisible(channels * width), down.step(designed)
            depthwise = conv_bn(cin, cin, 3, stride=stride, dilation=dilation, groups=cin, eps=EPS, activation=nn.ReLU)
            layers.append(nn.Sequential(*depthwise, *conv_bn(cin, cout, eps=EPS, activation=nn.ReLU)))
            down.mark(len(layers) - 1, cout)
            cin = cout
        self.features = nn.Sequential(*layers)
        self.channels, self.deepest, self._down = down.channels, down.total, down

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        return self._down.run(self.features, x)
