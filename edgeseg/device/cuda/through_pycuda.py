"""CUDA through pycuda, for machines that have only that; without graphs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from edgeseg.device.cuda.base import OUT_OF_MEMORY, Cuda, CudaDevice, CudaError, UInt8, failure

__all__ = ["PyCuda"]


class PyCuda(Cuda):
    """The driver API in the primary context, pushed for each call; never `autoinit`, which binds it to a thread.

    Raises:
        ModuleNotFoundError: pycuda is not installed.
        CudaError: There is no GPU, or no driver.
    """

    packages = ("pycuda",)

    def __init__(self) -> None:
        self._driver: Any = importlib.import_module("pycuda.driver")
        self.binding = f"pycuda {importlib.import_module('pycuda').VERSION_TEXT}"
        self._kept: dict[int, Any] = {}
        self._spinning: set[int] = set()
        try:
            self._driver.init()
            device = self._driver.Device(0)
            self._context = device.retain_primary_context()
        except self._driver.Error as error:
            raise CudaError(str(error)) from error
        attributes = device.get_attributes()
        known = self._driver.device_attribute
        major, minor = device.compute_capability()
        self.device = CudaDevice(
            name=device.name(),
            compute_capability=f"{major}.{minor}",
            memory_bytes=device.total_memory(),
            multiprocessors=attributes[known.MULTIPROCESSOR_COUNT],
            integrated=bool(attributes[known.INTEGRATED]),
            maps_host_memory=bool(attributes[known.CAN_MAP_HOST_MEMORY]),
        )

    @contextmanager
    def _active(self, call: str) -> Iterator[None]:
        """The primary context for one call, and its errors as ours."""
        self._context.push()
        try:
            yield
        except self._driver.Error as error:
            raise failure(call, _status(error), str(error)) from error
        finally:
            self._driver.Context.pop()

    def _keep(self, handle: int, made: Any) -> int:
        self._kept[handle] = made
        return handle

    def free_bytes(self) -> int:
        with self._active("mem_get_info"):
            return int(self._driver.mem_get_info()[0])

    def allocate(self, size: int) -> int:
        with self._active("mem_alloc"):
            made = self._driver.mem_alloc(size)
            return self._keep(int(made), made)

    def free(self, address: int) -> None:
        with self._active("free"):
            self._kept.pop(address).free()

    def pinned(self, size: int, *, mapped: bool) -> UInt8:
        flags = self._driver.host_alloc_flags.DEVICEMAP if mapped else 0
        with self._active("pagelocked_empty"):
            made = self._driver.pagelocked_empty(size, np.uint8, mem_flags=flags)
        made[:] = 0
        return np.asarray(made)

    def address_of(self, memory: UInt8) -> int:
        with self._active("get_device_pointer"):
            host: Any = memory.base
            return int(host.get_device_pointer())

    def to_device(self, address: int, memory: UInt8, stream: int) -> None:
        with self._active("memcpy_htod_async"):
            self._driver.memcpy_htod_async(address, memory, self._kept[stream])

    def to_host(self, memory: UInt8, address: int, stream: int) -> None:
        with self._active("memcpy_dtoh_async"):
            self._driver.memcpy_dtoh_async(memory, address, self._kept[stream])

    def copy(self, to: int, origin: int, size: int, stream: int) -> None:
        with self._active("memcpy_dtod_async"):
            self._driver.memcpy_dtod_async(to, origin, size, self._kept[stream])

    def create_stream(self) -> int:
        with self._active("Stream"):
            made = self._driver.Stream(1)
            return self._keep(int(made.handle), made)

    def destroy_stream(self, stream: int) -> None:
        with self._active("Stream"):
            del self._kept[stream]

    def create_event(self, *, spin: bool) -> int:
        with self._active("Event"):
            made = self._driver.Event(self._driver.event_flags.BLOCKING_SYNC)
        if spin:
            self._spinning.add(id(made))
        return self._keep(id(made), made)

    def destroy_event(self, event: int) -> None:
        self._spinning.discard(event)
        with self._active("Event"):
            del self._kept[event]

    def record(self, event: int, stream: int, *, captured: bool = False) -> None:
        with self._active("Event.record"):
            self._kept[event].record(self._kept[stream])

    def wait(self, event: int) -> None:
        with self._active("Event.synchronize"):
            while event in self._spinning and not self._kept[event].query():
                pass
            self._kept[event].synchronize()

    def raise_last_error(self) -> None:
        """Its driver API has no last error; the next call on the stream tells."""

    def milliseconds(self, start: int, end: int) -> float:
        with self._active("Event.time_since"):
            return float(self._kept[end].time_since(self._kept[start]))

    def capture(self, stream: int, work: Callable[[], None]) -> int | None:
        return None

    def launch_graph(self, graph: int, stream: int) -> None:
        raise CudaError("pycuda has no CUDA graphs.", hint="Leave out cuda_graph, or install cuda-python.")

    def destroy_graph(self, graph: int) -> None:
        raise CudaError("pycuda has no CUDA graphs.", hint="Leave out cuda_graph, or install cuda-python.")

    def load_kernel(self, code: bytes, name: str) -> int:
        with self._active("module_from_buffer"):
            module = self._driver.module_from_buffer(code)
            function = module.get_function(name)
            return self._keep(id(function), (module, function))

    def unload_kernel(self, kernel: int) -> None:
        with self._active("Module"):
            del self._kept[kernel]

    def launch(
        self, kernel: int, grid: tuple[int, int], block: tuple[int, int], arguments: Sequence[Any], stream: int
    ) -> None:
        with self._active("launch"):
            self._kept[kernel][1](*arguments, grid=(*grid, 1), block=(*block, 1), stream=self._kept[stream])


def _status(error: Exception) -> int:
    """CUDA's number of an error, which pycuda tells by class and words alone."""
    words = {"illegal memory access": 700, "illegal address": 700, "timed out": 702, "launch failed": 719}
    if type(error).__name__ == "MemoryError" or "out of memory" in str(error):
        return OUT_OF_MEMORY
    return next((status for said, status in words.items() if said in str(error)), 0)
