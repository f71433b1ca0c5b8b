"""OpenVINO on the CPU."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import onnx
import openvino

from edgeseg.backends.base import Engine
from edgeseg.backends.kernels import Kernel, run_on_noise
from edgeseg.backends.onnx_file import OnnxFileBackend, refusal
from edgeseg.backends.session import Buffers, Output, Session
from edgeseg.card import Card, Dialect
from edgeseg.device.cpu import inference_threads, int8_saturates
from edgeseg.errors import EdgesegError

__all__ = ["OpenVino"]

#: Names of float types: ours to the library's.
FLOATS = {"fp32": "f32", "bf16": "bf16"}
#: Types that kernels run in: the library's names to ours.
TYPES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "u8": "int8", "i8": "int8"}
#: What the library hangs on a node's name where it parts it.
HUNG_ON = re.compile(r"/WithoutBiases$|_\d+$")


class OpenVino(OnnxFileBackend):
    """OpenVINO's CPU plugin."""

    name = "openvino"
    library = "OpenVINO"
    head = "cast"
    tail = "channels_last"
    dialects: tuple[Dialect, ...] = ("u8-asym", "u8-asym-reduced", "s8-sym")

    def __init__(self) -> None:
        self._core = openvino.Core()
        self.dialects = ("u8-asym-reduced", "u8-asym", "s8-sym") if int8_saturates() else ("u8-asym", "s8-sym")
        if "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            self.floats = ("bf16", "fp32")

    def version(self) -> str:
        return str(openvino.get_version()).partition("-")[0]

    def profile(self, engine: Engine) -> tuple[Kernel, ...]:
        """See `Backend.profile`: means."""
        compiled = self._compile(self._read(engine), engine.card, PERF_COUNT=True)
        with OpenVinoSession(engine.card, compiled, "class_map") as session:
            run_on_noise(session)
            return _kernels(compiled)

    def _open(self, model: onnx.ModelProto, card: Card, output: Output) -> OpenVinoSession:
        compiled = self._compile(model, card)
        session = OpenVinoSession(card, compiled, output)
        session.execution = _execution(compiled)
        return session

    def _compile(self, model: onnx.ModelProto, card: Card, **more: bool) -> openvino.CompiledModel:
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": inference_threads(),
            # A pinned thread would wait for its core while a camera or an encoder has it, and another is free.
            "ENABLE_CPU_PINNING": False,
            # Left to itself it takes bf16 where the processor has matrix units for it, and fp16 on ARM.
            "INFERENCE_PRECISION_HINT": FLOATS[card.float_precision],
            **more,
        }
        try:
            return self._core.compile_model(self._core.read_model(model.SerializeToString()), "CPU", options)
        except RuntimeError as error:
            raise refusal(self.library, model, str(error)) from error


class OpenVinoSession(Session):
    """A session of OpenVINO: one request for each pair of buffers, in the library's own queue."""

    def __init__(self, card: Card, compiled: openvino.CompiledModel, output: Output) -> None:
        frame, answer = (tuple(end.shape) for end in (compiled.input(), compiled.output()))
        super().__init__(card, Buffers.zeros(frame, answer, output))
        self._begun_ns, self._ended_ns = [0, 0], [0.0, 0.0]
        self._requests = []
        for given, wanted in zip(self._buffers.inputs, self._buffers.outputs, strict=True):
            request = compiled.create_infer_request()
            request.set_input_tensor(openvino.Tensor(given, shared_memory=True))
            request.set_output_tensor(openvino.Tensor(wanted, shared_memory=True))
            self._requests.append(request)

    def _start(self, slot: int) -> None:
        self._begun_ns[slot] = time.perf_counter_ns()
        self._requests[slot].start_async()

    def _finish(self, slot: int) -> dict[str, float]:
        request = self._requests[slot]
        try:
            request.wait()
        except RuntimeError as error:
            raise EdgesegError(f"OpenVINO failed: {error}", hint="Build the engine anew: edgeseg build") from error
        return {"inference": self._inference_ms(slot)}

    def _inference_ms(self, slot: int) -> float:
        """The library's time from start to end, less the time that the frame waited for the one before it."""
        other = 1 - slot
        for this in (other, slot) if self._begun_ns[other] < self._begun_ns[slot] else (slot,):
            self._ended_ns[this] = self._begun_ns[this] + self._requests[this].latency * 1e6
        return (self._ended_ns[slot] - max(self._begun_ns[slot], self._ended_ns[other])) / 1e6

    def _free(self) -> None:
        self._requests.clear()


def _execution(compiled: openvino.CompiledModel) -> dict[str, Any]:
    """What the compiled model says of itself; `convolutions` counts them by the precision they really run in."""
    names = {theirs: ours for ours, theirs in FLOATS.items()}
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    nodes = (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
    ran = Counter(str(n["runtimePrecision"].value) for n in nodes if n["layerType"].value == "Convolution")
    return {
        "precision": names.get(hint, hint),
        "threads": compiled.get_property("INFERENCE_NUM_THREADS"),
        "convolutions": {names.get(name, name): count for name, count in sorted(ran.items())},
    }


def _kernels(compiled: openvino.CompiledModel) -> tuple[Kernel, ...]:
    """The steps of a compiled model that ran under its profiler, in their order; of less than a microsecond the library
    says that they did not run, so that these are missing.
    """
    told = [
        {key: str(value.value) for key, value in node.get_rt_info().items()} | {"name": node.get_friendly_name()}
        for node in compiled.get_runtime_model().get_ops()
    ]
    return tuple(
        Kernel(
            kind=one["layerType"],
            names=_names(one["originalLayersNames"].split(",")),
            precision=TYPES.get(one["runtimePrecision"], ""),
            ms=int(one["execTimeMcs"]) / 1e3,
        )
        for one in sorted(told, key=lambda one: int(one["execOrder"]))
        if one["execTimeMcs"].isdecimal()
    )


def _names(made_from: list[str]) -> tuple[str, ...]:
    """Names of nodes that went into a step; behind them what is left without what the library hung on them."""
    return (*made_from, *(HUNG_ON.sub("", name) for name in made_from))
