from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgeseg.backends.table import BACKENDS
from edgeseg.doctor.check import Check
from edgeseg.doctor.engines import PROBE, check_backend, probe_backend, run_probe
from tests.engines import installed

REAL = [name for name in BACKENDS if name != "fake"]


@pytest.mark.parametrize("name", REAL)
def test_a_backend_that_is_installed_runs_the_probe_graph(name: str) -> None:
    backend = installed(name)
    check = check_backend(name)
    obstacle = backend.obstacle()
    assert (check.status, check.fix) == ("warning" if obstacle else "ok", "")
    assert check.found.startswith(backend.version())
    assert obstacle in check.found


def test_the_probe_graph_means_what_the_check_compares_with() -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    pixels = np.random.default_rng(1).integers(0, 16, (1, 3, 8, 16)).astype(np.float32) * 16 - 128
    # The reference evaluator knows DequantizeLinear from opset 19 on.
    graph = onnx.parser.parse_model(PROBE.replace("ir_version: 8", "ir_version: 9").replace(": 17]", ": 19]"))
    logits = ReferenceEvaluator(graph).run(None, {"pixels": pixels})[0]
    assert np.array_equal(logits.argmax(1)[0], pixels[0, 0] > pixels[0, 2])


def dies(name: str) -> Check:
    os.abort()


def leaves(name: str) -> Check:
    sys.exit(7)


def hangs(name: str) -> Check:
    time.sleep(60)
    return Check(name, "ok", "")


def talks(name: str) -> Check:
    print("A library's banner.")
    return Check(f"backend {name}", "ok", "it spoke")


@pytest.mark.parametrize(
    ("probe", "timeout_s", "found"),
    [
        pytest.param(dies, 60, "its process ended by SIGABRT", id="a library that crashes"),
        pytest.param(leaves, 60, "its process ended with 7", id="a library that ends the process"),
        pytest.param(hangs, 0.05, "it gave no answer within 0.05 s", id="a library that hangs"),
    ],
)
def test_a_broken_library_is_an_answer(probe: object, timeout_s: float, found: str) -> None:
    check = check_backend("openvino", probe, timeout_s=timeout_s)  # type: ignore[arg-type]
    assert check == Check("backend openvino", "fails", found, "pip install --force-reinstall 'edgeseg[openvino]'")


def test_what_a_library_prints_stays_off_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    assert check_backend("openvino", talks).found == "it spoke"
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "A library's banner.\n")


def test_a_backend_without_its_package_is_missing_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "onnxruntime", "tests.doctor.no_library:Nothing")
    check = probe_backend("onnxruntime")
    assert check.status == "missing"
    assert check.fix == "Install it: pip install 'edgeseg[onnxruntime]'"


def test_a_backend_that_computes_wrongly_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from edgeseg.backends.table import open_backend
    from edgeseg.errors import EngineMismatch

    backend = open_backend("onnxruntime")
    monkeypatch.setattr("edgeseg.doctor.engines.PROBE", PROBE.replace("{0, 0, 0, 1, 0, -1}", "{0, 0, 0, -1, 0, 1}"))
    with pytest.raises(EngineMismatch, match="wrong class map"):
        run_probe(backend, tmp_path)
