"""ShuffleNet with 8 groups (Zhang et al., "ShuffleNet", CVPR 2018), as in the LiteSeg authors' checkpoints."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeseg.models.backbones.base import Backbone, Downsampling, OutputStride
from edgeseg.models.layers import channel_shuffle

__all__ = ["ShuffleNet"]

GROUPS = 8
STEM = 24
#: channels and units of stages 2 to 4
STAGES = ((384, 4), (768, 8), (1536, 4))


class ShuffleUnit(nn.Module):
    """A residual bottleneck of grouped 1x1 convolutions whose channels are shuffled in between.

    The first unit of a stage, where the channels change, concatenates its input's 3x3 means with what it computes; the
    others add. Every convolution has a bias; means count pixels beyond the border as zeros.
    """

    def __init__(self, cin: int, cout: int, *, stride: int, dilation: int, compress_groups: int = GROUPS) -> None:
        super().__init__()
        self.stride, self.dilation, self.concatenates = stride, dilation, cin != cout
        width = cout // 4
        self.g_conv_1x1_compress = _grouped_conv(cin, width, compress_groups)
        self.g_conv_1x1_compress.append(nn.ReLU(inplace=True))
        self.depthwise_conv3x3 = nn.Conv2d(width, width, 3, stride, dilation, dilation, groups=width)
        self.bn_after_depthwise = nn.BatchNorm2d(width)
        self.g_conv_1x1_expand = _grouped_conv(width, cout - cin if self.concatenates else cout, GROUPS)

    def forward(self, x: Tensor) -> Tensor:
        y = channel_shuffle(self.g_conv_1x1_compress(x), GROUPS)
        y = self.g_conv_1x1_expand(self.bn_after_depthwise(self.depthwise_conv3x3(y)))
        return torch.relu(torch.cat([self._means(x), y], 1) if self.concatenates else x + y)

    def _means(self, x: Tensor) -> Tensor:
        if self.dilation == 1:
            return functional.avg_pool2d(x, 3, self.stride, padding=1)
        # torch's pools of averages have no dilation, nor ONNX's before opset 19.
        ninths = torch.full((x.shape[1], 1, 3, 3), 1 / 9, dtype=x.dtype, device=x.device)
        return functional.conv2d(x, ninths, padding=self.dilation, dilation=self.dilation, groups=x.shape[1])


class ShuffleNet(Backbone):
    """Features at strides 2 to `output_stride`. The stem is a convolution with bias, not normalized.

    Args:
        output_stride: Stride of the deepest map; 8 and 16 dilate the last stages.
    """

    prefix = "shuffle_features"

    def __init__(self, *, output_stride: OutputStride = 32) -> None:
        super().__init__()
        cin, down = STEM, Downsampling(output_stride, total=2)
        # The checkpoints hold a network that DataParallel had wrapped.
        self.module = nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, cin, 3, 2, padding=1)))
        down.mark(0, cin)
        stride, _ = down.step(2)
        self.module.add_module("maxpool", nn.MaxPool2d(3, stride, padding=1))
        down.mark(1, cin)
        for index, (cout, repeats) in enumerate(STAGES, start=2):
            stage = nn.Sequential()
            for unit in range(repeats):
                stride, dilation = down.step(2 if unit == 0 else 1)
                groups = 1 if cin == STEM else GROUPS
                made = ShuffleUnit(cin, cout, stride=stride, dilation=dilation, compress_groups=groups)
                stage.add_module(f"ShuffleUnit_Stage{index}_{unit}", made)
                cin = cout
            self.module.add_module(f"stage{index}", stage)
            down.mark(index, cout)
        self.channels, self.deepest, self._down = down.channels, down.total, down

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        return self._down.run(self.module, x)


def _grouped_conv(cin: int, cout: int, groups: int) -> nn.Sequential:
    conv = nn.Conv2d(cin, cout, 1, groups=groups)
    return nn.Sequential(OrderedDict(conv1x1=conv, batch_norm=nn.BatchNorm2d(cout)))
