"""ONNX Runtime on the CPU."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from edgeseg.backends.base import Engine
from edgeseg.backends.kernels import Kernel, run_on_noise
from edgeseg.backends.onnx_file import OnnxFileBackend, refusal
from edgeseg.backends.session import Buffers, Output
from edgeseg.backends.worker import WorkerSession
from edgeseg.card import Card, Dialect
from edgeseg.device.cpu import inference_threads, int8_saturates
from edgeseg.errors import EdgesegError, ModelFileError

__all__ = ["OnnxRuntime", "session_options"]

#: The library's own exceptions have no common base.
ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    *(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)
#: What the library hangs on the names of nodes and tensors that it makes kernels of.
HUNG_ON = re.compile(r"_token_\d+$|_nchwc$|_q$")
TYPES = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "uint8": "int8", "int8": "int8"}
#: Severity from which the library writes to stderr. Errors are raised too, and need not be told twice.
FATAL = 4


def session_options() -> onnxruntime.SessionOptions:
    """How engines are opened: fully optimized, on all cores that there are, silent."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = inference_threads()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = FATAL
    # Threads that wait for the next frame by spinning would take the cores from camera and display.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class OnnxRuntime(OnnxFileBackend):
    """ONNX Runtime with its own CPU kernels."""

    name = "onnxruntime"
    library = "ONNX Runtime"
    tail = "channels_last_early"
    dialects: tuple[Dialect, ...] = ("u8-asym", "u8-asym-reduced")

    def __init__(self) -> None:
        # Of an `s8-sym` graph most convolutions stay in float, on ARM too: `make test-aarch64` counts them.
        self.dialects = ("u8-asym-reduced",) if int8_saturates() else ("u8-asym",)

    def version(self) -> str:
        return str(onnxruntime.__version__)

    def profile(self, engine: Engine) -> tuple[Kernel, ...]:
        """See `Backend.profile`: medians."""
        model, options = self._read(engine), session_options()
        with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder:
            options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
            library = self._compile(model, options)
            with OrtSession(engine.card, library, "class_map") as session:
                run_on_noise(session)
            events = json.loads(Path(library.end_profiling()).read_bytes())
        return _kernels(events)

    def _open(self, model: onnx.ModelProto, card: Card, output: Output) -> OrtSession:
        options = session_options()
        session = OrtSession(card, self._compile(model, options), output)
        session.execution = {"precision": "fp32", "threads": options.intra_op_num_threads}
        return session

    def _compile(self, model: onnx.ModelProto, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        try:
            return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except ERRORS as error:
            raise refusal(self.library, model, str(error)) from error


class OrtSession(WorkerSession):
    """A session of ONNX Runtime: both pairs of buffers are bound once, and run by address."""

    def __init__(self, card: Card, library: onnxruntime.InferenceSession, output: Output) -> None:
        (frame,), (answer,) = library.get_inputs(), library.get_outputs()
        if not all(isinstance(size, int) for size in answer.shape):
            raise ModelFileError(f"ONNX Runtime finds no fixed shape for '{output}', only {answer.shape}.")
        super().__init__(card, Buffers.zeros(tuple(frame.shape), tuple(answer.shape), output))
        self._library = library
        self._bindings = []
        for given, wanted in zip(self._buffers.inputs, self._buffers.outputs, strict=True):
            binding = library.io_binding()
            binding.bind_input(frame.name, "cpu", 0, np.uint8, given.shape, given.ctypes.data)
            binding.bind_output(answer.name, "cpu", 0, wanted.dtype.type, wanted.shape, wanted.ctypes.data)
            self._bindings.append(binding)

    def _run(self, slot: int) -> None:
        try:
            self._library.run_with_iobinding(self._bindings[slot])
        except ERRORS as error:
            raise EdgesegError(f"ONNX Runtime failed: {error}", hint="Build the engine anew: edgeseg build") from error

    def _free(self) -> None:
        super()._free()
        self._bindings.clear()
        del self._library


def _kernels(events: list[dict[str, Any]]) -> tuple[Kernel, ...]:
    """The kernels of a profile, each of which ran several times, in the order of their first run."""
    ran: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            ran.setdefault(event["args"]["node_index"], []).append(event)
    return tuple(
        Kernel(
            kind=first["args"]["op_name"],
            names=_names(first["name"].removesuffix("_kernel_time")),
            precision=TYPES.get(next((name for given in first["args"]["input_type_shape"] for name in given), ""), ""),
            ms=float(np.median([event["dur"] for event in same])) / 1e3,
        )
        for same in ran.values()
        for first in same[:1]
    )


def _names(name: str) -> tuple[str, ...]:
    """A kernel's name, and what is left of it without what the library hung on."""
    found = [name]
    while (shorter := HUNG_ON.sub("", found[-1])) != found[-1]:
        found.append(shorter)
    return tuple(found)
