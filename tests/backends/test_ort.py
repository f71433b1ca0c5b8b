"""How ONNX Runtime is told to run."""

from __future__ import annotations

from pathlib import Path

import pytest

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx_ir")

from edgeseg.backends import EngineOptions
from edgeseg.backends.ort import OnnxRuntime
from edgeseg.device import cpu
from tests.backends.frame_graphs import write_frame_graph

DIALECTS = {
    "x86 with VNNI": ("x86_64", {"avx2", "avx512_vnni"}, ("u8-asym",)),
    "x86 with AVX-VNNI alone": ("x86_64", {"avx2", "avx_vnni"}, ("u8-asym",)),
    "x86 without VNNI": ("x86_64", {"avx2", "avx512f"}, ("u8-asym-reduced",)),
    "an ARM board": ("aarch64", {"asimd", "asimddp"}, ("u8-asym",)),
}


@pytest.mark.parametrize(("machine", "features", "dialects"), DIALECTS.values(), ids=DIALECTS)
def test_the_dialect_follows_the_processor(
    monkeypatch: pytest.MonkeyPatch, machine: str, features: set[str], dialects: tuple[str, ...]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(cpu, "cpu_features", lambda: frozenset(features))
    assert OnnxRuntime().dialects == dialects


def test_threads_are_as_asked_and_sleep_between_frames(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGESEG_THREADS", "3")
    backend = OnnxRuntime()
    engine = backend.build(write_frame_graph(tmp_path / "graph.onnx"), tmp_path / "engine.onnx", EngineOptions())
    assert engine.card.measured["execution"] == {"precision": "fp32", "threads": 3}
    with backend.load(engine) as session:
        told = session._library.get_session_options()
        assert told.intra_op_num_threads == session.execution["threads"] == 3
        assert told.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert session._library.get_providers() == ["CPUExecutionProvider"]
