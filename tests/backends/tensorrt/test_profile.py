"""What each layer takes: the profiler's names, and the nodes that went into them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("onnx_ir")
pytest.importorskip("onnxruntime")

from edgeseg.backends import EngineOptions, open_backend
from edgeseg.backends.kernels import Kernel
from edgeseg.backends.tensorrt.layers import Layer, Tensor, layers_path
from edgeseg.backends.tensorrt.profile import kernels_of
from edgeseg.device.cuda import CudaError
from tests.backends.frame_graphs import write_frame_graph
from tests.engines import host_gpu

FUSED = "conv1 + PWN(PWN(sigmoid1), mul1)"
REFORMAT = "Reformatting CopyNode for Input Tensor 0 to conv2 + relu2"


def layer(name: str, kind: str, dtype: str, *nodes: str) -> Layer:
    ends = (Tensor("x", (1, 3, 32, 48), dtype),)
    return Layer(name=name, kind=kind, nodes=nodes, inputs=ends, constants=(), outputs=ends, tactic="")


@pytest.mark.parametrize(
    ("name", "told", "expected"),
    [
        pytest.param(
            FUSED,
            [layer(FUSED, "CaskConvolution", "int8", "conv1", "sigmoid1", "mul1")],
            Kernel("CaskConvolution", ("conv1", "sigmoid1", "mul1", FUSED), "int8", 2.0),
            id="the nodes that went into it come first",
        ),
        pytest.param(
            "conv1_myl0_3",
            [layer("conv1_myl0_3", "correlation", "fp16", "conv1"), layer("other", "kgen", "fp32", "conv2")],
            Kernel("correlation", ("conv1", "conv1_myl0_3"), "fp16", 2.0),
            id="the library's own name tells nothing",
        ),
        pytest.param(
            FUSED,
            [],
            Kernel("layer", (FUSED, "conv1", "sigmoid1", "mul1"), "", 2.0),
            id="without nodes, what was fused stands in its name",
        ),
        pytest.param(
            "{ForeignNode[conv1...relu7]}",
            [],
            Kernel("layer", ("{ForeignNode[conv1...relu7]}", "conv1", "relu7"), "", 2.0),
            id="of a region both ends",
        ),
        pytest.param(
            "conv1 || conv2",
            [layer("conv1 || conv2", "CaskConvolution", "int64")],
            Kernel("CaskConvolution", ("conv1 || conv2", "conv1", "conv2"), "", 2.0),
            id="side by side, of a type that none computes in",
        ),
        pytest.param(
            REFORMAT,
            [layer(REFORMAT, "Reformat", "uint8")],
            Kernel("Reformat", (REFORMAT,), "int8", 2.0),
            id="a copy into another format is the library's own",
        ),
    ],
)
def test_a_layer_is_joined_with_its_nodes(name: str, told: list[Layer], expected: Kernel) -> None:
    times = [2.0, 9.0, 1.0]
    assert kernels_of({name: times}, 3, told) == (expected,)
    assert kernels_of({name: times * 2}, 3, told) == (replace(expected, ms=4.0),), "it comes twice in each run"


@pytest.fixture
def gpu() -> Iterator[Any]:
    """CUDA's runtime of the GPU that is none."""
    with host_gpu():
        yield importlib.import_module("cuda.bindings.runtime")


def test_an_engine_is_profiled_without_a_graph_and_gives_all_back(gpu: Any, tmp_path: Path) -> None:
    backend, library = open_backend("tensorrt"), importlib.import_module("tensorrt")
    graph = write_frame_graph(tmp_path / "graph.onnx", head="cast")
    engine = backend.build(graph, tmp_path / "tiny.engine", EngineOptions("fp16"))
    told = layer(FUSED, "CaskConvolution", "fp16", "conv1")
    layers_path(engine.path).write_bytes(msgspec.json.encode(told) + b"\n")
    vars(library)["LAYERS"][:] = [REFORMAT, FUSED]
    gpu.CALLS.clear()
    found = backend.profile(engine)
    assert [(one.kind, one.names[0], one.precision) for one in found] == [
        ("layer", REFORMAT, ""),
        ("CaskConvolution", "conv1", "fp16"),
    ]
    assert all(one.ms > 0 for one in found)
    assert "cudaGraphLaunch" not in gpu.CALLS
    assert not any(gpu.LIVE.values())


def test_an_engine_that_fails_under_the_profiler_gives_all_back(gpu: Any, tmp_path: Path) -> None:
    backend, library = open_backend("tensorrt"), importlib.import_module("tensorrt")
    graph = write_frame_graph(tmp_path / "graph.onnx", head="cast")
    engine = backend.build(graph, tmp_path / "tiny.engine", EngineOptions())
    vars(library)["FAULTS"].add("execute under a profiler")
    with pytest.raises(CudaError, match="tensorrt failed: it gives no reason"):
        backend.profile(engine)
    assert not any(count for kind, count in gpu.LIVE.items() if kind != "pinned")
