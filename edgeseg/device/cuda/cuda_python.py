"""CUDA through NVIDIA's cuda-python, in the old layout of its modules and the new one."""

from __future__ import annotations

import ctypes
import importlib
import re
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeseg.device.cuda.base import Cuda, CudaDevice, CudaError, UInt8, failure
from edgeseg.errors import EdgesegError

__all__ = ["CudaPython"]

CTYPES: dict[type[Any], type[Any]] = {
    np.uintp: ctypes.c_void_p,
    np.int32: ctypes.c_int32,
    np.uint32: ctypes.c_uint32,
    np.float32: ctypes.c_float,
}


NOT_READY = 600
#: The first version whose waits let other threads of Python go on.
RELEASES_GIL = (12, 9, 1)
#: Seconds between two questions to an event, with versions before that.
NAP_S = 50e-6


class CudaPython(Cuda):
    """The runtime API, and of the driver API what kernels need. Both share the primary context.

    Raises:
        ModuleNotFoundError: cuda-python is not installed.
        CudaError: There is no GPU, or no driver.
    """

    packages = ("cuda", "cuda.bindings", "cuda.cudart")

    def __init__(self) -> None:
        try:
            self._runtime: Any = importlib.import_module("cuda.bindings.runtime")
            self._driver_name = "cuda.bindings.driver"
        except ModuleNotFoundError as error:
            if error.name not in ("cuda", "cuda.bindings"):
                raise
            self._runtime = importlib.import_module("cuda.cudart")
            self._driver_name = "cuda.cuda"
        version = getattr(importlib.import_module(self._driver_name.rpartition(".")[0]), "__version__", "")
        self.binding = f"cuda-python {version}".strip()
        self._modules: dict[int, Any] = {}
        self._spinning: set[int] = set()
        self._holds_gil = _numbers(version) < RELEASES_GIL
        self._call("cudaSetDevice", 0)
        told = self._call("cudaGetDeviceProperties", 0)
        self.device = CudaDevice(
            name=told.name.decode(),
            compute_capability=f"{told.major}.{told.minor}",
            memory_bytes=told.totalGlobalMem,
            multiprocessors=told.multiProcessorCount,
            integrated=bool(told.integrated),
            maps_host_memory=bool(told.canMapHostMemory),
        )

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call the runtime; its value, once its status was looked at."""
        status, *values = getattr(self._runtime, name)(*arguments)
        if int(status):
            said = self._runtime.cudaGetErrorString(status)[1].decode()
            self._runtime.cudaGetLastError()
            raise failure(name, int(status), said)
        return values[0] if values else None

    def _drive(self, name: str, *arguments: Any) -> Any:
        """Call the driver API, whose module is loaded for kernels alone."""
        driver = importlib.import_module(self._driver_name)
        status, *values = getattr(driver, name)(*arguments)
        if int(status):
            raise failure(name, int(status), driver.cuGetErrorString(status)[1].decode())
        return values[0] if values else None

    def free_bytes(self) -> int:
        status, free, _ = self._runtime.cudaMemGetInfo()
        if int(status):
            raise failure("cudaMemGetInfo", int(status), str(status))
        return int(free)

    def allocate(self, size: int) -> int:
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def pinned(self, size: int, *, mapped: bool) -> UInt8:
        kind = self._runtime.cudaHostAllocMapped if mapped else self._runtime.cudaHostAllocDefault
        pointer = int(self._call("cudaHostAlloc", size, kind))
        block = (ctypes.c_uint8 * size).from_address(pointer)
        weakref.finalize(block, self._runtime.cudaFreeHost, pointer)
        memory = np.ctypeslib.as_array(block)
        memory[:] = 0
        return memory

    def address_of(self, memory: UInt8) -> int:
        return int(self._call("cudaHostGetDevicePointer", memory.ctypes.data, 0))

    def to_device(self, address: int, memory: UInt8, stream: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, memory.ctypes.data, memory.nbytes, kind, stream)

    def to_host(self, memory: UInt8, address: int, stream: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", memory.ctypes.data, address, memory.nbytes, kind, stream)

    def copy(self, to: int, origin: int, size: int, stream: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call("cudaMemcpyAsync", to, origin, size, kind, stream)

    def create_stream(self) -> int:
        return int(self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking))

    def destroy_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", stream)

    def create_event(self, *, spin: bool) -> int:
        event = int(self._call("cudaEventCreateWithFlags", self._runtime.cudaEventBlockingSync))
        if spin:
            self._spinning.add(event)
        return event

    def destroy_event(self, event: int) -> None:
        self._spinning.discard(event)
        self._call("cudaEventDestroy", event)

    def record(self, event: int, stream: int, *, captured: bool = False) -> None:
        if captured:
            self._call("cudaEventRecordWithFlags", event, stream, self._runtime.cudaEventRecordExternal)
        else:
            self._call("cudaEventRecord", event, stream)

    def wait(self, event: int) -> None:
        if event in self._spinning:
            # By asking, because on a Jetson CUDA sleeps in a wait whatever the event's flags are.
            while not self._has_happened(event):
                pass
        elif self._holds_gil:
            while not self._has_happened(event):
                time.sleep(NAP_S)
        else:
            self._call("cudaEventSynchronize", event)

    def _has_happened(self, event: int) -> bool:
        (status,) = self._runtime.cudaEventQuery(event)
        if int(status) == NOT_READY:
            return False
        if int(status):
            raise failure("cudaEventQuery", int(status), self._runtime.cudaGetErrorString(status)[1].decode())
        return True

    def raise_last_error(self) -> None:
        (status,) = self._runtime.cudaGetLastError()
        if int(status):
            raise failure("A call", int(status), self._runtime.cudaGetErrorString(status)[1].decode())

    def milliseconds(self, start: int, end: int) -> float:
        return float(self._call("cudaEventElapsedTime", start, end))

    def capture(self, stream: int, work: Callable[[], None]) -> int | None:
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)
        try:
            work()
        except EdgesegError as error:
            # A capture that broke has to be ended all the same, or the stream stays unusable.
            _, drawn = self._runtime.cudaStreamEndCapture(stream)
            if drawn is not None and int(drawn):
                self._runtime.cudaGraphDestroy(drawn)
            self._runtime.cudaGetLastError()
            if isinstance(error, CudaError) and error.sticky:
                raise
            return None
        try:
            drawn = self._call("cudaStreamEndCapture", stream)
        except CudaError as error:
            if error.sticky:
                raise
            return None
        try:
            return int(self._call("cudaGraphInstantiateWithFlags", drawn, 0))
        except CudaError as error:
            if error.sticky:
                raise
            return None
        finally:
            self._call("cudaGraphDestroy", drawn)

    def launch_graph(self, graph: int, stream: int) -> None:
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call("cudaGraphExecDestroy", graph)

    def load_kernel(self, code: bytes, name: str) -> int:
        module = self._drive("cuModuleLoadData", code)
        kernel = int(self._drive("cuModuleGetFunction", module, name.encode()))
        self._modules[kernel] = module
        return kernel

    def unload_kernel(self, kernel: int) -> None:
        self._drive("cuModuleUnload", self._modules.pop(kernel))

    def launch(
        self, kernel: int, grid: tuple[int, int], block: tuple[int, int], arguments: Sequence[Any], stream: int
    ) -> None:
        values = tuple(int(one) if isinstance(one, np.integer) else float(one) for one in arguments)
        packed = (values, tuple(CTYPES[type(one)] for one in arguments))
        self._drive("cuLaunchKernel", kernel, *grid, 1, *block, 1, 0, stream, packed, 0)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
