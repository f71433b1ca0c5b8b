"""CUDA through either binding: the same interface, the same tests, on a GPU that is none and on one that is there."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from edgeseg.device.cuda import Cuda, CudaError, open_cuda
from edgeseg.device.cuda.base import failure
from edgeseg.errors import MissingDependency
from tests.engines import host_gpu, host_pycuda

HOSTED = {"cuda-python": host_gpu, "pycuda": host_pycuda}


@pytest.fixture(params=[*HOSTED, pytest.param("this machine's", marks=pytest.mark.gpu)])
def cuda(request: pytest.FixtureRequest) -> Iterator[Cuda]:
    if request.param in HOSTED:
        with HOSTED[request.param]():
            assert open_cuda().binding.startswith(request.param)
            yield open_cuda()
        return
    try:
        yield open_cuda()
    except MissingDependency as error:
        pytest.skip(error.message)


def test_bytes_go_there_and_back(cuda: Cuda) -> None:
    stream, size = cuda.create_stream(), 1 << 16
    given, wanted = (cuda.pinned(size, mapped=False) for _ in range(2))
    address, done = cuda.allocate(size), cuda.create_event(spin=False)
    given[:] = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    cuda.to_device(address, given, stream)
    cuda.to_host(wanted, address, stream)
    cuda.record(done, stream)
    cuda.wait(done)
    assert np.array_equal(given, wanted)
    cuda.free(address)
    cuda.destroy_event(done)
    cuda.destroy_stream(stream)


def test_bytes_are_copied_within_the_device(cuda: Cuda) -> None:
    stream, done = cuda.create_stream(), cuda.create_event(spin=False)
    given, wanted = (cuda.pinned(64, mapped=False) for _ in range(2))
    origin, to = cuda.allocate(64), cuda.allocate(64)
    given[:] = np.arange(64)
    cuda.to_device(origin, given, stream)
    cuda.copy(to, origin, 64, stream)
    cuda.to_host(wanted, to, stream)
    cuda.record(done, stream)
    cuda.wait(done)
    assert np.array_equal(given, wanted)
    for address in (origin, to):
        cuda.free(address)
    cuda.destroy_event(done)
    cuda.destroy_stream(stream)


def test_a_graph_does_what_was_captured(cuda: Cuda) -> None:
    stream, done = cuda.create_stream(), cuda.create_event(spin=True)
    given, wanted = (cuda.pinned(64, mapped=False) for _ in range(2))
    address = cuda.allocate(64)

    def work() -> None:
        cuda.to_device(address, given, stream)
        cuda.to_host(wanted, address, stream)

    graph = cuda.capture(stream, work)
    if graph is None:
        pytest.skip(f"{cuda.binding} has no graphs")
    assert not wanted.any(), "capturing does nothing yet"
    given[:] = 5
    cuda.launch_graph(graph, stream)
    cuda.record(done, stream)
    cuda.wait(done)
    assert (wanted == 5).all()
    cuda.destroy_graph(graph)
    cuda.free(address)
    cuda.destroy_event(done)
    cuda.destroy_stream(stream)


def test_events_tell_the_time_between_them(cuda: Cuda) -> None:
    stream = cuda.create_stream()
    start, end = (cuda.create_event(spin=False) for _ in range(2))
    cuda.record(start, stream)
    cuda.record(end, stream)
    cuda.wait(end)
    assert 0 <= cuda.milliseconds(start, end) < 1000


def test_events_in_a_graph_happen_at_each_launch(cuda: Cuda) -> None:
    stream = cuda.create_stream()
    begin, within, end = (cuda.create_event(spin=False) for _ in range(3))
    graph = cuda.capture(stream, lambda: cuda.record(within, stream, captured=True))
    if graph is None:
        pytest.skip(f"{cuda.binding} has no graphs")
    for _ in range(2):
        cuda.record(begin, stream)
        cuda.launch_graph(graph, stream)
        cuda.record(end, stream)
        cuda.wait(end)
        assert 0 <= cuda.milliseconds(begin, within) <= cuda.milliseconds(begin, end) < 1000
    cuda.destroy_graph(graph)


def test_the_device_is_told(cuda: Cuda) -> None:
    assert cuda.device.name
    assert float(cuda.device.compute_capability) >= 5
    assert 0 < cuda.free_bytes() <= cuda.device.memory_bytes


def test_mapped_memory_has_an_address_of_the_devices(cuda: Cuda) -> None:
    if not cuda.device.maps_host_memory:
        pytest.skip("this GPU maps no memory")
    assert cuda.address_of(cuda.pinned(64, mapped=True)) > 0


@pytest.mark.parametrize(
    ("code", "hint", "sticky"),
    [
        pytest.param(2, "smaller --imgsz", False, id="out of memory"),
        pytest.param(700, "start it anew", True, id="an illegal address"),
        pytest.param(719, "start it anew", True, id="a failed launch"),
        pytest.param(1, "", False, id="an invalid value"),
    ],
)
def test_a_status_becomes_an_error_with_advice(code: int, hint: str, sticky: bool) -> None:
    error = failure("cudaMalloc", code, "words of CUDA's")
    assert error.message == f"cudaMalloc failed: words of CUDA's ({code})."
    assert hint in error.hint
    assert error.sticky == sticky


def test_every_status_is_looked_at(cuda: Cuda) -> None:
    if not cuda.device.name.startswith("Host") or not cuda.binding.startswith("cuda-python"):
        pytest.skip("faults are injected into cuda-python on a GPU that is none")
    runtime = importlib.import_module("cuda.bindings.runtime")
    calls = [name for name in vars(runtime) if name.startswith("cuda") and callable(getattr(runtime, name))]
    calls = [name for name in calls if not isinstance(getattr(runtime, name), type)]
    stream, memory = cuda.create_stream(), cuda.pinned(8, mapped=True)
    event, spinning, address = cuda.create_event(spin=False), cuda.create_event(spin=True), cuda.allocate(8)
    graph = cuda.capture(stream, lambda: None)
    assert graph is not None
    uses = {
        "cudaMalloc": lambda: cuda.allocate(8),
        "cudaFree": lambda: cuda.free(address),
        "cudaHostAlloc": lambda: cuda.pinned(8, mapped=False),
        "cudaHostGetDevicePointer": lambda: cuda.address_of(memory),
        "cudaMemcpyAsync": lambda: cuda.to_host(memory, address, stream),
        "cudaStreamCreateWithFlags": cuda.create_stream,
        "cudaStreamDestroy": lambda: cuda.destroy_stream(stream),
        "cudaEventCreateWithFlags": lambda: cuda.create_event(spin=True),
        "cudaEventDestroy": lambda: cuda.destroy_event(event),
        "cudaEventRecord": lambda: cuda.record(event, stream),
        "cudaEventRecordWithFlags": lambda: cuda.record(event, stream, captured=True),
        "cudaEventSynchronize": lambda: cuda.wait(event),
        "cudaEventQuery": lambda: cuda.wait(spinning),
        "cudaEventElapsedTime": lambda: cuda.milliseconds(event, event),
        "cudaStreamBeginCapture": lambda: cuda.capture(stream, lambda: None),
        "cudaGraphLaunch": lambda: cuda.launch_graph(graph, stream),
        "cudaGraphExecDestroy": lambda: cuda.destroy_graph(graph),
    }
    elsewhere = {"cudaSetDevice", "cudaGetDeviceProperties", "cudaGetErrorString", "cudaGetLastError", "cudaMemGetInfo"}
    elsewhere |= {"cudaFreeHost", "cudaStreamEndCapture", "cudaGraphInstantiateWithFlags", "cudaGraphDestroy"}
    assert set(calls) == set(uses) | elsewhere
    for name, use in uses.items():
        runtime.FAULTS[name] = runtime.cudaError_t.cudaErrorIllegalAddress
        with pytest.raises(CudaError, match=f"{name} failed: cudaErrorIllegalAddress") as caught:
            use()
        assert caught.value.sticky
        del runtime.FAULTS[name]


@pytest.mark.parametrize(
    ("version", "spin", "asked"),
    [
        pytest.param("12.6.2", False, "cudaEventQuery", id="an old version holds Python still in a wait"),
        pytest.param("12.9.1", False, "cudaEventSynchronize", id="a newer one does not"),
        pytest.param("13.5.0", True, "cudaEventQuery", id="to spin is to ask"),
    ],
)
def test_a_wait_lets_other_threads_go_on(version: str, spin: bool, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with host_gpu():
        monkeypatch.setattr(importlib.import_module("cuda.bindings"), "__version__", version)
        cuda, runtime = open_cuda(), importlib.import_module("cuda.bindings.runtime")
        stream, event = cuda.create_stream(), cuda.create_event(spin=spin)
        cuda.record(event, stream)
        runtime.CALLS.clear()
        cuda.wait(event)
        assert list(runtime.CALLS) == [asked]


def test_nothing_of_cuda_is_imported_until_it_is_asked_for() -> None:
    code = "import sys, edgeseg.device.cuda; print([name for name in sys.modules if name.split('.')[0] == 'cuda'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_machine_without_a_driver_is_told_so() -> None:
    pytest.importorskip("cuda.bindings.runtime")
    open_cuda.cache_clear()
    try:
        open_cuda()
    except MissingDependency as error:
        assert error.message.startswith("CUDA finds no GPU that it can use: ")
        assert "cuda-python~=12.6" in error.hint
    else:
        pytest.skip("this machine has a GPU")
