"""Rooflines of TensorRT's engines, on a GPU that is none."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("psutil")

from edgeseg.backends import Engine, EngineOptions, open_backend
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.bench import Settings, run_benchmark
from edgeseg.bench.roofline import ceilings as ceilings_module
from edgeseg.bench.roofline import gpu_bandwidth
from edgeseg.bench.roofline.add import add_rooflines
from edgeseg.bench.roofline.ceilings import measure_ceilings
from edgeseg.bench.roofline.gpu_bandwidth import gpu_bandwidths
from edgeseg.bench.roofline.synthetic import Shape, build_network, noise_ranges
from edgeseg.bench.roofline.words import sentences
from edgeseg.build.engine_graph import make_engine_graph
from edgeseg.build.identity import trust
from edgeseg.build.store import graph_beside
from edgeseg.device.cuda import CudaError, open_cuda
from edgeseg.graph.cost import count_macs
from edgeseg.graph.io import save_graph
from tests.engines import host_gpu, tiny_model

QUICK = Settings(warm_up_s=0, duration_s=0, iterations=12, percentiles=(50,), camera_hw=(64, 96))
SIZE = (64, 96)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ceilings of one small network each, and of small copies, which are measured as all are."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module, name, value in (
        (ceilings_module, "SHAPES", {"gpu": (Shape(3, 16, (16, 16), 2),)}),
        (ceilings_module, "LARGEST_MAP", 1),
        (ceilings_module, "PATIENCE_S", 0.02),
        (ceilings_module, "_MEASURED", {}),
        (gpu_bandwidth, "LARGEST", 4 << 20),
        (gpu_bandwidth, "MOVED", 4 << 20),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def gpu(quick: None) -> Iterator[Any]:
    """CUDA's runtime of the GPU that is none."""
    with host_gpu():
        yield importlib.import_module("cuda.bindings.runtime")


def engine_of(folder: Path) -> Engine:
    """An INT8 engine of the tiny graph that this machine trusts."""
    model = tiny_model(SIZE)
    return trust(build_network(model, open_backend("tensorrt"), "fp16", folder, noise_ranges(model)))


def test_copies_give_back_what_they_took(gpu: Any) -> None:
    found = gpu_bandwidths(open_cuda())
    assert list(found) == [1 << 20, 4 << 20] and all(1e7 < rate < 1e13 for rate in found.values())
    assert not any(gpu.LIVE.values())
    gpu.FAULTS["cudaEventElapsedTime"] = gpu.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(CudaError):
        gpu_bandwidths(open_cuda())
    assert not any(gpu.LIVE.values())


def test_without_graphs_each_copy_is_started(gpu: Any) -> None:
    gpu.FAULTS["cudaStreamEndCapture"] = gpu.cudaError_t.cudaErrorStreamCaptureUnsupported
    assert all(rate > 0 for rate in gpu_bandwidths(open_cuda()).values())
    assert "cudaGraphLaunch" not in gpu.CALLS


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "11.4.0.106"])
def test_ceilings_are_measured_in_the_form_that_each_version_takes(version: str, quick: None) -> None:
    told: list[str] = []
    with host_gpu(version):
        found = measure_ceilings("tensorrt", "gpu", "fp16", lambda _, what: told.append(what))
    assert (found.library, found.device, found.threads) == (f"tensorrt {version}", "Host GPU", 0)
    assert set(found.macs_per_s) == {"fp16", "int8"} and min(found.macs_per_s.values()) > 1e6
    assert told[-1] == "ceilings of this machine: tensorrt int8, network 2 of 2"


def test_an_engine_is_measured_by_the_graph_beside_it(gpu: Any, tmp_path: Path) -> None:
    engines = {"tiny": engine_of(tmp_path)}
    done = add_rooflines(run_benchmark(engines, QUICK), engines)
    (one,) = done.record.engines
    assert one.roofline is not None, one.roofline_note
    assert one.roofline.macs == count_macs(tiny_model(SIZE), SIZE)
    assert one.roofline.inference_ms == np.median(done.samples["0.inference_ms"])
    names, macs, taken = (done.samples[f"0.roofline.{column}"] for column in ("name", "macs", "measured_ms"))
    assert not np.isnan(taken[macs > 0]).any() and len(names) == one.roofline.layers
    assert {"int8", "fp16"} == set(done.samples["0.roofline.precision"][macs > 0])
    assert "tensorrt 10.3.0 on Host GPU" in " ".join(sentences(one.roofline, ""))
    assert not any(gpu.LIVE.values())


def test_of_several_frames_at_once_all_are_counted(gpu: Any, tmp_path: Path) -> None:
    backend, options = open_backend("tensorrt"), EngineOptions("fp16", TensorRtOptions(batch=(1, 2, 4)))
    out = tmp_path / "tiny.engine"
    whole, facts = make_engine_graph(tiny_model(SIZE), None, backend.form("float", options), "half")
    save_graph(whole, graph_beside(out), facts.card)
    engines = {"tiny": trust(backend.build(graph_beside(out), out, options, card=facts.card))}
    for batch in (2, 4):
        done = add_rooflines(run_benchmark(engines, msgspec.structs.replace(QUICK, batch=batch)), engines)
        found = done.record.engines[0].roofline
        assert found is not None, done.record.engines[0].roofline_note
        assert found.macs == batch * count_macs(tiny_model(SIZE), SIZE)


def on_a_dla(engine: Engine) -> Engine:
    options = msgspec.to_builtins(TensorRtOptions(dla_core=0))
    execution = engine.card.measured["execution"] | {"options": options}
    measured = engine.card.measured | {"execution": execution}
    return Engine(engine.path, msgspec.structs.replace(engine.card, measured=measured))


def without_its_graph(engine: Engine) -> Engine:
    graph_beside(engine.path).unlink()
    return engine


def with_a_profiler_that_fails(engine: Engine) -> Engine:
    vars(importlib.import_module("tensorrt"))["FAULTS"].add("execute under a profiler")
    return engine


@pytest.mark.parametrize(
    ("change", "note"),
    [
        pytest.param(without_its_graph, "The graph is missing that s8-sym.engine was built from", id="no graph"),
        pytest.param(with_a_profiler_that_fails, "tensorrt failed: it gives no reason.", id="a profiler that fails"),
        pytest.param(on_a_dla, "Ceilings of what this engine of tensorrt computes on are not", id="an accelerator"),
    ],
)
def test_what_makes_a_roofline_impossible_is_noted_and_the_benchmark_stays(
    change: Callable[[Engine], Engine], note: str, gpu: Any, tmp_path: Path
) -> None:
    engine = engine_of(tmp_path)
    before = run_benchmark({"tiny": engine}, QUICK)
    after = add_rooflines(before, {"tiny": change(engine)})
    (one,) = after.record.engines
    assert one.roofline is None and one.roofline_note.startswith(note)
    assert one.latency == before.record.engines[0].latency and set(after.samples) == set(before.samples)
