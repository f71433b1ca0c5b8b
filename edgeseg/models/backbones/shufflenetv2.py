"""ShuffleNetV2 (Ma et al., "ShuffleNet V2", ECCV 2018), keys as in torchvision."""

from __future__ import annotations

from typing import Annotated

import msgspec
import torch
from torch import Tensor, nn

from edgeseg.models.backbones.base import Backbone, Downsampling, OutputStride
from edgeseg.models.layers import channel_shuffle, conv_bn

__all__ = ["ShuffleNetV2", "ShuffleWidth"]

ShuffleWidth = Annotated[float, msgspec.Meta(ge=0.5, le=2.0, multiple_of=0.5)]

#: For each width, the channels of stages 2 to 4 and of the last 1x1 convolution.
CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
REPEATS = (4, 8, 4)
STEM = 24


class ShuffleV2Unit(nn.Module):
    """Half of the channels pass as they are, the others through a 1x1, a depthwise 3x3 and a 1x1; then both mix.

    The first unit of a stage, where the channels change, sends all of them through both branches.
    """

    def __init__(self, cin: int, cout: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        half = cout // 2
        self.splits = cin == cout
        self.branch1 = nn.Sequential()
        if not self.splits:
            self.branch1.extend(_depthwise(cin, stride, dilation))
            self.branch1.extend(conv_bn(cin, half, activation=nn.ReLU))
        self.branch2 = nn.Sequential(
            *conv_bn(half if self.splits else cin, half, activation=nn.ReLU),
            *_depthwise(half, stride, dilation),
            *conv_bn(half, half, activation=nn.ReLU),
        )

    def forward(self, x: Tensor) -> Tensor:
        one, other = x.chunk(2, 1) if self.splits else (x, x)
        return channel_shuffle(torch.cat([self.branch1(one), self.branch2(other)], 1), 2)


class ShuffleNetV2(Backbone):
    """Features at strides 2 to `output_stride`; the deepest comes after the last 1x1 convolution.

    Args:
        width: 0.5, 1, 1.5 or 2, the widths of the paper.
        output_stride: Stride of the deepest map; 8 and 16 dilate the last stages.
    """

    prefix = "shuffle_features"

    def __init__(self, *, width: ShuffleWidth = 1.0, output_stride: OutputStride = 32) -> None:
        super().__init__()
        *stages, last = CHANNELS[width]
        cin, down = STEM, Downsampling(output_stride, total=2)
        self.conv1 = nn.Sequential(*conv_bn(3, cin, 3, stride=2, activation=nn.ReLU))
        down.mark(0, cin)
        stride, _ = down.step(2)
        self.maxpool = nn.MaxPool2d(3, stride, padding=1)
        down.mark(1, cin)
        for index, (cout, repeats) in enumerate(zip(stages, REPEATS, strict=True), start=2):
            self.add_module(f"stage{index}", _stage(cin, cout, repeats, down))
            down.mark(index, cout)
            cin = cout
        self.conv5 = nn.Sequential(*conv_bn(cin, last, activation=nn.ReLU))
        down.mark(5, last)
        self.channels, self.deepest, self._down = down.channels, down.total, down

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        return self._down.run(self.children(), x)


def _depthwise(channels: int, stride: int, dilation: int) -> list[nn.Module]:
    return conv_bn(channels, channels, 3, stride=stride, dilation=dilation, groups=channels, activation=None)


def _stage(cin: int, cout: int, repeats: int, down: Downsampling) -> nn.Sequential:
    units = nn.Sequential()
    for designed in (2, *[1] * (repeats - 1)):
        stride, dilation = down.step(designed)
        units.append(ShuffleV2Unit(cin, cout, stride=stride, dilation=dilation))
        cin = cout
    return units
