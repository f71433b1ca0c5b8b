"""Frames resized on the GPU: the kernel on this processor, and sessions that are given a camera's frames."""

from __future__ import annotations

import ctypes
import importlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnx_ir")
pytest.importorskip("onnxruntime")
pytest.importorskip("cv2")

from edgeseg.backends import Backend, Engine, EngineOptions, open_backend
from edgeseg.backends.tensorrt.options import TensorRtOptions
from edgeseg.backends.tensorrt.resize import GpuResize, resize_source
from edgeseg.card import Preprocess, Resize
from edgeseg.cli import main
from edgeseg.data.resize import resize_frame
from edgeseg.device.cuda.nvrtc import compile_cubin
from edgeseg.errors import UsageError
from tests.backends.frame_graphs import SIZE
from tests.backends.tensorrt.test_tail import CAPABILITIES
from tests.engines import host_gpu, tiny_engine

SIZES = {
    "a camera's": ((720, 1280), (360, 480)),
    "larger": ((48, 64), (90, 120)),
    "the same": ((96, 128), (96, 128)),
    "odd": ((101, 77), (64, 96)),
    "one row": ((1, 5), (8, 8)),
}
Mode = Literal["stretch", "letterbox", "crop"]
MODES: tuple[Mode, ...] = ("stretch", "letterbox", "crop")


def frames(batch: int, size_hw: tuple[int, int], channels: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (batch, *size_hw, channels), np.uint8)


def on_this_processor(wanted: GpuResize, given: np.ndarray, folder: Path) -> np.ndarray:
    """The kernel's source as C, one pixel after the other."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("this machine has no C compiler")
    library = folder / "resize.so"
    macros = [f"-D{name}={value}" for name, value in wanted.macros.items()]
    command = [compiler, "-shared", "-fPIC", "-O1", "-DHOST", *macros, "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=resize_source(), text=True, check=True)
    out, (rows, columns) = np.zeros((wanted.batch, *wanted.to_hw, wanted.channels), np.uint8), wanted.tables()
    call = ctypes.CDLL(str(library)).resize
    call.argtypes = (ctypes.c_void_p,) * 4
    call(*(array.ctypes.data for array in (given, rows, columns, out)))
    return out


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_its_frames_are_opencvs(
    sizes: tuple[tuple[int, int], tuple[int, int]],
    mode: Mode,
    interpolation: Literal["linear", "nearest"],
    tmp_path: Path,
) -> None:
    camera_hw, size_hw = sizes
    resize = Resize(mode, interpolation)
    given = frames(2, camera_hw)
    found = on_this_processor(GpuResize(2, 3, camera_hw, size_hw, resize), given, tmp_path)
    wanted = np.stack([resize_frame(frame, size_hw, resize) for frame in given])
    assert np.abs(found.astype(int) - wanted).max() <= (1 if interpolation == "linear" else 0)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_it_compiles_for_every_board_without_a_gpu(capability: str) -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    wanted = GpuResize(1, 3, (1080, 1920), (360, 480), Resize("letterbox"))
    assert compile_cubin(resize_source(), capability, wanted.macros).startswith(b"\x7fELF")


def test_an_interpolation_that_it_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="this model wants 'area'") as caught:
        GpuResize(1, 3, (720, 1280), (360, 480), Resize("stretch", "area"))
    assert "leave out --gpu-resize" in caught.value.hint


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """CUDA's runtime of the GPU that is none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with host_gpu():
        yield importlib.import_module("cuda.bindings.runtime")


@pytest.fixture
def backend(gpu: Any) -> Backend:
    return open_backend("tensorrt")


def engine(folder: Path, mode: Mode = "stretch", pixel_format: str = "bgr") -> Engine:
    preprocess = Preprocess(std=(1.0, 1.0, 1.0), resize=Resize(mode), pixel_format=pixel_format)  # type: ignore[arg-type]
    return tiny_engine(folder, "tensorrt", preprocess=preprocess)


@pytest.mark.parametrize("mode", MODES)
def test_a_cameras_frame_gives_the_class_map_that_it_gives_resized_before(
    mode: Mode, backend: Backend, gpu: Any, tmp_path: Path
) -> None:
    found, camera = engine(tmp_path, mode), frames(1, (60, 100))
    with backend.load(found) as session:
        wanted = session.infer(resize_frame(camera[0], SIZE, Resize(mode))[None])
        assert session.execution["resize"] == "before"
    with backend.load(found, frame_hw=(60, 100)) as session:
        assert session.input_buffer().shape == camera.shape
        assert (session.infer(camera) == wanted).mean() > 0.99
        assert session.execution["resize"] == "on the GPU"
        gpu.CALLS.clear()
        session.infer(camera)
        assert gpu.CALLS.count("cudaGraphLaunch") == 1, "it is a part of the graph"
    assert not any(gpu.LIVE.values())


def test_frames_of_the_networks_size_are_not_resized(backend: Backend, tmp_path: Path) -> None:
    with backend.load(engine(tmp_path), frame_hw=SIZE) as session:
        assert session.execution["resize"] == "before"


def test_other_libraries_do_not_resize(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="onnxruntime does not resize frames"):
        open_backend("onnxruntime").load(tiny_engine(tmp_path), frame_hw=(60, 100))


def test_a_stream_is_resized_on_the_gpu(gpu: Any, tmp_path: Path, capsys: Any) -> None:
    found = str(engine(tmp_path).path)
    source = "synthetic://?frames=4&width=96&height=64&seed=3"
    assert main(["run", source, "null://", "--engine", found, "--gpu-resize", "--trust-engine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inferred"] == 4
    quick = ["--camera", "64x96", "--duration", "0", "--no-roofline"]
    assert main(["bench", found, "--gpu-resize", *quick, "-o", str(tmp_path)]) == 0
    (told,) = json.loads((tmp_path / "bench.json").read_text())["engines"]
    assert told["execution"]["resize"] == "on the GPU"
    assert "--gpu-resize" in json.loads((tmp_path / "bench.json").read_text())["command"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("synthetic://?frames=4&width=96&height=64&resize_at=2", "one is 72x48", id="frames that change"),
        pytest.param("FOLDER", "is not known before", id="pictures"),
    ],
)
def test_frames_of_several_sizes_are_refused(source: str, said: str, gpu: Any, tmp_path: Path, capsys: Any) -> None:
    import cv2

    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures/one.png"), frames(1, (60, 100))[0])
    words = [source.replace("FOLDER", str(tmp_path / "pictures")), "null://", "--engine", str(engine(tmp_path).path)]
    assert main(["run", *words, "--gpu-resize", "--trust-engine"]) == 2
    assert said in capsys.readouterr().err


def batched(backend: Backend, folder: Path, batch: tuple[int, int, int]) -> Engine:
    """The tiny network for that many frames."""
    import onnx_ir as ir

    from edgeseg.graph.attach import attach_head_and_tail
    from edgeseg.graph.batch import set_batch
    from edgeseg.graph.io import require_card, save_graph
    from tests.engines import tiny_model

    whole = attach_head_and_tail(tiny_model(), head="cast", upsample="half")
    card = msgspec.structs.replace(require_card(whole), batch=batch[1])
    freed: ir.Model = set_batch(whole, None)
    save_graph(freed, folder / "graph.onnx", card)
    options = EngineOptions(tensorrt=TensorRtOptions(batch=batch))
    return backend.build(folder / "graph.onnx", folder / "batched.engine", options)


@pytest.mark.parametrize("batch", [None, 1, 3, 4])
def test_one_engine_takes_several_numbers_of_frames(
    batch: int | None, backend: Backend, gpu: Any, tmp_path: Path
) -> None:
    found, given = batched(backend, tmp_path, (1, 2, 4)), frames(batch or 2, SIZE)
    with backend.load(found, batch=1) as session:
        wanted = np.concatenate([session.infer(one[None]) for one in given])
    with backend.load(found, batch=batch) as session:
        assert session.card.batch == len(given)
        assert np.array_equal(session.infer(given), wanted)
    with backend.load(found, "logits", batch=batch) as session:
        assert session.infer(given).shape[0] == len(given)
    with backend.load(found, batch=batch, frame_hw=(64, 96)) as session:
        assert session.infer(frames(len(given), (64, 96))).shape == wanted.shape
    assert not any(gpu.LIVE.values())


@pytest.mark.parametrize("batch", [0, 5])
def test_more_or_fewer_are_refused(batch: int, backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"takes 1 to 4 frames at a time, not {batch}"):
        backend.load(batched(backend, tmp_path, (1, 2, 4)), batch=batch)


def test_an_engine_of_fixed_batch_takes_no_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes 1 frames at a time, not 2"):
        open_backend("onnxruntime").load(tiny_engine(tmp_path), batch=2)
