"""How OpenVINO is told to run, and what it says that it ran."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

openvino = pytest.importorskip("openvino")
pytest.importorskip("onnx_ir")

from edgeseg.backends import EngineOptions
from edgeseg.backends.ov import OpenVino
from edgeseg.card import Precision
from tests.backends.frame_graphs import SEED, SIZE, write_frame_graph
from tests.graphs import tiny_prepared

CONVOLUTIONS = sum(node.op_type == "Conv" for node in tiny_prepared().graph.node)


@pytest.fixture(scope="module")
def backend() -> OpenVino:
    return OpenVino()


def test_bf16_is_offered_where_the_processor_has_it(backend: OpenVino) -> None:
    able = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert backend.floats == (("bf16", "fp32") if able else ("fp32",))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_float_engines_run_in_the_precision_that_was_asked_for(
    backend: OpenVino, tmp_path: Path, precision: Precision
) -> None:
    if precision not in backend.floats:
        pytest.skip(f"This processor has no {precision}.")
    graph = write_frame_graph(tmp_path / "graph.onnx")
    engine = backend.build(graph, tmp_path / "engine.onnx", EngineOptions(precision))
    assert (engine.card.precision, engine.card.float_precision) == (precision, precision)
    execution = engine.card.measured["execution"]
    assert (execution["precision"], execution["convolutions"]) == (precision, {precision: CONVOLUTIONS})
    with backend.load(engine) as session:
        assert session.execution == execution


def test_bf16_is_near_float_and_not_equal(backend: OpenVino, tmp_path: Path) -> None:
    if "bf16" not in backend.floats:
        pytest.skip("This processor has no bf16.")
    graph = write_frame_graph(tmp_path / "graph.onnx")
    frame = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    answers = {}
    for precision in ("fp32", "bf16"):
        engine = backend.build(graph, tmp_path / f"{precision}.onnx", EngineOptions(precision))
        with backend.load(engine, "logits") as session:
            answers[precision] = session.infer(frame)
    error = np.abs(answers["bf16"] - answers["fp32"]).max() / np.abs(answers["fp32"]).max()
    assert 1e-6 < error < 0.05, "equal answers would mean that the hint was not followed"


@pytest.mark.parametrize("rest", ["fp32", "bf16"])
def test_an_int8_engine_runs_in_int8_and_its_rest_as_asked(backend: OpenVino, tmp_path: Path, rest: Precision) -> None:
    if rest not in backend.floats:
        pytest.skip(f"This processor has no {rest}.")
    graph = write_frame_graph(tmp_path / "graph.onnx", prepared=_quantized(tmp_path), dialect="u8-asym")
    engine = backend.build(graph, tmp_path / "engine.onnx", EngineOptions(rest))
    assert (engine.card.precision, engine.card.float_precision) == ("int8", rest)
    execution = engine.card.measured["execution"]
    assert execution["precision"] == rest
    assert set(execution["convolutions"]) <= {"u8", "i8"} and sum(execution["convolutions"].values()) == CONVOLUTIONS
    with backend.load(engine) as session:
        assert session.execution == execution


def _quantized(folder: Path) -> onnx.ModelProto:
    """The tiny network with Q/DQ nodes, as ONNX Runtime's own tool writes them."""
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Noise(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.left = [rng.uniform(-128, 127, (1, 3, *SIZE)).astype(np.float32) for _ in range(2)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return {"pixels": self.left.pop()} if self.left else None

    onnx.save(tiny_prepared(seed=SEED), folder / "float.onnx")
    quantization.quantize_static(folder / "float.onnx", folder / "qdq.onnx", Noise(), per_channel=True)
    return onnx.load(folder / "qdq.onnx")


def test_threads_are_as_asked_and_move_between_cores(
    backend: OpenVino, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGESEG_THREADS", "1")
    engine = backend.build(write_frame_graph(tmp_path / "graph.onnx"), tmp_path / "engine.onnx", EngineOptions())
    assert engine.card.measured["execution"]["threads"] == 1
    with backend.load(engine) as session:
        compiled = session._requests[0].get_compiled_model()
        assert compiled.get_property("ENABLE_CPU_PINNING") is False
        assert compiled.get_property("PERFORMANCE_HINT") == "LATENCY"


@pytest.mark.parametrize("saturates", [False, True], ids=["with VNNI", "without VNNI"])
def test_seven_bit_weights_come_first_where_sums_saturate(monkeypatch: pytest.MonkeyPatch, saturates: bool) -> None:
    monkeypatch.setattr("edgeseg.backends.ov.int8_saturates", lambda: saturates)
    assert OpenVino().dialects[0] == ("u8-asym-reduced" if saturates else "u8-asym")
    assert "s8-sym" in OpenVino().dialects
