"""Tiny engines for tests, built from the tiny graph by a real backend."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import msgspec
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from edgeseg.backends import Backend, Engine, EngineOptions, open_backend
from edgeseg.backends.tensorrt.library import open_library
from edgeseg.backends.tensorrt.logger import runtime_logger
from edgeseg.card import Card, Preprocess
from edgeseg.device.cuda import open_cuda
from edgeseg.errors import MissingDependency
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.io import save_graph, set_card
from edgeseg.labels import voc_palette
from tests.graphs import CLASSES, tiny_prepared

HOST_GPU = Path(__file__).with_name("host_gpu")
HOST_PYCUDA = Path(__file__).with_name("host_pycuda")
NAMES = ("ground", "tree", "car", "sky")

#: The card of the tiny graph.
TINY_CARD = Card(
    kind="prepared",
    model="tiny",
    classes=NAMES,
    palette=voc_palette(CLASSES),
    size_hw=(32, 48),
    preprocess=Preprocess(std=(1.0, 1.0, 1.0)),
    made_from={"weights": "0" * 64},
)


def installed(name: str) -> Backend:
    """The backend of that name; the test is skipped where its library is missing."""
    try:
        return open_backend(name)
    except MissingDependency as error:
        pytest.skip(error.message)


def runnable(name: str) -> Backend:
    """The same, and skipped too where this machine can't run its engines."""
    backend = installed(name)
    if backend.obstacle():
        pytest.skip(f"{name} can't run here: {backend.obstacle()}")
    return backend


@contextmanager
def host_gpu(version: str = "10.3.0", *, integrated: bool = False) -> Iterator[None]:
    """A GPU that is none, with TensorRT of that version, for this process and those that it starts."""
    real = _forget_gpu()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(HOST_GPU))
            paths = (str(HOST_GPU), str(HOST_GPU.parents[1]), os.environ.get("PYTHONPATH"))
            patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
            patch.setenv("HOST_TENSORRT", version)
            patch.setenv("HOST_GPU_INTEGRATED", str(int(integrated)))
            yield
    finally:
        _forget_gpu()
        sys.modules.update(real)


@contextmanager
def host_pycuda() -> Iterator[None]:
    """The same GPU where only pycuda is installed."""
    real = _forget_gpu()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(HOST_PYCUDA))
            patch.setitem(sys.modules, "cuda", None)
            yield
    finally:
        _forget_gpu()
        sys.modules.update(real)


def _forget_gpu() -> dict[str, ModuleType]:
    """Have CUDA and TensorRT be looked for anew; what was imported of them."""
    for cached in (open_cuda, open_library, runtime_logger):
        cached.cache_clear()
    names = [name for name in sys.modules if name.partition(".")[0] in ("cuda", "pycuda", "tensorrt")]
    return {name: sys.modules.pop(name) for name in names}


def tiny_model(size_hw: tuple[int, int] = (32, 48), *, seed: int = 0, batch: int = 1, **card: object) -> ir.Model:
    """The tiny prepared graph with its card."""
    model = ir.from_proto(tiny_prepared(*size_hw, seed=seed, batch=batch))
    ShapeInferencePass()(model)
    set_card(model, msgspec.structs.replace(TINY_CARD, size_hw=size_hw, batch=batch, **card))
    return model


def tiny_engine(
    folder: Path,
    backend: str = "onnxruntime",
    *,
    size_hw: tuple[int, int] = (32, 48),
    seed: int = 0,
    batch: int = 1,
    name: str = "",
    **card: object,
) -> Engine:
    """A float engine of the tiny graph in `folder`; `card` replaces fields of its card."""
    maker = open_backend(backend)
    model = tiny_model(size_hw, seed=seed, batch=batch, **card)
    graph = folder / "graph.onnx"
    save_graph(attach_head_and_tail(model, head=maker.head, tail=maker.tail, upsample="half"), graph)
    engine = maker.build(graph, folder / f"{name or f'tiny-{backend}'}{maker.suffix}", EngineOptions())
    graph.unlink()
    return engine
