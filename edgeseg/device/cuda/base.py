"""The CUDA calls that sessions and measurements need, behind one interface for every binding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import EdgesegError

__all__ = ["OUT_OF_MEMORY", "PACKAGE", "Cuda", "CudaDevice", "CudaError", "failure"]

UInt8 = npt.NDArray[np.uint8]
OUT_OF_MEMORY = 2
#: Which of cuda-python's versions, none of which takes a driver that is older than itself.
PACKAGE = "For JetPack 6: pip install 'cuda-python~=12.6.0'; for JetPack 7 and PCs with a recent driver: '~=13.0'"
#: Errors after which every further call of the process fails, by number.
STICKY = frozenset({214, 700, 702, 710, 714, 715, 716, 717, 718, 719, 720, 721, 999})


class CudaError(EdgesegError):
    """A CUDA call failed.

    Attributes:
        sticky: No CUDA call of this process will work any more.
    """

    def __init__(self, message: str, *, hint: str = "", sticky: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.sticky = sticky


def failure(call: str, code: int, said: str) -> CudaError:
    """The error of a call that gave a status other than success.

    Args:
        call: Name of the function.
        code: Its status.
        said: CUDA's own words for that status.
    """
    hint = ""
    if code in STICKY:
        hint = "The GPU is lost to this process: start it anew. If that comes back: sudo dmesg | grep -i -e nvrm -e xid"
    elif code == OUT_OF_MEMORY:
        hint = "Close other programs that use the GPU, or build the engine for a smaller --imgsz."
    return CudaError(f"{call} failed: {said} ({code}).", hint=hint, sticky=code in STICKY)


@dataclass(frozen=True)
class CudaDevice:
    """A GPU as CUDA tells it.

    Attributes:
        compute_capability: Such as `8.7`.
        multiprocessors: How many it has; GPUs of one name can differ in that.
        integrated: It shares its memory with the processor.
        maps_host_memory: It can read and write pinned memory in its place.
    """

    name: str
    compute_capability: str
    memory_bytes: int
    multiprocessors: int
    integrated: bool
    maps_host_memory: bool


class Cuda(ABC):
    """The first GPU, in the primary context, so that every thread and every other library shares it.

    Streams, events, graphs, kernels and addresses of the device's memory are whole numbers. Each method raises
    `CudaError` where CUDA does.

    Attributes:
        binding: Name and version of the Python package.
        device: That everything happens on.
    """

    binding: str
    device: CudaDevice

    @abstractmethod
    def free_bytes(self) -> int:
        """Memory of the device that is free, bytes."""

    @abstractmethod
    def allocate(self, size: int) -> int:
        """Memory of the device, `size` bytes; its address."""

    @abstractmethod
    def free(self, address: int) -> None:
        """Give back what `allocate` gave."""

    @abstractmethod
    def pinned(self, size: int, *, mapped: bool) -> UInt8:
        """Page-locked memory `(size,)` uint8, zeros; `mapped` for memory that the device can use in its place.

        It is given back when nobody refers to it any more.
        """

    @abstractmethod
    def address_of(self, memory: UInt8) -> int:
        """Where the device sees mapped memory, as `pinned` gave it."""

    @abstractmethod
    def to_device(self, address: int, memory: UInt8, stream: int) -> None:
        """Start to copy pinned memory to the device."""

    @abstractmethod
    def to_host(self, memory: UInt8, address: int, stream: int) -> None:
        """Start to copy from the device into pinned memory."""

    @abstractmethod
    def copy(self, to: int, origin: int, size: int, stream: int) -> None:
        """Start to copy `size` bytes from one address of the device's memory to another."""

    @abstractmethod
    def create_stream(self) -> int:
        """A stream that does not wait for others."""

    @abstractmethod
    def destroy_stream(self, stream: int) -> None:
        """Give back a stream on which nothing is under way."""

    @abstractmethod
    def create_event(self, *, spin: bool) -> int:
        """An event; who waits for it spins, or sleeps until it has happened."""

    @abstractmethod
    def destroy_event(self, event: int) -> None:
        """Give back an event."""

    @abstractmethod
    def record(self, event: int, stream: int, *, captured: bool = False) -> None:
        """Have an event happen once all that was given to the stream before is done.

        With `captured` the stream is being captured, and the event happens at each launch of the graph.
        """

    @abstractmethod
    def wait(self, event: int) -> None:
        """Wait until an event has happened; what failed on the stream before it is raised here.

        Other threads of Python go on meanwhile.
        """

    @abstractmethod
    def raise_last_error(self) -> None:
        """Raise what made an earlier call of another library fail, where CUDA knows it."""

    @abstractmethod
    def milliseconds(self, start: int, end: int) -> float:
        """Time between two events that have happened."""

    @abstractmethod
    def capture(self, stream: int, work: Callable[[], None]) -> int | None:
        """What `work` gives to the stream, as a graph to launch at once; it is not done now.

        None where the binding has no graphs, or something in `work` can't be captured.
        """

    @abstractmethod
    def launch_graph(self, graph: int, stream: int) -> None:
        """Start a graph."""

    @abstractmethod
    def destroy_graph(self, graph: int) -> None:
        """Give back a graph."""

    @abstractmethod
    def load_kernel(self, code: bytes, name: str) -> int:
        """The kernel of that name in compiled code (cubin or PTX)."""

    @abstractmethod
    def unload_kernel(self, kernel: int) -> None:
        """Give back a kernel."""

    @abstractmethod
    def launch(
        self, kernel: int, grid: tuple[int, int], block: tuple[int, int], arguments: Sequence[Any], stream: int
    ) -> None:
        """Start a kernel.

        Args:
            kernel: To start.
            grid, block: Blocks, and threads in each, along x and y.
            arguments: numpy scalars of exactly the types that the kernel takes; `np.uintp` for addresses.
            stream: To start it on.
        """
