"""What each layer of an engine takes, as the library's own profiler tells it."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edgeseg.backends.kernels import Kernel, run_on_noise
from edgeseg.backends.tensorrt.layers import Layer
from edgeseg.backends.tensorrt.library import Library
from edgeseg.backends.tensorrt.session import TensorRtSession

__all__ = ["kernels_of", "profile"]

#: What stands between the nodes' names in that of a layer that was fused: `conv1 + relu1`, `PWN(sigmoid, mul)`,
#: `{ForeignNode[first...last]}`.
BETWEEN = re.compile(r"\)*(?: \+ | \|\| |, |$)|\.\.\.|PWN\(|\{ForeignNode\[|\]\}")
#: A copy into another format, which the library makes for a layer that it names.
REFORMAT = "Reformatting CopyNode"
#: What layers read, in our words; other types are none that convolutions compute in.
TYPES = {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16", "int8": "int8", "uint8": "int8"}


def profile(library: Library, session: TensorRtSession, layers: Iterable[Layer]) -> tuple[Kernel, ...]:
    """What each layer of an engine takes; medians.

    Args:
        library: That built the engine.
        session: Of the engine alone and without a CUDA graph, of which a profiler is told nothing.
        layers: As they were told when the engine was built.

    Raises:
        EdgesegError: The library failed.
    """
    profiler = _profiler(library)
    session.report_to(profiler)
    # Ctrl-C raises in the main thread alone. The library's calls of the profiler would not outlive that.
    with ThreadPoolExecutor(1) as other:
        runs = other.submit(run_on_noise, session).result()
    return kernels_of(profiler.times, runs, layers)


def _profiler(library: Library) -> Any:
    class Profiler(library.module.IProfiler):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.times: dict[str, list[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times.setdefault(layer_name, []).append(ms)

    return Profiler()


def kernels_of(times: Mapping[str, Sequence[float]], runs: int, layers: Iterable[Layer]) -> tuple[Kernel, ...]:
    """The steps of an engine.

    Args:
        times: Milliseconds of each layer that the profiler was told of, in the order of the first run.
        runs: How many there were; a layer's name can come more than once in each.
        layers: As they were told when the engine was built.
    """
    known = {layer.name: layer for layer in layers}
    return tuple(
        _kernel(name, known.get(name), statistics.median(taken) * len(taken) / runs) for name, taken in times.items()
    )


def _kernel(name: str, layer: Layer | None, ms: float) -> Kernel:
    """A layer's step: by the nodes that went into it, and by what its name says where these are not told."""
    nodes = layer.nodes if layer is not None else ()
    parts = filter(None, BETWEEN.split(name)) if not name.startswith(REFORMAT) else ()
    return Kernel(
        kind=layer.kind if layer is not None and layer.kind else "layer",
        names=tuple(dict.fromkeys((*nodes, name, *parts))),
        precision=TYPES.get(layer.inputs[0].dtype, "") if layer is not None and layer.inputs else "",
        ms=ms,
    )
