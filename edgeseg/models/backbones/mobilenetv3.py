"""MobileNetV3 (Howard et al., "Searching for MobileNetV3", ICCV 2019), keys as in torchvision."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from edgeseg.models.backbones.base import Backbone, Downsampling, OutputStride
from edgeseg.models.layers import WidthMultiplier, conv_bn, make_divisible

__all__ = ["MobileNetV3", "V3Variant"]

V3Variant = Literal["small", "large"]

#: kernel, expanded channels, channels, squeeze-and-excite, h-swish instead of ReLU, stride
BLOCKS: dict[V3Variant, tuple[tuple[int, int, int, bool, bool, int], ...]] = {
    "small": (
        (3, 16, 16, True, False, 2),
        (3, 72, 24, False, False, 2),
        (3, 88, 24, False, False, 1),
        (5, 96, 40, True, True, 2),
        (5, 240, 40, True, True, 1),
        (5, 240, 40, True, True, 1),
        (5, 120, 48, True, True, 1),
        (5, 144, 48, True, True, 1),
        (5, 288, 96, True, True, 2),
        (5, 576, 96, True, True, 1),
        (5, 576, 96, True, True, 1),
    ),
    "large": (
        (3, 16, 16, False, False, 1),
        (3, 64, 24, False, False, 2),
        (3, 72, 24, False, False, 1),
        (5, 72, 40, True, False, 2),
        (5, 120, 40, True, False, 1),
        (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2),
        (3, 200, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 480, 112, True, True, 1),
        (3, 672, 112, True, True, 1),
        (5, 672, 160, True, True, 2),
        (5, 960, 160, True, True, 1),
        (5, 960, 160, True, True, 1),
    ),
}
STEM = 16
#: The last 1x1 convolution has this many times the channels of the last block.
LAST = 6
EPS = 1e-3


class SqueezeExcite(nn.Module):
    """Weigh each channel by a gate between 0 and 1, made from the means of all channels.

    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, with the hard sigmoid of MobileNetV3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = make_divisible(channels // 4)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.activation = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.scale_activation = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))
        return x * gate


class V3Block(nn.Module):
    """An inverted residual with squeeze-and-excite between its depthwise and its projecting convolution.

    `block` nests a sequence per layer; where nothing is expanded it begins with the depthwise one.
    """

    def __init__(
        self,
        cin: int,
        hidden: int,
        cout: int,
        *,
        kernel: int,
        stride: int,
        dilation: int,
        excites: bool,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if hidden != cin:
            layers.append(nn.Sequential(*conv_bn(cin, hidden, eps=EPS, activation=activation)))
        depthwise = conv_bn(
            hidden, hidden, kernel, stride=stride, dilation=dilation, groups=hidden, eps=EPS, activation=activation
        )
        layers.append(nn.Sequential(*depthwise))
        if excites:
            layers.append(SqueezeExcite(hidden))
        layers.append(nn.Sequential(*conv_bn(hidden, cout, eps=EPS, activation=None)))
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.residual else y


class MobileNetV3(Backbone):
    """Features at strides 2 to `output_stride`; the deepest comes after the last 1x1 convolution (576 or 960 channels).

    Args:
        variant: `small` or `large`.
        width: Width multiplier; the paper has 0.35, 0.5, 0.75, 1 and 1.25.
        output_stride: Stride of the deepest map; 8 and 16 dilate the last blocks.
    """

    prefix = "mobile_features"

    def __init__(self, variant: V3Variant, *, width: WidthMultiplier = 1.0, output_stride: OutputStride = 32) -> None:
        super().__init__()
        cin, down = make_divisible(STEM * width), Downsampling(output_stride, total=2)
        layers: list[nn.Module] = [nn.Sequential(*conv_bn(3, cin, 3, stride=2, eps=EPS, activation=nn.Hardswish))]
        down.mark(0, cin)
        for kernel, expanded, channels, excites, swish, designed in BLOCKS[variant]:
            cout, (stride, dilation) = make_divisible(channels * width), down.step(designed)
            layers.append(
                V3Block(
                    cin,
                    make_divisible(expanded * width),
                    cout,
                    kernel=kernel,
                    stride=stride,
                    dilation=dilation,
                    excites=excites,
                    activation=nn.Hardswish if swish else nn.ReLU,
                )
            )
            down.mark(len(layers) - 1, cout)
            cin = cout
        layers.append(nn.Sequential(*conv_bn(cin, LAST * cin, eps=EPS, activation=nn.Hardswish)))
        down.mark(len(layers) - 1, LAST * cin)
        self.features = nn.Sequential(*layers)
        self.channels, self.deepest, self._down = down.channels, down.total, down

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        return self._down.run(self.features, x)
