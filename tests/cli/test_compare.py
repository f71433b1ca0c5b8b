"""`edgeseg compare` on real engines and graphs of the tiny network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

from edgeseg.cli import main
from edgeseg.graph.io import save_graph
from tests.engines import NAMES, tiny_engine, tiny_model
from tests.quantize.tiny import prepared, quantized
from tests.train.scenes import write_scenes

FRAMES = "synthetic://?width=64&height=48&frames=2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph, two engines, one of them of other classes, and labelled frames."""
    folder = tmp_path_factory.mktemp("compare")
    save_graph(tiny_model(), folder / "tiny.onnx")
    tiny_engine(folder, name="engine")
    tiny_engine(folder, "fake", name="fake")
    tiny_engine(folder, "fake", name="other", classes=("a", "b", "c", "d"))
    write_scenes(folder / "data", 3, seed=0)
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGESEG_ENGINES", str(folder))


def test_a_graph_agrees_with_the_engine_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "tiny.onnx", "engine.onnx", "--frames", FRAMES, "--duration", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "edgeseg.compare/1"
    assert (report["a"]["engine"], report["b"]["engine"]) == ("tiny.onnx", "engine.onnx")
    assert report["frames"] == 2
    assert report["agreement"]["share"] == 1
    assert report["agreement"]["passes"]
    assert report["drop"] is None


def test_a_quantized_graph_is_compared_with_the_float_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_graph(prepared(), tmp_path / "float.onnx")
    save_graph(quantized("u8-asym"), tmp_path / "int8.onnx")
    words = [str(tmp_path / name) for name in ("float.onnx", "int8.onnx")]
    assert main(["compare", *words, "--frames", FRAMES, "--duration", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["b"]["precision"], report["b"]["dialect"]) == ("int8", "u8-asym")
    assert report["agreement"]["passes"]


def test_graphs_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_graph(tiny_model(seed=5), tmp_path / "tiny.onnx")
    words = ["tiny.onnx", str(tmp_path / "tiny.onnx"), "--frames", FRAMES, "--duration", "0", "--json"]
    assert main(["compare", *words]) == 0
    assert json.loads(capsys.readouterr().out)["agreement"]["share"] < 0.9


def test_labels_give_the_accuracy_of_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "engine.onnx", "fake.fake", "--data", "data", "--duration", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["a"]["class_iou"]) == set(NAMES)
    assert report["drop"]["drop"] == pytest.approx(report["a"]["miou"] - report["b"]["miou"])
    low, high = report["drop"]["drop_ci95"]
    assert low <= report["drop"]["drop"] <= high


def test_the_table_has_both_engines_and_the_sentences_below(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "engine.onnx", "fake.fake", "--data", "data", "--duration", "0"]) == 0
    printed = capsys.readouterr().out
    assert "A: engine.onnx" in printed and "B: fake.fake" in printed
    assert "IoU ground" in printed and "mIoU drops by" in printed and "times as fast as A" in printed
    assert "too little for the gate" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["engine.onnx", "fake.fake"], "either --frames SOURCE or --data DIR", id="no frames"),
        pytest.param(["engine.onnx", "fake.fake", "--frames", FRAMES, "--data", "data"], "either", id="both"),
        pytest.param(["engine.onnx", "other.fake", "--frames", FRAMES], "classes differ", id="other classes"),
        pytest.param(["engine.onnx", "absent", "--frames", FRAMES], "no engine 'absent'", id="no such engine"),
        pytest.param(["engine.onnx", "fake.fake", "--frames", "nowhere"], "nowhere", id="no such frames"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments]) == 2
    assert said in capsys.readouterr().err
