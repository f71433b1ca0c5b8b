"""What edgeseg needs of pycuda's driver module. Each call but `init` and `Device` wants a context to be pushed."""

from __future__ import annotations

import ctypes
import itertools
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

_stack: list[str] = []
_handles = itertools.count(5000)


class Error(Exception):
    pass


class LogicError(Error):
    code = 201


def _want_context() -> None:
    if not _stack:
        raise LogicError("no currently active context?")


def init() -> None: ...


device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT=16, INTEGRATED=18, CAN_MAP_HOST_MEMORY=19)
host_alloc_flags = SimpleNamespace(DEVICEMAP=2)
event_flags = SimpleNamespace(BLOCKING_SYNC=1)


class Context:
    def push(self) -> None:
        _stack.append("primary")

    @staticmethod
    def pop() -> None:
        _stack.pop()


class Device:
    def __init__(self, number: int) -> None: ...

    def retain_primary_context(self) -> Context:
        return Context()

    def get_attributes(self) -> dict[int, int]:
        known = device_attribute
        return {known.MULTIPROCESSOR_COUNT: 8, known.INTEGRATED: 1, known.CAN_MAP_HOST_MEMORY: 1}

    def compute_capability(self) -> tuple[int, int]:
        return 8, 7

    def name(self) -> str:
        return "Host GPU"

    def total_memory(self) -> int:
        return 8 << 30


def mem_get_info() -> tuple[int, int]:
    _want_context()
    return 4 << 30, 8 << 30


class DeviceAllocation:
    def __init__(self, size: int) -> None:
        self.block = ctypes.create_string_buffer(size)

    def __int__(self) -> int:
        return ctypes.addressof(self.block)

    def free(self) -> None:
        _want_context()


def mem_alloc(size: int) -> DeviceAllocation:
    _want_context()
    return DeviceAllocation(size)


class HostAllocation:
    """What an array of page-locked memory has as its base."""

    def __init__(self, size: int) -> None:
        self.block = ctypes.create_string_buffer(size)
        where = (ctypes.addressof(self.block), False)
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": where, "version": 3}

    def get_device_pointer(self) -> int:
        _want_context()
        return ctypes.addressof(self.block)


def pagelocked_empty(size: int, dtype: Any, mem_flags: int = 0) -> np.ndarray:
    _want_context()
    return np.asarray(HostAllocation(size * np.dtype(dtype).itemsize))


class Stream:
    def __init__(self, flags: int) -> None:
        _want_context()
        self.handle = next(_handles)


class Event:
    def __init__(self, flags: int) -> None:
        _want_context()
        self.at = 0.0

    def record(self, stream: Stream) -> None:
        _want_context()
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        _want_context()

    def query(self) -> bool:
        _want_context()
        return True

    def time_since(self, other: Event) -> float:
        _want_context()
        return 1e3 * (self.at - other.at)


def memcpy_htod_async(address: int, memory: np.ndarray, stream: Stream) -> None:
    _want_context()
    ctypes.memmove(address, memory.ctypes.data, memory.nbytes)


def memcpy_dtoh_async(memory: np.ndarray, address: int, stream: Stream) -> None:
    _want_context()
    ctypes.memmove(memory.ctypes.data, address, memory.nbytes)


def memcpy_dtod_async(to: int, origin: int, size: int, stream: Stream) -> None:
    _want_context()
    ctypes.memmove(to, origin, size)
