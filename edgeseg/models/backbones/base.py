"""What a decoder may ask of a backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ["Backbone"]


class Backbone(nn.Module, ABC):
    """A network that returns feature maps by stride.

    Attributes:
        prefix: Name under which a decoder holds the backbone, so that its keys are those of the
            published checkpoints.
        channels: For each stride that `forward` returns, the channels of its map.
        deepest: The stride of the map that a decoder's context module reads.
    """

    prefix: str = "backbone"
    channels: dict[int, int]
    deepest: int

    @abstractmethod
    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Feature maps by stride.

        Args:
            x: `(N, 3, H, W)` float, RGB, normalized as the weights expect.

        Returns:
            For each stride `s` of `channels`, `(N, channels[s], ceil(H / s), ceil(W / s))`.
        """
