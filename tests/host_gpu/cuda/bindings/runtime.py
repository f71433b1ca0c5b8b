"""CUDA's runtime API on ordinary memory. `FAULTS` makes a call fail; `LIVE` counts what was not given back."""

from __future__ import annotations

import ctypes
import enum
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


cudaHostAllocDefault, cudaHostAllocMapped = 0, 2
cudaStreamNonBlocking = 1
cudaEventDefault, cudaEventBlockingSync = 0, 1
cudaEventRecordExternal = 1
OK = cudaError_t.cudaSuccess

#: The status that a call gives from now on, by its name.
FAULTS: dict[str, cudaError_t] = {}
#: What is held, by kind.
LIVE: Counter[str] = Counter()
CALLS: list[str] = []
_memory: dict[int, Any] = {}
_events: dict[int, float] = {}
_graphs: dict[int, list[Callable[[], None]]] = {}
_drawing: dict[int, list[Callable[[], None]]] = {}
_handles = itertools.count(1000)


def _call(function: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    def call(*arguments: Any) -> tuple[Any, ...]:
        CALLS.append(function.__name__)
        if function.__name__ in FAULTS:
            return (FAULTS[function.__name__], *([None] if function.__name__ != "cudaEventQuery" else []))
        return (OK, *function(*arguments))

    return call


def give(stream: int, work: Callable[[], None]) -> None:
    """Do `work` now, or when the graph that is drawn of the stream is launched."""
    if stream in _drawing:
        _drawing[stream].append(work)
    else:
        work()


def is_drawing(stream: int) -> bool:
    """Whether a graph is drawn of the stream."""
    return stream in _drawing


def _allocate(size: int, kind: str) -> int:
    block = ctypes.create_string_buffer(size)
    address = ctypes.addressof(block)
    _memory[address] = block
    LIVE[kind] += 1
    return address


def _forget(address: int, kind: str) -> tuple[()]:
    del _memory[address]
    LIVE[kind] -= 1
    return ()


@_call
def cudaSetDevice(device: int) -> tuple[Any, ...]:
    return ()


@_call
def cudaGetDeviceProperties(device: int) -> tuple[Any, ...]:
    integrated = int(os.environ.get("HOST_GPU_INTEGRATED", "0"))
    told = SimpleNamespace(name=b"Host GPU", major=8, minor=7, totalGlobalMem=8 << 30, integrated=integrated)
    told.canMapHostMemory, told.multiProcessorCount = 1, int(os.environ.get("HOST_GPU_MULTIPROCESSORS", "8"))
    return (told,)


def cudaGetErrorString(status: cudaError_t) -> tuple[Any, ...]:
    return OK, status.name.encode()


def cudaGetLastError() -> tuple[Any, ...]:
    return (FAULTS.get("cudaGetLastError", OK),)


def cudaMemGetInfo() -> tuple[Any, ...]:
    return OK, 4 << 30, 8 << 30


@_call
def cudaMalloc(size: int) -> tuple[Any, ...]:
    return (_allocate(size, "memory"),)


@_call
def cudaFree(address: int) -> tuple[Any, ...]:
    return _forget(address, "memory")


@_call
def cudaHostAlloc(size: int, flags: int) -> tuple[Any, ...]:
    return (_allocate(size, "pinned"),)


@_call
def cudaFreeHost(address: int) -> tuple[Any, ...]:
    return _forget(address, "pinned")


@_call
def cudaHostGetDevicePointer(address: int, flags: int) -> tuple[Any, ...]:
    return (address,)


@_call
def cudaMemcpyAsync(to: int, origin: int, size: int, kind: cudaMemcpyKind, stream: int) -> tuple[Any, ...]:
    give(stream, lambda: ctypes.memmove(to, origin, size) and None)
    return ()


@_call
def cudaStreamCreateWithFlags(flags: int) -> tuple[Any, ...]:
    LIVE["stream"] += 1
    return (next(_handles),)


@_call
def cudaStreamDestroy(stream: int) -> tuple[Any, ...]:
    LIVE["stream"] -= 1
    return ()


@_call
def cudaEventCreateWithFlags(flags: int) -> tuple[Any, ...]:
    LIVE["event"] += 1
    return (next(_handles),)


@_call
def cudaEventDestroy(event: int) -> tuple[Any, ...]:
    LIVE["event"] -= 1
    return ()


@_call
def cudaEventRecord(event: int, stream: int) -> tuple[Any, ...]:
    if is_drawing(stream):  # It belongs to the graph, and its time can't be asked for.
        _events.pop(event, None)
    else:
        _events[event] = time.perf_counter()
    return ()


@_call
def cudaEventRecordWithFlags(event: int, stream: int, flags: int) -> tuple[Any, ...]:
    assert flags == cudaEventRecordExternal and is_drawing(stream)
    give(stream, lambda: _events.update({event: time.perf_counter()}))
    return ()


@_call
def cudaEventSynchronize(event: int) -> tuple[Any, ...]:
    return ()


@_call
def cudaEventQuery(event: int) -> tuple[Any, ...]:
    return ()


@_call
def cudaEventElapsedTime(start: int, end: int) -> tuple[Any, ...]:
    return (1e3 * (_events[end] - _events[start]),)


@_call
def cudaStreamBeginCapture(stream: int, mode: cudaStreamCaptureMode) -> tuple[Any, ...]:
    _drawing[stream] = []
    return ()


def cudaStreamEndCapture(stream: int) -> tuple[Any, ...]:
    """A capture ends even where it fails."""
    drawn, handle = _drawing.pop(stream, []), next(_handles)
    if "cudaStreamEndCapture" in FAULTS:
        return FAULTS["cudaStreamEndCapture"], None
    _graphs[handle] = drawn
    LIVE["graph"] += 1
    return OK, handle


@_call
def cudaGraphInstantiateWithFlags(graph: int, flags: int) -> tuple[Any, ...]:
    handle = next(_handles)
    _graphs[handle] = _graphs[graph]
    LIVE["graph exec"] += 1
    return (handle,)


@_call
def cudaGraphDestroy(graph: int) -> tuple[Any, ...]:
    del _graphs[graph]
    LIVE["graph"] -= 1
    return ()


@_call
def cudaGraphLaunch(graph: int, stream: int) -> tuple[Any, ...]:
    for work in _graphs[graph]:
        work()
    return ()


@_call
def cudaGraphExecDestroy(graph: int) -> tuple[Any, ...]:
    del _graphs[graph]
    LIVE["graph exec"] -= 1
    return ()
