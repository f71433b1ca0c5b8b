"""MobileNetV2 (Sandler et al., CVPR 2018), keys as in the LiteSeg authors' checkpoints."""

from __future__ import annotations

from torch import Tensor, nn

from edgeseg.models.backbones.base import Backbone
from edgeseg.models.layers import InvertedResidual, conv_bn, make_divisible

__all__ = ["MobileNetV2"]

#: expansion, channels, repeats, stride of the first
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV2(Backbone):
    """Features at strides 2, 4, 8, 16 and 32; the deepest comes after the last 1x1 convolution.

    Args:
        width: Width multiplier. The last layer never gets narrower than 1280 channels, as in the paper.
    """

    prefix = "mobile_features"
    deepest = 32

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        cin = make_divisible(32 * width)
        layers: list[nn.Module] = [nn.Sequential(*conv_bn(3, cin, 3, stride=2))]
        total, self._ends, self.channels = 2, {}, {}
        for expand, channels, repeats, stride in STAGES:
            cout = make_divisible(channels * width)
            for index in range(repeats):
                step = stride if index == 0 else 1
                layers.append(InvertedResidual(cin, cout, expand=expand, stride=step))
                total *= step
                cin = cout
                self._ends[total], self.channels[total] = len(layers) - 1, cout
        last = make_divisible(1280 * max(1.0, width))
        layers.append(nn.Sequential(*conv_bn(cin, last)))
        self._ends[total], self.channels[total] = len(layers) - 1, last
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        maps: dict[int, Tensor] = {}
        strides = {end: stride for stride, end in self._ends.items()}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in strides:
                maps[strides[index]] = x
        return maps
