"""What a decoder may ask of a backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

__all__ = ["Backbone", "Downsampling", "OutputStride"]

OutputStride = Literal[8, 16, 32]


class Backbone(nn.Module, ABC):
    """A network that returns feature maps by stride.

    Attributes:
        prefix: Name under which a decoder holds the backbone, so that its keys are those of the
            published checkpoints.
        channels: For each stride that `forward` returns, the channels of its map.
        deepest: The stride of the map that a decoder's context module reads.
        rounds_up: Whether maps have a cell for what their stride leaves over at the frame's edge.
    """

    prefix: str = "backbone"
    rounds_up: bool = True
    channels: dict[int, int]
    deepest: int

    @abstractmethod
    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Feature maps by stride.

        Args:
            x: `(N, 3, H, W)` float, RGB, normalized as the weights expect.

        Returns:
            For each stride `s` of `channels`, `(N, channels[s], ceil(H / s), ceil(W / s))`, rounded down instead where
            not `rounds_up`.
        """


class Downsampling:
    """Counts strides along a backbone, and dilates instead once the output stride is reached.

    The layer that would have halved the map keeps the dilation of those before it; the layers after it get twice that
    (Chen et al., "Rethinking Atrous Convolution", 2017, arXiv 1706.05587).

    Attributes:
        total: Stride of the last layer's map.
        channels: For each stride so far, the channels of its last map.
        ends: For each stride so far, the index of the layer that made it.
    """

    def __init__(self, output_stride: OutputStride, *, total: int) -> None:
        self.output_stride, self.total, self.dilation = output_stride, total, 1
        self.channels: dict[int, int] = {}
        self.ends: dict[int, int] = {}

    def step(self, stride: int) -> tuple[int, int]:
        """Stride and dilation of the next layer, which was designed with `stride`."""
        dilation = self.dilation
        if self.total * stride > self.output_stride:
            self.dilation *= stride
            return 1, dilation
        self.total *= stride
        return stride, dilation

    def mark(self, index: int, channels: int) -> None:
        """Layer `index` returns a map of `channels`: so far the last one of its stride."""
        self.ends[self.total], self.channels[self.total] = index, channels

    def run(self, layers: Iterable[nn.Module], x: Tensor) -> dict[int, Tensor]:
        """Pass `x` through the layers and return the last map of each stride."""
        strides = {end: stride for stride, end in self.ends.items()}
        maps: dict[int, Tensor] = {}
        for index, layer in enumerate(layers):
            x = layer(x)
            if index in strides:
                maps[strides[index]] = x
        return maps
