"""`edgeseg inspect` on every kind of artefact, real ones all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.cli import main
from edgeseg.files import sha256_file
from edgeseg.graph.io import graph_sha256, save_graph, weights_sha256
from edgeseg.quantize.measure import measure_ranges
from edgeseg.quantize.ranges import save_ranges
from tests.engines import NAMES, installed, tiny_engine, tiny_model
from tests.quantize.tiny import prepared, quantized


def inspected(path: Path | str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["inspect", str(path), "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["schema"] == "edgeseg.inspect/1"
    return report


def test_a_graph_tells_its_card_its_ends_and_its_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, model = tmp_path / "tiny.onnx", tiny_model()
    save_graph(model, path)
    report = inspected(path, capsys)
    assert (report["kind"], report["sha256"]) == ("prepared", sha256_file(path))
    assert report["card"]["classes"] == list(NAMES)
    graph = report["graph"]
    assert graph["inputs"] == [{"name": "pixels", "dtype": "float", "shape": [1, 3, 32, 48]}]
    assert graph["outputs"] == [{"name": "logits", "dtype": "float", "shape": [1, 4, 8, 12]}]
    convs = [node for node in model.graph if node.op_type == "Conv"]
    assert graph["nodes"]["Conv"] == graph["total_convs"] == len(convs)
    weights = [value.const_value for node in convs for value in node.inputs[1:] if value is not None]
    assert graph["parameters"] == sum(tensor.size for tensor in weights if tensor is not None)
    assert graph["quantize_nodes"] == graph["int8_convs"] == 0
    assert (graph["graph_sha256"], graph["weights_sha256"]) == (graph_sha256(model), weights_sha256(model))


def test_a_graph_without_a_card_is_told_by_its_structure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model()
    model.metadata_props.clear()
    save_graph(model, tmp_path / "bare.onnx")
    report = inspected(tmp_path / "bare.onnx", capsys)
    assert (report["kind"], report["card"]) == ("graph", None)
    assert report["graph"]["opset"] == 17


def test_a_quantized_graph_tells_its_dialect_and_its_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = quantized("u8-asym")
    save_graph(model, tmp_path / "int8.onnx")
    report = inspected(tmp_path / "int8.onnx", capsys)
    assert (report["kind"], report["card"]["precision"], report["card"]["dialect"]) == ("quantized", "int8", "u8-asym")
    ops = [node.op_type for node in model.graph]
    assert report["graph"]["quantize_nodes"] == ops.count("QuantizeLinear") > 0
    assert report["graph"]["dequantize_nodes"] == ops.count("DequantizeLinear")
    assert report["graph"]["int8_convs"] == report["graph"]["total_convs"] - 1, "all but the classifier"
    save_graph(prepared(), tmp_path / "float.onnx")
    assert report["graph"]["parameters"] == inspected(tmp_path / "float.onnx", capsys)["graph"]["parameters"]


def test_an_engine_tells_the_card_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = tiny_engine(tmp_path)
    report = inspected(engine.path, capsys)
    assert report["kind"] == "engine"
    assert report["card"]["backend"] == "onnxruntime"
    assert report["card"]["sha256"] == report["sha256"]
    assert (report["card"]["precision"], report["card"]["upsample"]) == ("fp32", "half"), "what is as usual is told too"
    assert report["graph"]["outputs"] == [{"name": "class_map", "dtype": "uint8", "shape": [1, 32, 48]}]


def test_an_engine_that_is_no_graph_has_its_card_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = inspected(tiny_engine(tmp_path, "fake").path, capsys)
    assert (report["card"]["backend"], report["graph"]) == ("fake", None)


def test_an_engine_is_found_by_the_beginning_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tiny_engine(tmp_path)
    monkeypatch.setenv("EDGESEG_ENGINES", str(tmp_path))
    assert inspected("tiny-onnx", capsys)["path"] == str(engine.path)


def test_ranges_tell_what_they_were_measured_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = [np.full((1, 3, 32, 48), value, np.float32) for value in (-100, 0, 50)]
    tiny_ranges = measure_ranges(tiny_model(), pixels, calibration_sha256="c" * 64)
    save_ranges(tiny_ranges, tmp_path / "tiny.ranges.npz")
    report = inspected(tmp_path / "tiny.ranges.npz", capsys)
    assert report["kind"] == "ranges"
    assert (report["ranges"]["tensors"], report["ranges"]["frames"]) == (len(tiny_ranges.tensors), 3)
    assert report["ranges"]["ranges_sha256"] == tiny_ranges.sha256()
    assert report["ranges"]["weights_sha256"] == tiny_ranges.weights_sha256


def test_trained_weights_tell_their_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    from edgeseg.models import create_model, save_weights

    net = create_model("liteseg-mobilenetv2", num_classes=2, width=0.25)
    save_weights(net, tmp_path / "best.safetensors", {"training": '{"recipe": {"model": "liteseg-mobilenetv2"}}'})
    report = inspected(tmp_path / "best.safetensors", capsys)
    assert (report["kind"], report["training"]["recipe"]) == ("weights", {"model": "liteseg-mobilenetv2"})


def test_the_table_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = tiny_engine(tmp_path)
    assert main(["inspect", str(engine.path)]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("ground, tree, car, sky", "preprocess.pixel_format", "class_map: uint8"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("name", "spoil", "code", "said"),
    [
        pytest.param("absent.onnx", None, 2, "no engine 'absent.onnx'", id="nothing there"),
        pytest.param("tiny.onnx", cut, 4, "can't be read", id="a truncated graph"),
        pytest.param("engine.onnx", cut, 4, "is damaged", id="a truncated engine"),
        pytest.param("notes.txt", None, 2, "nothing that edgeseg makes", id="another file"),
        pytest.param("some.npz", None, 4, "can't be read", id="other arrays"),
    ],
)
def test_what_is_no_whole_artefact_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    spoil: Callable[[Path], None] | None,
    code: int,
    said: str,
) -> None:
    tiny_engine(tmp_path, name="engine")
    save_graph(tiny_model(), tmp_path / "tiny.onnx")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "some.npz").write_bytes(b"PK")
    monkeypatch.setenv("EDGESEG_ENGINES", str(tmp_path))
    if spoil is not None:
        spoil(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", name]) == code
    assert said in " ".join(capsys.readouterr().err.split())


def test_inspecting_changes_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = tiny_engine(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    inspected(engine.path, capsys)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_engine_of_tensorrts_tells_its_layers_and_the_line_that_builds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed("tensorrt-rtx")
    engine = tiny_engine(tmp_path, "tensorrt-rtx")
    report = inspected(engine.path, capsys)
    assert report["command"].startswith(f"tensorrt_rtx --onnx={engine.path}.onnx --saveEngine=")
    assert "--stronglyTyped" in report["command"]
    kinds = [layer["kind"] for layer in report["layers"]]
    assert kinds.count("correlation") == report["card"]["measured"]["execution"]["convolutions"]["fp32"]
    assert main(["inspect", str(engine.path), "--layers"]) == 0
    told = capsys.readouterr().out
    assert f"{len(kinds)} layers" in told
    assert told.splitlines()[-1] == report["command"]


@pytest.mark.parametrize(("backend", "tool"), [("onnxruntime", "onnxruntime_perf_test"), ("openvino", "benchmark_app")])
def test_an_engine_tells_the_tool_that_runs_it(
    backend: str, tool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(backend)
    engine = tiny_engine(tmp_path, backend)
    assert inspected(engine.path, capsys)["command"].split()[0] == tool
