"""The tail of an engine as one kernel of our own: bilinear, argmax and nearest neighbour from logits to class map."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np

from edgeseg.card import Card, Upsampling, tail_size
from edgeseg.device.cuda import Cuda
from edgeseg.device.cuda.nvrtc import compile_cubin

__all__ = ["BLOCK", "Tail", "tail_of"]

#: Threads of a block along x and y.
BLOCK = (32, 8)
COORDINATES: dict[Upsampling, int] = {"align_corners": 0, "half_pixel": 1, "asymmetric": 2}


@dataclass(frozen=True)
class Tail:
    """A tail for one engine.

    Attributes:
        batch, channels: Of the logits.
        low_hw: Their size.
        at_hw: Size at which the best class is picked.
        out_hw: Of the class map.
        upsampling: Coordinates of both resizes.
        threshold: Where there is one channel: class 1 is above it.
        half: The logits are in half precision.
    """

    batch: int
    channels: int
    low_hw: tuple[int, int]
    at_hw: tuple[int, int]
    out_hw: tuple[int, int]
    upsampling: Upsampling
    threshold: float = 0.0
    half: bool = False

    @property
    def macros(self) -> dict[str, str]:
        """What the source is compiled with."""
        (low_h, low_w), (at_h, at_w), (out_h, out_w) = self.low_hw, self.at_hw, self.out_hw
        numbers = {
            "BATCH": self.batch,
            "CHANNELS": self.channels,
            "LOW_H": low_h,
            "LOW_W": low_w,
            "AT_H": at_h,
            "AT_W": at_w,
            "OUT_H": out_h,
            "OUT_W": out_w,
            "COORDINATES": COORDINATES[self.upsampling],
            "HALF": int(self.half),
        }
        return {**{name: str(value) for name, value in numbers.items()}, "THRESHOLD": f"{self.threshold!r}f"}

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks along x and y, one thread for each pixel of the batch."""
        height, width = self.out_hw
        return -(-width // BLOCK[0]), -(-self.batch * height // BLOCK[1])

    def load(self, cuda: Cuda) -> int:
        """The kernel, compiled for this GPU; `Cuda.unload_kernel` gives it back.

        Raises:
            MissingDependency: CUDA's compiler NVRTC is not installed.
            CudaError: It refuses the source, or the GPU the code.
        """
        return cuda.load_kernel(compile_cubin(tail_source(), cuda.device.compute_capability, self.macros), "class_map")

    def launch(self, cuda: Cuda, kernel: int, logits_at: int, class_map_at: int, stream: int) -> None:
        """Start it: `(N, C, h, w)` logits to a `(N, H, W)` uint8 class map, both on the device."""
        cuda.launch(kernel, self.grid, BLOCK, (np.uintp(logits_at), np.uintp(class_map_at)), stream)


def tail_of(card: Card, logits: tuple[int, ...], *, half: bool) -> Tail:
    """The tail that an engine's card describes, for logits of that shape `(N, C, h, w)`."""
    batch, channels, height, width = logits
    return Tail(
        batch=batch,
        channels=channels,
        low_hw=(height, width),
        at_hw=tail_size(card.fixed_size_hw, (height, width), card.upsample),
        out_hw=card.fixed_size_hw,
        upsampling=card.upsampling,
        threshold=card.threshold,
        half=half,
    )


def tail_source() -> str:
    """The kernel's source, CUDA C."""
    return resources.files(__package__).joinpath("tail.cu").read_text()
