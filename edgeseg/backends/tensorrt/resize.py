"""Our own kernel that brings camera frames to the network's size on the GPU."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.card import Resize
from edgeseg.device.cuda import Cuda
from edgeseg.device.cuda.nvrtc import compile_cubin
from edgeseg.errors import UsageError
from edgeseg.windows import PADDING, windows_of

__all__ = ["GpuResize", "OpenResize", "resize_source", "taps"]

Int32 = npt.NDArray[np.int32]
#: Threads of a block, along x and y.
BLOCK = (32, 8)
#: A weight of one.
WHOLE = 2048


@dataclass(frozen=True)
class GpuResize:
    """What the kernel does.

    Attributes:
        batch, channels: Frames at once, and bytes of a pixel.
        from_hw: Height and width of the camera's frames, pixels.
        to_hw: Of the network's.
        resize: How.

    Raises:
        UsageError: It has no such interpolation.
    """

    batch: int
    channels: int
    from_hw: tuple[int, int]
    to_hw: tuple[int, int]
    resize: Resize

    def __post_init__(self) -> None:
        if self.resize.interpolation == "area":
            raise UsageError(
                "On the GPU frames are resized by 'linear' or 'nearest'; this model wants 'area'.",
                hint="Let the processor resize: leave out --gpu-resize.",
            )

    @property
    def macros(self) -> dict[str, str]:
        """What the source is compiled with."""
        _, target = windows_of(self.from_hw, self.to_hw, self.resize.mode)
        numbers = {
            "BATCH": self.batch,
            "CHANNELS": self.channels,
            "FROM_H": self.from_hw[0],
            "FROM_W": self.from_hw[1],
            "TO_H": self.to_hw[0],
            "TO_W": self.to_hw[1],
            "TOP": target.top,
            "LEFT": target.left,
            "HEIGHT": target.height,
            "WIDTH": target.width,
            "PADDING": PADDING,
        }
        return {name: str(value) for name, value in numbers.items()}

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks along x and y, one thread for each pixel of the batch."""
        height, width = self.to_hw
        return -(-width // BLOCK[0]), -(-self.batch * height // BLOCK[1])

    def tables(self) -> tuple[Int32, Int32]:
        """Taps of the rows and of the columns at which the frame is shown, see `taps`."""
        inside, target = windows_of(self.from_hw, self.to_hw, self.resize.mode)
        nearest = self.resize.interpolation == "nearest"
        rows = taps(inside.height, target.height, nearest=nearest) + np.array([inside.top, inside.top, 0], np.int32)
        columns = taps(inside.width, target.width, nearest=nearest) + np.array([inside.left, inside.left, 0], np.int32)
        return rows.astype(np.int32), columns.astype(np.int32)


class OpenResize:
    """The kernel on a GPU, with its tables and the frames that it gives.

    Args:
        wanted: What it does.
        cuda: The GPU.
        stream: To copy the tables on; they are there when this returns.
        held: Is given what has to be given back.

    Raises:
        MissingDependency: CUDA's compiler NVRTC is not installed.
        CudaError: It refuses the source, or the GPU the code, or there is no memory.
    """

    def __init__(self, wanted: GpuResize, cuda: Cuda, stream: int, held: ExitStack) -> None:
        self._wanted, self._cuda = wanted, cuda
        code = compile_cubin(resize_source(), cuda.device.compute_capability, wanted.macros)
        self._kernel = cuda.load_kernel(code, "resize")
        held.callback(cuda.unload_kernel, self._kernel)
        self._tables = [self._keep(table, stream, held) for table in wanted.tables()]
        self._frames_at = cuda.allocate(wanted.batch * math.prod(wanted.to_hw) * wanted.channels)
        held.callback(cuda.free, self._frames_at)

    def launch(self, given_at: int, stream: int) -> int:
        """Start it on the camera's frames at that address of the device; the address of the network's frames."""
        addresses = (given_at, *self._tables, self._frames_at)
        self._cuda.launch(self._kernel, self._wanted.grid, BLOCK, tuple(map(np.uintp, addresses)), stream)
        return self._frames_at

    def _keep(self, table: Int32, stream: int, held: ExitStack) -> int:
        """A table in the device's memory."""
        cuda, content = self._cuda, np.ascontiguousarray(table).view(np.uint8).ravel()
        memory, address = cuda.pinned(content.size, mapped=False), cuda.allocate(content.size)
        held.callback(cuda.free, address)
        memory[:] = content
        cuda.to_device(address, memory, stream)
        done = cuda.create_event(spin=False)
        cuda.record(done, stream)
        cuda.wait(done)
        cuda.destroy_event(done)
        return address


def taps(source: int, target: int, *, nearest: bool) -> Int32:
    """Where each of `target` places reads among `source`, as OpenCV has it.

    Returns:
        `(target, 3)` int32: the two places, and the weight of the second out of 2048.
    """
    if nearest:
        places = np.arange(source, dtype=np.float32)[None]
        (first,) = cv2.resize(places, (target, 1), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int32)
        return np.stack([first, first, np.zeros_like(first)], 1)
    place = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int32)
    weight = place - first
    beyond = (first < 0) | (first >= source - 1)
    first = np.clip(first, 0, source - 1)
    second = np.rint(np.where(beyond, np.float32(0), weight) * np.float32(WHOLE)).astype(np.int32)
    return np.stack([first, np.minimum(first + 1, source - 1), second], 1).astype(np.int32)


def resize_source() -> str:
    """The kernel's source, CUDA C."""
    return resources.files(__package__).joinpath("resize.cu").read_text()
