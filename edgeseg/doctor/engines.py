"""Checks of the engine libraries: each builds and runs a graph."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from edgeseg.backends.base import Backend, EngineOptions
from edgeseg.backends.table import open_backend
from edgeseg.card import Card
from edgeseg.doctor.check import Check, first_line
from edgeseg.errors import EngineMismatch, MissingDependency
from edgeseg.labels import voc_palette

__all__ = ["check_backend", "probe_backend", "run_probe"]

#: The smallest graph with an INT8 convolution: class 1 where a pixel's blue is above its red.
PROBE = """<ir_version: 8, opset_import: ["" : 17]>
probe (float[1,3,8,16] pixels) => (float[1,2,8,16] logits)
<float one = {1.0}, int8[2,3,1,1] bytes = {0, 0, 0, 1, 0, -1}, int8 zero = {0}, float step = {4.0}> {
  pixels_bytes = QuantizeLinear(pixels, one, zero)
  pixels_float = DequantizeLinear(pixels_bytes, one, zero)
  weights = DequantizeLinear(bytes, one, zero)
  difference = Conv(pixels_float, weights)
  difference_bytes = QuantizeLinear(difference, step, zero)
  logits = DequantizeLinear(difference_bytes, step, zero)
}"""


def check_backend(name: str, probe: Callable[[str], Check] | None = None, *, timeout_s: float = 120) -> Check:
    """Whether a backend works here: whether `probe`, by default `probe_backend`, says so.

    It is asked in a process of its own, so that a library that crashes or hangs is an answer too.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, probe or probe_backend, name), daemon=True)
    process.start()
    sender.close()
    try:
        if receiver.poll(timeout_s):
            check: Check = receiver.recv()
            return check
        reason = f"it gave no answer within {timeout_s:g} s"
    except EOFError:
        process.join()
        code = process.exitcode or 0
        reason = f"its process ended by {signal.Signals(-code).name}" if code < 0 else f"its process ended with {code}"
    finally:
        process.kill()
        process.join()
        receiver.close()
    return Check(f"backend {name}", "fails", reason, _reinstall(name))


def _answer(sender: Connection, probe: Callable[[str], Check], name: str) -> None:
    """Send what `probe` says; what the library prints goes to stderr, because stdout may be JSON."""
    os.dup2(2, 1)
    answer = probe(name)
    sys.stdout.flush()  # Whoever gets the answer ends this process.
    sender.send(answer)


def probe_backend(name: str) -> Check:
    """Build the probe graph on a backend, run it where that can be done here, and tell how that went."""
    title = f"backend {name}"
    try:
        backend = open_backend(name)
        with tempfile.TemporaryDirectory() as folder:
            run_probe(backend, Path(folder))
        obstacle = backend.obstacle()
    except MissingDependency as error:
        return Check(title, "missing", error.message, error.hint)
    except ModuleNotFoundError as error:
        if error.name in ("onnx", "onnx_ir"):
            return Check(title, "ok", f"{backend.version()}, for bundles; not tried, which needs '{error.name}'")
        return Check(title, "fails", first_line(error), _reinstall(name))
    except Exception as error:  # Whatever a broken library raises is the answer.
        return Check(title, "fails", first_line(error), _reinstall(name))
    if obstacle:
        return Check(title, "warning", f"{backend.version()}, built an INT8 graph and can't run it: {obstacle}")
    return Check(title, "ok", f"{backend.version()}, built and ran an INT8 graph")


def run_probe(backend: Backend, folder: Path) -> None:
    """Build the probe graph into `folder`, run it where that can be done here, and compare with numpy.

    Raises:
        EngineMismatch: The class map is not the one that the graph stands for.
    """
    import onnx_ir as ir

    from edgeseg.graph.attach import attach_head_and_tail
    from edgeseg.graph.io import save_graph, set_card

    card = Card(
        kind="quantized",
        model="probe",
        classes=("rest", "blue"),
        palette=voc_palette(2),
        size_hw=(8, 16),
        dialect="s8-sym",
    )
    graph = ir.from_onnx_text(PROBE)
    set_card(graph, card)
    source = folder / "probe.onnx"
    save_graph(attach_head_and_tail(graph, head=backend.head, tail=backend.tail, upsample="none"), source)
    engine = backend.build(source, folder / f"engine{backend.suffix}", EngineOptions())
    if backend.obstacle():
        return
    # Multiples of 16, because the graph rounds differences to multiples of 4.
    frames = np.random.default_rng(0).integers(0, 16, (1, 8, 16, 3), np.uint8) * np.uint8(16)
    with backend.load(engine) as session:
        class_map = session.infer(frames)
    if not np.array_equal(class_map, frames[..., 0] > frames[..., 2]):
        raise EngineMismatch("It gives a wrong class map for a known graph.")


def _reinstall(name: str) -> str:
    if name == "tensorrt":
        return "Install it anew, and CUDA for Python: see docs/install.md"
    return f"pip install --force-reinstall 'edgeseg[{name}]'"
