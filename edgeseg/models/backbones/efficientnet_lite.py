"""EfficientNet-Lite (Tan and Le, ICML 2019, without squeeze-and-excite and with ReLU6)."""

from __future__ import annotations

from torch import Tensor, nn

from edgeseg.models.backbones.base import Backbone
from edgeseg.models.layers import InvertedResidual, conv_bn

__all__ = ["EfficientNetLite"]

#: expansion, channels, repeats, stride of the first, kernel
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
EPS = 1e-3


class EfficientNetLite(Backbone):
    """EfficientNet-Lite0: features at strides 2, 4, 8, 16 and 32, the deepest with 320 channels.

    The 1280-channel layer of the classifier is left out. Padding is symmetric, which engines fuse; the
    TensorFlow weights were trained with padding on the right and below only, so fine-tune before use.
    """

    deepest = 32

    def __init__(self) -> None:
        super().__init__()
        cin = 32
        self.stem = nn.Sequential(*conv_bn(3, cin, 3, stride=2, eps=EPS))
        blocks: list[nn.Module] = []
        total, self._ends, self.channels = 2, {}, {}
        for expand, cout, repeats, stride, kernel in STAGES:
            for index in range(repeats):
                step = stride if index == 0 else 1
                blocks.append(InvertedResidual(cin, cout, expand=expand, stride=step, kernel=kernel, eps=EPS))
                total *= step
                cin = cout
                self._ends[total], self.channels[total] = len(blocks) - 1, cout
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        x = self.stem(x)
        maps: dict[int, Tensor] = {}
        strides = {end: stride for stride, end in self._ends.items()}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in strides:
                maps[strides[index]] = x
        return maps
