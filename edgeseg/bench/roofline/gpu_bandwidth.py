"""How fast a GPU moves bytes within its memory, in its caches and beyond them."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack

from edgeseg.device.cuda import Cuda

__all__ = ["gpu_bandwidths"]

#: Bytes that the smallest and the largest copy touch; the largest is several times the caches of a GPU.
SMALLEST, LARGEST = 1 << 20, 256 << 20
#: Of the memory that is free, a copy takes this share at most.
FREE_SHARE = 0.25
#: Bytes moved in one timing, and timings of each size, of which the best counts.
MOVED, TIMINGS = 256 << 20, 6


def gpu_bandwidths(cuda: Cuda) -> dict[int, float]:
    """Bytes read and written a second when a GPU copies within its memory, by the bytes that a copy touches.

    Raises:
        CudaError: The GPU has too little memory, or fails.
    """
    largest = max(SMALLEST, min(LARGEST, FREE_SHARE * cuda.free_bytes()))
    steps = math.floor(math.log(largest / SMALLEST, 4))
    return {size: _copied(cuda, size) for size in (SMALLEST << 2 * step for step in range(steps + 1))}


def _copied(cuda: Cuda, touched: int) -> float:
    size, times = touched // 2, max(1, MOVED // touched)
    with ExitStack() as held:

        def kept(handle: int, give_back: Callable[[int], None]) -> int:
            held.callback(give_back, handle)
            return handle

        stream = kept(cuda.create_stream(), cuda.destroy_stream)
        begin, end = (kept(cuda.create_event(spin=False), cuda.destroy_event) for _ in range(2))
        to, origin = (kept(cuda.allocate(size), cuda.free) for _ in range(2))

        def copy() -> None:
            for _ in range(times):
                cuda.copy(to, origin, size, stream)

        # As a graph, because the smallest copies are done sooner than Python starts the next.
        graph = cuda.capture(stream, copy)
        if graph is not None:
            kept(graph, cuda.destroy_graph)
        best_ms = math.inf
        for _ in range(TIMINGS):
            cuda.record(begin, stream)
            if graph is not None:
                cuda.launch_graph(graph, stream)
            else:
                copy()
            cuda.record(end, stream)
            cuda.wait(end)
            best_ms = min(best_ms, cuda.milliseconds(begin, end))
    return 1e3 * touched * times / best_ms
