"""EfficientNet-Lite (Tan and Le, ICML 2019, without squeeze-and-excite and with ReLU6)."""

from __future__ import annotations

import math
from typing import Annotated, Literal, cast

import msgspec
from torch import Tensor, nn

from edgeseg.models.backbones.base import Backbone, Downsampling, OutputStride
from edgeseg.models.layers import InvertedResidual, WidthMultiplier, conv_bn, make_divisible

__all__ = ["EfficientNetLite", "LiteVariant"]

LiteVariant = Literal[0, 1, 2]
Stages = Annotated[int, msgspec.Meta(ge=5, le=7)]

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
#: Multipliers of width and depth. The stem and the first and last stage keep their repeats.
VARIANTS: dict[LiteVariant, tuple[float, float]] = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
STEM = 32
EPS = 1e-3


class EfficientNetLite(Backbone):
    """EfficientNet-Lite0, 1 or 2: features at strides 2 to `output_stride`.

    The 1280-channel layer of the classifier is left out. Padding is symmetric, which engines fuse; the
    TensorFlow weights were trained with padding on the right and below only, so fine-tune before use.

    Args:
        variant: 0, 1 or 2, rising in width and depth.
        width: Width multiplier on top of the variant's own, for the stem too; published weights have 1.
        output_stride: Stride of the deepest map; 8 and 16 dilate the last stages.
        stages: How many of the seven stages to keep; five end at stride 16 with the widest map below 200 channels.
    """

    def __init__(
        self,
        variant: LiteVariant = 0,
        *,
        width: WidthMultiplier = 1.0,
        output_stride: OutputStride = 32,
        stages: Stages = 7,
    ) -> None:
        super().__init__()
        self.variant, self.width = variant, width
        factor, depth = VARIANTS[variant]
        cin, down = make_divisible(STEM * width), Downsampling(output_stride, total=2)
        self.stem = nn.Sequential(*conv_bn(3, cin, 3, stride=2, eps=EPS))
        blocks: list[InvertedResidual] = []
        self._repeats: list[int] = []
        for number, (expand, channels, repeats, first, kernel) in enumerate(STAGES[:stages]):
            cout = make_divisible(channels * factor * width)
            inner = 0 < number < len(STAGES) - 1
            self._repeats.append(math.ceil(repeats * depth) if inner else repeats)
            for index in range(self._repeats[-1]):
                stride, dilation = down.step(first if index == 0 else 1)
                blocks.append(
                    InvertedResidual(cin, cout, expand=expand, stride=stride, kernel=kernel, dilation=dilation, eps=EPS)
                )
                down.mark(len(blocks) - 1, cout)
                cin = cout
        self.blocks = nn.Sequential(*blocks)
        self.channels, self.deepest, self._down = down.channels, down.total, down

    def stages(self) -> list[list[InvertedResidual]]:
        """The blocks, stage by stage."""
        blocks = iter(self.blocks)
        return [[cast("InvertedResidual", next(blocks)) for _ in range(repeats)] for repeats in self._repeats]

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        return self._down.run(self.blocks, self.stem(x))
