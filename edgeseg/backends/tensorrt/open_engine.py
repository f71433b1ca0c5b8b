"""An engine that the library took: its ends, and the context that it runs in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.backends.base import REBUILD
from edgeseg.backends.session import Shape
from edgeseg.backends.tensorrt.advice import SMALLER
from edgeseg.backends.tensorrt.library import Library
from edgeseg.backends.tensorrt.logger import last_errors, runtime_logger
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.device.cuda import CudaError
from edgeseg.errors import ModelFileError

if TYPE_CHECKING:
    import tensorrt as trt

__all__ = ["CLASS_MAP", "FRAME", "LOGITS", "OpenEngine"]

FRAME, CLASS_MAP, LOGITS = "frame", "class_map", "logits"
#: The library's types of an engine's ends to numpy's.
DTYPES = {"UINT8": "uint8", "HALF": "float16", "FLOAT": "float32"}


class OpenEngine:
    """An engine with a context to run it in, until it is closed.

    Args:
        library: That built it.
        plan: The engine file.
        options: How to run.
        batch: Frames at once, where the engine takes several numbers.

    Attributes:
        names: Of its ends.
        shapes: Of each of these.

    Raises:
        ModelFileError: The library does not take the file, or it has other ends than frames and class maps.
        CudaError: The GPU has too little memory.
    """

    def __init__(self, library: Library, plan: bytes, options: TensorRtOptions, batch: int) -> None:
        runtime: trt.Runtime = library.module.Runtime(runtime_logger(library.name))
        if options.any_version:
            runtime.engine_host_code_allowed = True
        if options.dla_core is not None:
            runtime.DLA_core = options.dla_core
        engine: trt.ICudaEngine | None = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ModelFileError(
                f"{library.name} {library.version} does not take the engine: {last_errors(library.name)}.", hint=REBUILD
            )
        self.names = _ends(engine)
        context: trt.IExecutionContext | None = engine.create_execution_context()
        if context is None:
            raise CudaError(
                f"{library.name} has no memory to run the engine: {last_errors(library.name)}.", hint=SMALLER
            )
        free, *sides = _sides(engine.get_tensor_shape(FRAME))
        if free < 0 and not context.set_input_shape(FRAME, (batch, *sides)):
            raise ModelFileError(f"The engine does not take {batch} frames at a time.", hint=REBUILD)
        self.shapes = {name: _sides(context.get_tensor_shape(name)) for name in self.names}
        self._engine: trt.ICudaEngine | None = engine
        self._context: trt.IExecutionContext | None = context

    def dtype(self, name: str) -> np.dtype[Any]:
        """Of an end."""
        assert self._engine is not None, "an engine that is closed has no ends"
        return np.dtype(DTYPES[self._engine.get_tensor_dtype(name).name])

    def size(self, name: str) -> int:
        """Bytes of an end."""
        return math.prod(self.shapes[name]) * self.dtype(name).itemsize

    def start(self, addresses: Mapping[str, int], stream: int) -> bool:
        """Start it on a stream, with the ends at these addresses; false where the library can't."""
        assert self._context is not None, "an engine that is closed starts nothing"
        for name, address in addresses.items():
            self._context.set_tensor_address(name, address)
        return bool(self._context.execute_async_v3(stream))

    def report_to(self, profiler: trt.IProfiler) -> None:
        """Have a profiler told what each layer took, at each start from now on, which waits for its end then."""
        assert self._context is not None, "an engine that is closed reports nothing"
        self._context.profiler = profiler

    def close(self) -> None:
        """Let go of the library's objects."""
        self._context = self._engine = None


def _ends(engine: trt.ICudaEngine) -> set[str]:
    names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    if not {FRAME, LOGITS} <= names <= {FRAME, CLASS_MAP, LOGITS}:
        raise ModelFileError(
            f"The engine has the ends {', '.join(sorted(names))}; {FRAME} and {LOGITS} are needed.", hint=REBUILD
        )
    return names


def _sides(shape: Any) -> Shape:
    return tuple(int(side) for side in shape)
