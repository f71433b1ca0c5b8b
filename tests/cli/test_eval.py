"""`edgeseg eval` on real engines of the tiny graph."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.backends import Engine, open_backend
from edgeseg.cli import main
from edgeseg.data.labelled import open_labelled
from edgeseg.data.resize import restore_class_map
from edgeseg.evaluate import ConfusionMatrix, class_maps, evaluate_session
from edgeseg.evaluate.flicker import Flicker
from edgeseg.graph.io import save_graph
from edgeseg.stream.smoothing import Smoothing
from tests.engines import NAMES, tiny_engine, tiny_model
from tests.train.scenes import write_scenes


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return tiny_engine(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("data"), 3, seed=0)


def test_the_report_is_the_score_of_the_engines_class_maps(
    engine: Engine, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(engine.path), "--data", str(data), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    with open_backend("onnxruntime").load(engine) as session:
        expected = evaluate_session(session, open_labelled(data, 4))
    assert report["schema"] == "edgeseg.eval/1"
    assert report["miou"] == expected.miou()
    assert report["pixel_accuracy"] == expected.pixel_accuracy()
    assert list(report["class_iou"]) == list(NAMES)
    assert report["class_iou"]["ground"] == expected.class_iou()[0]
    assert report["frames"] == 3
    assert report["engine"] == str(engine.path)


def test_smoothing_is_scored_beside_the_class_maps_as_they_are(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_scenes(tmp_path, 6, seed=0)
    assert main(["eval", str(engine.path), "--data", str(data), "--smooth", "0", "--smooth", "0.5", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    frames = list(open_labelled(data, 4))
    with open_backend("onnxruntime").load(engine) as session:
        plain = list(class_maps(session, [frame for frame, _ in frames]))
    smoothing, matrix, before, after, labels = Smoothing(0.5), ConfusionMatrix.empty(4), Flicker(), Flicker(), Flicker()
    for class_map, (frame, label) in zip(plain, frames, strict=True):
        before.update(restore_class_map(class_map, (48, 64), engine.card.preprocess.resize))
        smoothed = restore_class_map(smoothing.update(class_map, frame), (48, 64), engine.card.preprocess.resize)
        after.update(smoothed)
        matrix.update(smoothed, label)
        labels.update(label)
    assert report["flicker"] == before.score() > 0
    assert report["label_flicker"] == labels.score() > 0
    none, half = report["smoothed"]
    assert [none["strength"], half["strength"]] == [0, 0.5]
    assert {name: none[name] for name in ("miou", "flicker", "class_iou", "pixel_accuracy")} == {
        name: report[name] for name in ("miou", "flicker", "class_iou", "pixel_accuracy")
    }
    assert (half["miou"], half["flicker"]) == (matrix.miou(), after.score())
    assert half["flicker"] != report["flicker"]


@pytest.mark.parametrize("frames", [1, 2])
def test_too_few_frames_have_no_flicker(
    engine: Engine, tmp_path: Path, frames: int, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_scenes(tmp_path, frames, seed=0)
    assert main(["eval", str(engine.path), "--data", str(data), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["flicker"] is report["label_flicker"] is None
    assert report["smoothed"] == []


def test_a_class_that_never_occurs_is_null(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fake backend gives bands of brightness, so that all is known: a black frame is the first class."""
    for path in (tmp_path / "data" / "images", tmp_path / "data" / "masks"):
        path.mkdir(parents=True)
        cv2.imwrite(str(path / "black.png"), np.zeros((20, 30, 3) if path.name == "images" else (20, 30), np.uint8))
    fake = tiny_engine(tmp_path, "fake")
    assert main(["eval", str(fake.path), "--data", str(tmp_path / "data"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["class_iou"] == {"ground": 1.0, "tree": None, "car": None, "sky": None}
    assert report["miou"] == report["pixel_accuracy"] == 1.0


def test_the_table_names_every_class(engine: Engine, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(engine.path), "--data", str(data)]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*NAMES, "mean", "fp32 on onnxruntime"))
    assert "pixel accuracy" in printed and "on 3 frames" in printed
    assert "Flicker" in printed and "Smoothed" not in printed


def test_people_are_told_what_smoothing_does(engine: Engine, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(engine.path), "--data", str(data), "--smooth", "0.5"]) == 0
    assert "Smoothed by 0.5: mIoU" in capsys.readouterr().out


def test_a_graph_is_scored_as_the_engine_of_it(
    tmp_path: Path, engine: Engine, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_graph(tiny_model(), tmp_path / "tiny.onnx")
    assert main(["eval", str(tmp_path / "tiny.onnx"), "--data", str(data), "--upsample", "half", "--json"]) == 0
    graph = json.loads(capsys.readouterr().out)
    assert main(["eval", str(engine.path), "--data", str(data), "--json"]) == 0
    built = json.loads(capsys.readouterr().out)
    assert graph["engine"] == str(tmp_path / "tiny.onnx")
    assert graph["miou"] == built["miou"]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"], "nothing is left behind"


def test_labels_that_do_not_fit_the_classes_are_a_usage_error(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_scenes(tmp_path / "data", 2, seed=0)
    cv2.imwrite(str(data / "masks" / "001.png"), np.full((48, 64), 4, np.uint8))
    assert main(["eval", str(engine.path), "--data", str(data), "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert "001.png holds the ids 4, but there are 4 classes" in report["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["absent", "--data", "data"], 2, "no engine 'absent'", id="no such engine"),
        pytest.param(["bare.onnx", "--data", "data"], 2, "has no card", id="a graph without a card"),
        pytest.param(["tiny.onnx", "--data", "nowhere"], 2, "neither a folder", id="no such data"),
        pytest.param(["tiny.onnx"], 2, "--data", id="no data at all"),
        pytest.param(["tiny.onnx", "--data", "data", "--smooth", "2"], 2, "0<=x<=1", id="too much smoothing"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("EDGESEG_ENGINES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(data)
    model = tiny_model()
    save_graph(model, tmp_path / "tiny.onnx")
    model.metadata_props.clear()
    save_graph(model, tmp_path / "bare.onnx")
    assert main(["eval", *arguments]) == code
    assert said in capsys.readouterr().err
