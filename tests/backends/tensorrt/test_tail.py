"""Our own tail kernel: compiled for each board without a GPU, and its source's arithmetic on this processor."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgeseg.backends.tensorrt.tail import Tail, tail_source
from edgeseg.device.cuda import CudaError
from edgeseg.device.cuda.nvrtc import compile_cubin

#: Orin, Ada, Thor; and of this machine's kind the one that records are taken on.
CAPABILITIES = ("8.7", "8.9", "11.0", "9.0")
TAILS = {
    "bilinear to half the size": Tail(1, 11, (23, 30), (45, 60), (90, 120), "half_pixel"),
    "bilinear to the frame's": Tail(1, 5, (23, 30), (90, 120), (90, 120), "align_corners"),
    "at the decoder's size": Tail(1, 4, (23, 30), (23, 30), (91, 119), "half_pixel"),
    "asymmetric": Tail(2, 3, (12, 15), (45, 60), (90, 120), "asymmetric"),
    "two frames": Tail(2, 7, (12, 15), (24, 30), (48, 60), "align_corners"),
    "one channel": Tail(1, 1, (23, 30), (45, 60), (90, 120), "half_pixel", threshold=0.25),
    "one row": Tail(1, 3, (1, 30), (2, 60), (4, 120), "align_corners"),
}


@pytest.fixture(params=TAILS.values(), ids=TAILS)
def tail(request: pytest.FixtureRequest) -> Tail:
    found: Tail = request.param
    return found


def logits_for(tail: Tail) -> np.ndarray:
    shape = (tail.batch, tail.channels, *tail.low_hw)
    return np.random.default_rng(3).normal(0, 1, shape).astype(np.float32)


def on_this_processor(tail: Tail, logits: np.ndarray, folder: Path) -> np.ndarray:
    """The kernel's source as C, one pixel after the other."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("this machine has no C compiler")
    library = folder / "tail.so"
    macros = [f"-D{name}={value}" for name, value in tail.macros.items()]
    command = [compiler, "-shared", "-fPIC", "-O1", "-ffp-contract=off", "-DHOST", *macros, "-x", "c", "-", "-lm"]
    subprocess.run([*command, "-o", str(library)], input=tail_source(), text=True, check=True)
    out = np.zeros((tail.batch, *tail.out_hw), np.uint8)
    call = ctypes.CDLL(str(library)).class_map
    call.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    call(logits.ctypes.data, out.ctypes.data)
    return out


def in_numpy(tail: Tail, logits: np.ndarray) -> np.ndarray:
    """The same by numpy, all pixels at once."""

    def source(size: int, small: int, large: int) -> np.ndarray:
        index, one = np.arange(size, dtype=np.float32), np.float32(1)
        if tail.upsampling == "align_corners":
            return index * (small - one) / max(large - one, one) if large > 1 else index * 0
        if tail.upsampling == "half_pixel":
            return (index + np.float32(0.5)) * np.float32(small) / np.float32(large) - np.float32(0.5)
        return index * np.float32(small) / np.float32(large)

    def taps(axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        out, at, low = tail.out_hw[axis], tail.at_hw[axis], tail.low_hw[axis]
        nearest = np.clip(np.ceil(source(out, at, out) - np.float32(0.5)).astype(int), 0, at - 1)
        place = np.clip(source(at, low, at), 0, low - 1).astype(np.float32)[nearest]
        first = place.astype(int)
        return first, np.minimum(first + 1, low - 1), place - first.astype(np.float32)

    (top, bottom, down), (left, right, across) = taps(0), taps(1)
    one, down = np.float32(1), down[:, None]
    upper = logits[:, :, top][..., left] * (one - across) + logits[:, :, top][..., right] * across
    lower = logits[:, :, bottom][..., left] * (one - across) + logits[:, :, bottom][..., right] * across
    value = upper * (one - down) + lower * down
    classes = value[:, 0] > np.float32(tail.threshold) if tail.channels == 1 else value.argmax(1)
    return np.asarray(classes, np.uint8)


def in_onnx(tail: Tail, logits: np.ndarray) -> np.ndarray:
    """The tail of the other engines, as operators."""
    shape = (tail.batch, tail.channels, *tail.low_hw)
    sizes = {"at": (*shape[:2], *tail.at_hw), "out": (tail.batch, 1, *tail.out_hw)}
    constants = [numpy_helper.from_array(np.array(size, np.int64), name) for name, size in sizes.items()]
    constants.append(numpy_helper.from_array(np.float32(tail.threshold), "threshold"))
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    mode = {"coordinate_transformation_mode": tail.upsampling}
    picks = (
        [helper.make_node("Greater", ["large", "threshold"], ["picked"])]
        if tail.channels == 1
        else [helper.make_node("ArgMax", ["large"], ["picked"], axis=1, keepdims=1)]
    )
    nodes = [
        helper.make_node("Resize", ["logits", "", "", "at"], ["large"], mode="linear", **mode),
        *picks,
        helper.make_node("Cast", ["picked"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Resize", ["float", "", "", "out"], ["grown"], mode="nearest", **mode),
        helper.make_node("Squeeze", ["grown", "axis"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["class_map"], to=TensorProto.UINT8),
    ]
    ends = (
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("class_map", TensorProto.UINT8, (tail.batch, *tail.out_hw))],
    )
    graph = helper.make_graph(nodes, "tail", *ends, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"logits": logits})[0])


def test_its_arithmetic_is_numpys(tail: Tail, tmp_path: Path) -> None:
    logits = logits_for(tail)
    assert np.array_equal(on_this_processor(tail, logits, tmp_path), in_numpy(tail, logits))


def test_its_class_map_is_that_of_the_operators(tail: Tail, tmp_path: Path) -> None:
    logits = logits_for(tail)
    found, wanted = on_this_processor(tail, logits, tmp_path), in_onnx(tail, logits)
    assert (found == wanted).mean() >= 0.9999, "all but a tie of two classes, at most"
    assert len(np.unique(wanted)) == max(2, tail.channels)


@pytest.mark.parametrize("half", [False, True], ids=["float logits", "half logits"])
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_it_compiles_for_every_board_without_a_gpu(capability: str, half: bool) -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    tail = Tail(1, 11, (90, 120), (180, 240), (360, 480), "half_pixel", half=half)
    assert compile_cubin(tail_source(), capability, tail.macros).startswith(b"\x7fELF")


def test_source_that_does_not_compile_is_told_with_the_compilers_words() -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    with pytest.raises(CudaError, match=r"can't be compiled for sm_87: kernel.cu\(1\): error"):
        compile_cubin("__global__ void broken() { return 1 + ; }", "8.7", {})


def test_every_pixel_has_a_thread(tail: Tail) -> None:
    columns, rows = tail.grid
    height, width = tail.out_hw
    assert columns * 32 >= width
    assert rows * 8 >= tail.batch * height
