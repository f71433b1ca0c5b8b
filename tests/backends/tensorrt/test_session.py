"""The session on a GPU that is none: what it holds, what it gives back, and what it says when the GPU fails."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnx_ir")
pytest.importorskip("onnxruntime")

from edgeseg.backends import Backend, Engine, EngineOptions, Session, open_backend
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.card import Identity, TailLayout, Upsample
from edgeseg.device.cuda import CudaError
from edgeseg.errors import EdgesegError, ModelFileError, UsageError
from edgeseg.files import sha256_bytes
from tests.backends.frame_graphs import SIZE, card, write_frame_graph
from tests.engines import host_gpu

#: What an open session holds, beside pinned memory: of its own memory, copied.
HELD = {"stream": 1, "event": 4, "graph exec": 2, "memory": 5}


@pytest.fixture
def gpu() -> Iterator[Any]:
    """CUDA's runtime of the GPU that is none."""
    with host_gpu():
        yield importlib.import_module("cuda.bindings.runtime")


@pytest.fixture
def backend(gpu: Any) -> Backend:
    return open_backend("tensorrt")


def build(backend: Backend, folder: Path, **options: object) -> Engine:
    graph = write_frame_graph(folder / "graph.onnx", head="cast")
    own = TensorRtOptions(**options)  # type: ignore[arg-type]
    return backend.build(graph, folder / "tiny.engine", EngineOptions(tensorrt=own))


def live(gpu: Any) -> dict[str, int]:
    return {kind: count for kind, count in gpu.LIVE.items() if count}


def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)


def test_all_is_given_back_when_it_closes(backend: Backend, gpu: Any, tmp_path: Path) -> None:
    session = backend.load(build(backend, tmp_path))
    assert live(gpu) == HELD | {"pinned": 4}
    session.close()
    assert live(gpu) == {}


@pytest.mark.slow
@pytest.mark.parametrize("tail", ["channels_first", "outside"])
def test_a_thousand_sessions_leave_nothing(tail: TailLayout, backend: Backend, gpu: Any, tmp_path: Path) -> None:
    graph = write_frame_graph(tmp_path / "graph.onnx", head="cast", tail=tail)
    engine = backend.build(graph, tmp_path / "tiny.engine", EngineOptions())
    for index in range(1000):
        with backend.load(engine, frame_hw=(60, 100) if index % 10 == 0 else None) as session:
            session.submit().result()
    assert live(gpu) == {}


def test_arrays_that_outlive_the_session_keep_their_memory(backend: Backend, gpu: Any, tmp_path: Path) -> None:
    with backend.load(build(backend, tmp_path)) as session:
        buffer = session.input_buffer()
        buffer[...] = 7
    assert live(gpu) == {"pinned": 1}
    assert (buffer == 7).all()
    del buffer
    assert live(gpu) == {}


def test_a_frame_is_one_launch_of_a_graph(backend: Backend, gpu: Any, tmp_path: Path) -> None:
    with backend.load(build(backend, tmp_path)) as session:
        assert session.execution["cuda_graph"] is True
        gpu.CALLS.clear()
        session.infer(frame())
    calls = ["cudaEventRecord", "cudaGraphLaunch", "cudaEventRecord", "cudaEventSynchronize", "cudaEventElapsedTime"]
    assert gpu.CALLS[: len(calls)] == calls


@pytest.mark.parametrize(
    ("options", "tail", "stages"),
    [
        pytest.param({}, True, ["copy in", "inference", "tail", "copy out"], id="in a graph"),
        pytest.param({"cuda_graph": False}, True, ["copy in", "inference", "tail", "copy out"], id="without a graph"),
        pytest.param({}, False, ["copy in", "inference", "copy out"], id="the best class is picked in the engine"),
        pytest.param({"memory": "mapped"}, True, ["inference", "tail"], id="nothing is copied"),
    ],
)
def test_stages_are_timed_one_by_one_where_that_is_asked_for(
    options: dict[str, object], tail: bool, stages: list[str], backend: Backend, gpu: Any, tmp_path: Path
) -> None:
    layout: TailLayout = "outside" if tail else "channels_first"
    graph = write_frame_graph(tmp_path / "graph.onnx", head="cast", tail=layout)
    own = EngineOptions(tensorrt=TensorRtOptions(**options))  # type: ignore[arg-type]
    engine = backend.build(graph, tmp_path / "tiny.engine", own)
    with backend.load(engine) as session:
        wanted = session.infer(frame())
        session.time_stages()
        for _ in range(3):
            session.input_buffer()[:] = frame()
            ticket = session.submit()
            assert np.array_equal(ticket.result(), wanted)
            assert list(ticket.stage_ms) == stages
            assert min(ticket.stage_ms.values()) >= 0
    assert live(gpu) == {}


def test_where_no_graph_holds_events_one_stage_is_told_and_the_graph_stays(
    backend: Backend, gpu: Any, tmp_path: Path
) -> None:
    with backend.load(build(backend, tmp_path)) as session:
        refuse_capture(gpu, None)
        session.time_stages()
        gpu.FAULTS.clear()
        gpu.CALLS.clear()
        ticket = session.submit()
        ticket.result()
        assert list(ticket.stage_ms) == ["inference"]
        assert gpu.CALLS.count("cudaGraphLaunch") == 1
    assert live(gpu) == {}


def refuse_capture(gpu: Any, library: Any) -> None:
    gpu.FAULTS["cudaStreamEndCapture"] = gpu.cudaError_t.cudaErrorStreamCaptureUnsupported


def refuse_within(gpu: Any, library: Any) -> None:
    library.FAULTS.add("execute while captured")


@pytest.mark.parametrize(
    ("options", "prepare"),
    [
        pytest.param({"cuda_graph": False}, lambda gpu, library: None, id="it is not asked for"),
        pytest.param({}, refuse_capture, id="it can't be captured"),
        pytest.param({}, refuse_within, id="the library refuses to be captured"),
    ],
)
def test_without_a_graph_each_step_is_started(
    options: dict[str, object], prepare: Callable[[Any, Any], None], backend: Backend, gpu: Any, tmp_path: Path
) -> None:
    engine = build(backend, tmp_path, **options)
    with backend.load(engine) as session:
        wanted = session.infer(frame())
    library: Any = importlib.import_module("tensorrt")
    prepare(gpu, library)
    with backend.load(engine) as session:
        assert session.execution["cuda_graph"] is False
        gpu.CALLS.clear()
        assert np.array_equal(session.infer(frame()), wanted)
        assert gpu.CALLS.count("cudaMemcpyAsync") == 2
    assert live(gpu) == {}


@pytest.mark.parametrize(
    ("integrated", "memory", "told"),
    [(False, "auto", "copied"), (True, "auto", "mapped"), (True, "copied", "copied"), (False, "mapped", "mapped")],
)
def test_memory_is_mapped_where_it_is_shared(integrated: bool, memory: str, told: str, tmp_path: Path) -> None:
    with host_gpu(integrated=integrated):
        backend, gpu = open_backend("tensorrt"), importlib.import_module("cuda.bindings.runtime")
        with backend.load(build(backend, tmp_path, memory=memory, cuda_graph=False)) as session:
            gpu.CALLS.clear()
            session.infer(frame())
            assert session.execution["memory"] == told
            assert gpu.CALLS.count("cudaMemcpyAsync") == (2 if told == "copied" else 0)


@pytest.mark.parametrize("cuda_graph", [True, False], ids=["in a graph", "step by step"])
@pytest.mark.parametrize("upsample", ["none", "half", "full"])
def test_our_own_tail_gives_the_class_map_of_the_graphs(
    upsample: Upsample, cuda_graph: bool, backend: Backend, gpu: Any, tmp_path: Path
) -> None:
    options, maps = EngineOptions(tensorrt=TensorRtOptions(cuda_graph=cuda_graph)), []
    tails: tuple[tuple[TailLayout, str], ...] = (("channels_first", "in the graph"), ("outside", "own kernel"))
    for tail, told in tails:
        graph = write_frame_graph(tmp_path / f"{tail}.onnx", head="cast", tail=tail, upsample=upsample)
        engine = backend.build(graph, tmp_path / f"{tail}.engine", options)
        with backend.load(engine) as session:
            assert session.execution["tail"] == told
            maps.append(session.infer(frame()))
        with backend.load(engine, "logits") as logits:
            assert logits.infer(frame()).dtype == np.float32
    assert np.array_equal(*maps)
    assert len(np.unique(maps[0])) > 1
    assert live(gpu) == {}


def fails(session: Session, kind: type[EdgesegError], said: str) -> EdgesegError:
    with pytest.raises(kind, match=said) as caught:
        session.infer(frame())
    return caught.value


@pytest.mark.parametrize("call", ["cudaEventSynchronize", "cudaEventRecord", "cudaGraphLaunch"])
def test_after_a_sticky_error_the_session_is_over(call: str, backend: Backend, gpu: Any, tmp_path: Path) -> None:
    session = backend.load(build(backend, tmp_path))
    before = session.submit() if call == "cudaEventSynchronize" else None
    gpu.FAULTS[call] = gpu.cudaError_t.cudaErrorIllegalAddress
    error = fails(session, CudaError, rf"{call} failed: cudaErrorIllegalAddress \(700\)")
    assert "start it anew" in error.hint
    again = fails(session, EdgesegError, rf"This session is over. {call} failed")
    assert again.hint == error.hint
    if before is not None:
        with pytest.raises(EdgesegError, match="This session is over"):
            before.result()
    session.close()
    del error, again, before
    gc.collect()  # Errors and the frames that they passed through hold one another.
    assert live(gpu) == {}


def test_what_broke_the_library_is_told_where_cuda_knows_it(backend: Backend, gpu: Any, tmp_path: Path) -> None:
    library: Any = importlib.import_module("tensorrt")
    with backend.load(build(backend, tmp_path, cuda_graph=False)) as session:
        library.FAULTS.add("execute")
        gpu.FAULTS["cudaGetLastError"] = gpu.cudaError_t.cudaErrorIllegalAddress
        fails(session, CudaError, r"A call failed: cudaErrorIllegalAddress \(700\)")
        library.FAULTS.clear()
        gpu.FAULTS.clear()
        fails(session, EdgesegError, "This session is over")


def test_a_session_that_fails_while_it_closes_stays_closed(backend: Backend, gpu: Any, tmp_path: Path) -> None:
    session = backend.load(build(backend, tmp_path))
    session.submit()
    gpu.FAULTS["cudaEventSynchronize"] = gpu.cudaError_t.cudaErrorMemoryAllocation
    session.close()
    fails(session, EdgesegError, "This session is closed")
    session.close()


def test_an_error_of_the_library_is_told_and_the_session_goes_on(backend: Backend, gpu: Any, tmp_path: Path) -> None:
    library: Any = importlib.import_module("tensorrt")
    with backend.load(build(backend, tmp_path, cuda_graph=False)) as session:
        wanted = session.infer(frame())
        library.FAULTS.add("execute")
        fails(session, EdgesegError, "tensorrt failed: it gives no reason")
        library.FAULTS.clear()
        assert np.array_equal(session.infer(frame()), wanted)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        pytest.param("deserialize", ModelFileError, "tensorrt 10.3.0 does not take the engine", id="deserialize None"),
        pytest.param("context", EdgesegError, "tensorrt has no memory to run the engine", id="no context"),
    ],
)
def test_an_engine_that_cannot_be_opened_leaves_nothing(
    fault: str, kind: type[EdgesegError], said: str, backend: Backend, gpu: Any, tmp_path: Path
) -> None:
    engine = build(backend, tmp_path)
    importlib.import_module("tensorrt").FAULTS.add(fault)  # type: ignore[attr-defined]
    with pytest.raises(kind, match=said):
        backend.load(engine)
    assert live(gpu) == {}


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaHostAlloc", "cudaEventCreateWithFlags"])
def test_too_little_memory_leaves_nothing(call: str, backend: Backend, gpu: Any, tmp_path: Path) -> None:
    engine = build(backend, tmp_path)
    gpu.FAULTS[call] = gpu.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(CudaError, match=f"{call} failed: cudaErrorMemoryAllocation") as caught:
        backend.load(engine)
    assert "smaller --imgsz" in caught.value.hint
    del caught  # Its traceback holds what was made until then.
    assert live(gpu) == {}


def test_an_engine_with_other_ends_is_refused(backend: Backend, gpu: Any, tmp_path: Path) -> None:
    engine = build(backend, tmp_path)
    content = engine.path.read_bytes().replace(b"logits", b"stigol")
    engine.path.write_bytes(content)
    engine = Engine(engine.path, msgspec.structs.replace(engine.card, sha256=sha256_bytes(content)))
    with pytest.raises(ModelFileError, match="has the ends class_map, frame, stigol"):
        backend.load(engine)
    assert live(gpu) == {}


def test_an_engine_that_changes_while_it_is_opened_is_refused(backend: Backend, gpu: Any, tmp_path: Path) -> None:
    engine = Engine.open(build(backend, tmp_path).path)
    engine.path.write_bytes(engine.path.read_bytes() + b" ")
    with pytest.raises(ModelFileError, match="changed while it was opened"):
        backend.load(engine)


@pytest.mark.parametrize(
    ("options", "version", "gpu_name", "capability", "fits"),
    [
        pytest.param({}, "10.3.0", "Host GPU", "8.7", True, id="the same"),
        pytest.param({}, "10.2.0", "Host GPU", "8.7", False, id="an older version"),
        pytest.param({"any_version": True}, "10.2.0", "Host GPU", "8.7", True, id="an older one, made for any"),
        pytest.param({"any_version": True}, "10.13.0", "Host GPU", "8.7", False, id="a newer one, made for any"),
        pytest.param({}, "10.3.0", "Other GPU", "8.7", False, id="another GPU of its kind"),
        pytest.param(
            {"hardware": "same-compute-capability"}, "10.3.0", "Other GPU", "8.7", True, id="made for its kind"
        ),
        pytest.param({"hardware": "same-compute-capability"}, "10.3.0", "Other GPU", "8.9", False, id="another kind"),
        pytest.param({"hardware": "ampere-plus"}, "10.3.0", "Other GPU", "8.9", True, id="made for all from Ampere on"),
    ],
)
def test_an_engine_fits_what_it_was_built_to_fit(
    options: dict[str, object], version: str, gpu_name: str, capability: str, fits: bool, backend: Backend
) -> None:
    identity = Identity(version=version, gpu=gpu_name, compute_capability=capability, multiprocessors=8)
    own = msgspec.to_builtins(TensorRtOptions(**options))  # type: ignore[arg-type]
    made = msgspec.structs.replace(card(), identity=identity, measured={"execution": {"options": own}})
    assert (backend.misfit(made) == "") == fits


def test_gpus_of_one_name_are_told_apart_by_their_multiprocessors(backend: Backend) -> None:
    own = msgspec.to_builtins(TensorRtOptions())
    identity = Identity(version="10.3.0", gpu="Host GPU", compute_capability="8.7", multiprocessors=16)
    made = msgspec.structs.replace(card(), identity=identity, measured={"execution": {"options": own}})
    assert "16 multiprocessors); this machine has Host GPU (compute capability 8.7, 8 multi" in backend.misfit(made)


def test_a_graph_is_refused_for_a_dla_that_takes_a_cache_alone(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"DLA of tensorrt 10\.3\.0 takes INT8 by a calibration cache alone") as caught:
        graph = write_frame_graph(tmp_path / "graph.onnx", head="cast", dialect="s8-sym")
        options = EngineOptions(tensorrt=TensorRtOptions(dla_core=0))
        backend.build(graph, tmp_path / "tiny.engine", options)
    assert "--useDLACore=0" in caught.value.hint


def test_options_of_the_build_are_those_of_the_session(backend: Backend, gpu: Any, tmp_path: Path) -> None:
    engine = build(backend, tmp_path, spin=True, memory="mapped")
    assert msgspec.convert(engine.card.measured["execution"]["options"], TensorRtOptions).spin
    with backend.load(Engine.open(engine.path)) as session:
        assert (session.execution["wait"], session.execution["memory"]) == ("spin", "mapped")
        assert session.execution["device"] == "Host GPU"


@pytest.mark.parametrize(("version", "typed"), [("8.6.1", False), ("10.3.0", True), ("11.4.0.106", True)])
def test_types_stand_in_the_graph_where_the_version_takes_them_from_there(
    version: str, typed: bool, tmp_path: Path
) -> None:
    with host_gpu(version):
        backend = open_backend("tensorrt")
        assert backend.typed == typed
        graph = write_frame_graph(tmp_path / "graph.onnx", head="cast")
        engine = backend.build(graph, tmp_path / "tiny.engine", EngineOptions("fp16"))
        assert (engine.card.float_precision, engine.card.measured["execution"]["typed"]) == ("fp16", typed)
        with backend.load(engine) as session:
            assert session.infer(frame()).shape == (1, *SIZE)
