"""TensorRT's bindings of the version in `HOST_TENSORRT`, whose engines ONNX Runtime computes."""

from __future__ import annotations

import ctypes
import json
import math
import os
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from tests.backends.tensorrt.stand_in import asked_for, stand_in

#: What goes wrong from now on: "deserialize" gives None, "execute" gives False ("execute while captured" and "execute
#: under a profiler" then alone), "context" gives None.
FAULTS: set[str] = set()
#: What a profiler is told of; without any, of the graph's nodes.
LAYERS: list[str] = []
#: ONNX Runtime's types to TensorRT's and numpy's.
TYPES = {
    "tensor(uint8)": ("UINT8", "uint8"),
    "tensor(float16)": ("HALF", "float16"),
    "tensor(float)": ("FLOAT", "float32"),
}
MAGIC = b"plan of a GPU that is none"


class Engine:
    """A graph, open in ONNX Runtime, with the names that the session uses."""

    def __init__(self, graph: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # Optimized, it computes Q/DQ graphs in half precision wrongly.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.ends = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self.ends)
        self._graph = graph
        custom = self.session.get_modelmeta().custom_metadata_map
        self.profile = json.loads(custom.get("profile", "[1, 1, 1]"))

    @cached_property
    def layers(self) -> list[str]:
        """Names of its nodes."""
        import onnx

        return [node.name for node in onnx.load_model_from_string(self._graph).graph.node]

    def get_tensor_name(self, index: int) -> str:
        return str(self.ends[index].name)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        sides = next(end.shape for end in self.ends if end.name == name)
        return tuple(side if isinstance(side, int) else -1 for side in sides)

    def get_tensor_dtype(self, name: str) -> Any:
        (kind,) = (end.type for end in self.ends if end.name == name)
        return module.DataType[TYPES[kind][0]]

    def create_execution_context(self) -> Context | None:
        return None if "context" in FAULTS else Context(self)

    def create_engine_inspector(self) -> Inspector:
        return Inspector()


class Inspector:
    def get_engine_information(self, format: Any) -> str:
        return '{"Layers": []}'


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.addresses = engine, {}
        self.batch = next((side for side in engine.get_tensor_shape("frame")[:1] if side > 0), 0)
        self.profiler: Any = None

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        fewest, _, most = self.engine.profile
        if not fewest <= shape[0] <= most:
            return False
        self.batch = shape[0]
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Of an output, with the batch that was set."""
        return tuple(self.batch if side < 0 else side for side in self.engine.get_tensor_shape(name))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        from cuda.bindings.runtime import give, is_drawing

        broken = {"execute while captured": is_drawing(stream), "execute under a profiler": self.profiler is not None}
        if FAULTS & {"execute", *(fault for fault, now in broken.items() if now)}:
            return False
        addresses = dict(self.addresses)
        give(stream, lambda: self._run(addresses))
        return True

    def _run(self, addresses: dict[str, int]) -> None:
        given, *wanted = self.engine.ends
        begin = time.perf_counter()
        answers = self.engine.session.run(None, {given.name: self._at(addresses[given.name], given)})
        if self.profiler is not None:
            self._report(1e3 * (time.perf_counter() - begin))
        for end, answer in zip(wanted, answers, strict=True):
            self._at(addresses[end.name], end)[...] = answer

    def _report(self, ms: float) -> None:
        """Each layer takes as long."""
        layers = LAYERS or self.engine.layers
        for name in layers:
            self.profiler.report_layer_time(name, ms / len(layers))

    def _at(self, address: int, end: Any) -> Any:
        """The array at an address, of an end's type and shape."""
        dtype, shape = np.dtype(TYPES[end.type][1]), self.get_tensor_shape(end.name)
        size = math.prod(shape) * dtype.itemsize
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)).view(dtype).reshape(shape)


_graph: list[bytes] = []


def _parse(path: str) -> bool:
    _graph[:] = [Path(path).read_bytes()]
    return True


def _frame_shape() -> tuple[int, ...]:
    """The input's, where it is free -1."""
    import onnx

    (frame,) = onnx.load_model_from_string(_graph[0]).graph.input
    return tuple(side.dim_value or -1 for side in frame.type.tensor_type.shape.dim)


class _Frame:
    """The network's input."""

    name = "frame"

    @property
    def shape(self) -> tuple[int, ...]:
        return _frame_shape()


def _kinds(model: Any) -> set[str]:
    """Operators of a graph, and "half QuantizeLinear" where a scale is in half precision."""
    import onnx

    halves = {one.name for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT16}
    quantized = (node for node in model.graph.node if node.op_type == "QuantizeLinear")
    half = {"half QuantizeLinear"} if any(node.input[1] in halves for node in quantized) else set()
    return half | {node.op_type for node in model.graph.node}


def _lacks_int8(model: Any) -> bool:
    """Whether a graph has Q/DQ nodes for a network of weak types without INT8, which TensorRT refuses."""
    strong = module.NetworkDefinitionCreationFlag.__members__.get("STRONGLY_TYPED")
    typed = strong is not None and any(flags & 1 << strong for (flags,) in asked_for(module, "Builder.create_network"))
    told = {flag.name for (flag,) in asked_for(module, "IBuilderConfig.set_flag")}
    return "QuantizeLinear" in _kinds(model) and not typed and "INT8" not in told


def _build(network: Any, config: Any) -> bytes | None:
    """The graph, with the outputs that were marked beside its own."""
    import onnx

    model = onnx.load_model_from_string(_graph[0])
    if os.environ.get("HOST_REFUSES") in _kinds(model) or _lacks_int8(model):
        return None
    for (tensor,) in asked_for(module, "INetworkDefinition.mark_output"):
        if any(output.name == tensor.name for output in model.graph.output):
            continue
        typed = onnx.shape_inference.infer_shapes(model).graph.value_info
        kind = next(value.type.tensor_type.elem_type for value in typed if value.name == tensor.name)
        model.graph.output.append(onnx.helper.make_tensor_value_info(tensor.name, kind, None))
    for _, fewest, usual, most in asked_for(module, "IOptimizationProfile.set_shape")[-1:]:
        entry = model.metadata_props.add()
        entry.key, entry.value = "profile", json.dumps([fewest[0], usual[0], most[0]])
    return MAGIC + model.SerializeToString()


def _deserialize(plan: bytes) -> Engine | None:
    broken = "deserialize" in FAULTS or not bytes(plan).startswith(MAGIC)
    return None if broken else Engine(bytes(plan)[len(MAGIC) :])


module = stand_in(
    os.environ.get("HOST_TENSORRT", "10.3.0"),
    {
        "OnnxParser.parse_from_file": _parse,
        "Builder.build_serialized_network": _build,
        "Builder.num_DLA_cores": int(os.environ.get("HOST_DLA_CORES", "0")),
        "IBuilderConfig.can_run_on_DLA": lambda layer: False,
        "ILayer.name": "edgeseg.tail.argmax",
        "INetworkDefinition.num_layers": 1,
        "INetworkDefinition.get_input": lambda index: _Frame(),
        "ILayer.num_outputs": 1,
        "ITensor.name": "logits",
        "IBuilderConfig.set_timing_cache": True,
        "ITimingCache.serialize": b"times",
        "Runtime.deserialize_cuda_engine": _deserialize,
    },
)
globals().update({name: value for name, value in vars(module).items() if not name.startswith("__")})
__version__ = module.__version__
