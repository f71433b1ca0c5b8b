"""What every segmentation network of the registry is: a backbone and a decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Literal, cast

from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.models.backbones import Backbone
from edgeseg.models.layers import Upsampling, upsample

__all__ = ["Segmenter"]


class Segmenter(nn.Module, ABC):
    """A backbone, held under its own `prefix`, and the decoder that a subclass adds.

    Attributes:
        prefix: Under which name the backbone's keys lie.
        upsampling: How maps are resized, the logits too. Maps that are rounded down end before the frame does, so that
            there `by_stride` becomes `half_pixel`.
    """

    def __init__(self, backbone: Backbone, upsampling: Upsampling) -> None:
        super().__init__()
        self.prefix, self.upsampling = backbone.prefix, upsampling
        if upsampling == "by_stride" and not backbone.rounds_up:
            self.upsampling = "half_pixel"
        self.add_module(backbone.prefix, backbone)

    def features(self) -> Backbone:
        """The network that makes the feature maps."""
        return cast("Backbone", getattr(self, self.prefix))

    def coordinates(self) -> Literal["align_corners", "half_pixel"]:
        """Those of the last resize, of the logits to the frame's size."""
        return "align_corners" if self.upsampling == "align_corners" else "half_pixel"

    def need_strides(self, *strides: int) -> None:
        """Check that the backbone gives maps of these strides.

        Raises:
            UsageError: It lacks one of them.
        """
        given = self.features().channels
        missing = [stride for stride in strides if stride not in given]
        if missing:
            raise UsageError(
                f"{type(self).__name__} needs the map of stride {_listed(missing)}; "
                f"{type(self.features()).__name__} gives strides {_listed(given)}.",
                hint="Choose among these, or another backbone or output_stride.",
            )

    def finer_strides(self, *, at_least: int) -> list[int]:
        """The strides of the backbone's maps that are finer than its deepest, falling.

        Raises:
            UsageError: They are fewer than the decoder needs.
        """
        backbone = self.features()
        finer = sorted((stride for stride in backbone.channels if stride < backbone.deepest), reverse=True)
        if len(finer) < at_least:
            raise UsageError(
                f"{type(self).__name__} needs {at_least} maps of finer strides than the deepest, {backbone.deepest}; "
                f"{type(backbone).__name__} gives strides {_listed(backbone.channels)}.",
                hint="Choose a larger output_stride, another backbone, or a decoder that reads fewer maps.",
            )
        return finer

    @abstractmethod
    def decode(self, maps: dict[int, Tensor]) -> Tensor:
        """Logits at the decoder's own size from the backbone's maps by stride."""

    def forward_low(self, x: Tensor) -> Tensor:
        """Logits at the decoder's own size, `(N, num_classes, h, w)` for images `(N, 3, H, W)`."""
        return self.decode(self.features()(x))

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the input's size.

        Args:
            x: `(N, 3, H, W)` float, RGB, normalized as the weights expect.

        Returns:
            `(N, num_classes, H, W)`, any range.
        """
        return self.upsample(self.forward_low(x), x)

    def upsample(self, maps: Tensor, like: Tensor, factor: int | None = None) -> Tensor:
        """Bilinear resize of `maps` to the height and width of `like`, whose stride is `factor` times as fine."""
        return upsample(maps, like.shape[2:], self.upsampling, factor=factor)


def _listed(strides: Iterable[int]) -> str:
    return ", ".join(str(stride) for stride in sorted(strides))
