"""DarkNet19 (Redmon, Farhadi, "YOLO9000", CVPR 2017), as in the LiteSeg authors' checkpoints."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from edgeseg.models.backbones.base import Backbone, Downsampling, OutputStride

__all__ = ["DarkNet19"]

#: Layers by number: channels and kernel of a convolution, or None for a 2x2 max pool.
LAYERS: dict[int, tuple[int, int] | None] = {
    1: (32, 3),
    2: None,
    3: (64, 3),
    4: None,
    5: (128, 3),
    6: (64, 1),
    7: (128, 3),
    8: None,
    9: (256, 3),
    10: (128, 1),
    11: (256, 3),
    12: None,
    13: (512, 3),
    14: (256, 1),
    15: (512, 3),
    16: (256, 1),
    17: (512, 3),
    18: None,
    19: (1024, 3),
    20: (512, 1),
    21: (1024, 3),
    22: (512, 1),
    23: (1024, 3),
}
#: In LiteSeg, layers padded by one pixel more than keeps the map's size, and by one less.
GROWING, SHRINKING = {14, 16, 20}, {19, 21, 23}


class ConvBatch(nn.Module):
    """Convolution without bias, batch normalization, LeakyReLU of slope 0.1."""

    def __init__(self, cin: int, cout: int, kernel: int, *, padding: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(cin, cout, kernel, padding=padding, dilation=dilation, bias=False),
            nn.BatchNorm2d(cout),
            nn.LeakyReLU(0.1, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class DarkNet19(Backbone):
    """Features at strides 2 to `output_stride`, without the ImageNet classifier.

    LiteSeg stops at stride 16, where DarkNet19 itself goes on to 32: layer 18 does not pool and those after it are
    dilated. Some of its 1x1 convolutions are padded, whose extra border the dilated ones take off again, so that the
    map grows by four pixels on the way. Pools drop a last odd row or column: a map of stride `s` has
    `floor(H / s)` x `floor(W / s)` pixels, and images need at least as many rows and columns as `output_stride`.

    Args:
        output_stride: Stride of the deepest map. 32 is DarkNet19 itself, without LiteSeg's padding; 8 leaves out the
            pool of layer 12 too and doubles the dilation.
    """

    prefix, rounds_up = "resnet_features", False

    def __init__(self, *, output_stride: OutputStride = 16) -> None:
        super().__init__()
        cin, down, dilates = 3, Downsampling(output_stride, total=1), output_stride < 32
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, layer in LAYERS.items():
            stride, dilation = down.step(1 if layer else 2)
            if layer is None:
                layers[f"{number}_max"] = nn.MaxPool2d(2) if stride == 2 else nn.Identity()
                continue
            cout, kernel = layer
            padding = dilation * (kernel // 2) + dilates * ((number in GROWING) - (number in SHRINKING))
            layers[f"{number}_convbatch"] = ConvBatch(cin, cout, kernel, padding=padding, dilation=dilation)
            if down.total > 1:
                down.mark(number - 1, cout)
            cin = cout
        self.layers = nn.Sequential(layers)
        self.channels, self.deepest, self._down = down.channels, down.total, down

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        return self._down.run(self.layers, x)
