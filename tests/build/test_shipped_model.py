"""The shipped models on real frames: what the README promises of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx_ir as ir
import onnxruntime

from edgeseg.backends import BACKENDS, open_backend
from edgeseg.backends.base import Engine
from edgeseg.build.candidates import Candidate, build_candidate
from edgeseg.build.engine_graph import MadeGraphs
from edgeseg.build.prepared import open_prepared
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Card
from edgeseg.catalog import DEFAULT_MODEL, ranges_beside, zoo_model, zoo_models
from edgeseg.cli import main
from edgeseg.data.calibration import open_frames
from edgeseg.data.labelled import find_data_set, open_labelled
from edgeseg.data.resize import resize_frame
from edgeseg.errors import MissingDependency, UsageError
from edgeseg.evaluate import evaluate_session
from edgeseg.graph.io import graph_card, graph_sha256, load_graph
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.ranges import check_ranges, load_ranges
from tests.engines import runnable

#: Points of mIoU on CamVid val that each promises.
MODELS = {
    "liteseg-efficientnet-lite0-camvid": 76.0,
    "liteseg-mobilenetv2-camvid": 75.0,
    "liteseg-nano-camvid": 73.5,
}


def camvid() -> Path:
    try:
        return find_data_set("camvid")
    except UsageError as error:
        pytest.skip(error.message)


def real_frames(source: str) -> Iterator[np.ndarray]:
    if source == "camvid":
        source = str(camvid() / "val/images")
    try:
        frames = open_frames(source, limit=6)
    except MissingDependency as error:
        pytest.skip(error.message)
    return (frame for _, frame in frames)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name == DEFAULT_MODEL else pytest.mark.slow) for name in MODELS],
)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def prepared(model: str) -> ir.Model:
    return open_prepared(BuildRecipe(model=model, upsample="full"))[1]


def shipped_card(model: str) -> Card:
    card = graph_card(load_graph(zoo_model(model)))
    assert card is not None
    return card


def test_all_that_is_shipped_is_tested() -> None:
    assert list(zoo_models()) == sorted(MODELS)
    assert DEFAULT_MODEL in MODELS


def float_engine(prepared: ir.Model, name: str, folder: Path) -> Engine:
    candidate = Candidate(runnable(name), "fp32", "float", "candidate")
    return build_candidate(candidate, MadeGraphs(prepared, "full"), None, BuildRecipe(), folder).engine


@pytest.mark.parametrize("source", ["camvid", "demo://bikes"])
@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "fake"])
def test_a_float_engine_equals_the_plain_pipeline(
    name: str, source: str, model: str, prepared: ir.Model, tmp_path: Path
) -> None:
    """Plain: numpy preprocessing, the float graph as it is shipped with its bilinear upsampling, argmax."""
    plain = onnxruntime.InferenceSession(zoo_model(model), providers=["CPUExecutionProvider"])
    engine = float_engine(prepared, name, tmp_path)
    equal = []
    with open_backend(name).load(engine) as session:
        for frame in real_frames(source):
            small = resize_frame(frame, (360, 480), engine.card.preprocess.resize)
            image = (small[..., ::-1].astype(np.float32) - 128) / 128
            logits = plain.run(None, {"image": np.ascontiguousarray(image.transpose(2, 0, 1)[None])})[0]
            equal.append((session.infer(small[None])[0] == logits[0].argmax(0)).mean())
    assert len(equal) == 6
    assert np.mean(equal) >= 0.9999


def test_its_accuracy_on_camvid_is_what_its_card_says(model: str, prepared: ir.Model, tmp_path: Path) -> None:
    frames = open_labelled(camvid() / "val", 11)
    with open_backend("onnxruntime").load(float_engine(prepared, "onnxruntime", tmp_path)) as session:
        matrix = evaluate_session(session, frames)
    assert 100 * matrix.miou() >= MODELS[model]
    released = shipped_card(model).measured["release"]["gate"]
    assert released["frames"] == len(frames)
    assert matrix.miou() == pytest.approx(released["float_miou"], abs=0.005), "the card's is at --upsample half"
    assert released["drop"] <= 0.005


def test_its_ranges_are_of_its_weights(model: str, prepared: ir.Model) -> None:
    assert check_ranges(load_ranges(ranges_beside(zoo_model(model))), prepared) == ""


def test_its_card_tells_whose_data_it_saw_and_how_it_is_quantized(model: str) -> None:
    card = shipped_card(model)
    assert "research" in card.licence["weights"] and "CamVid" in card.licence["data"]
    assert card.int8, "the recipes that a build found for it"


@pytest.mark.parametrize(
    "dialect", ["s8-sym", *(pytest.param(name, marks=pytest.mark.slow) for name in ("u8-asym", "u8-asym-reduced"))]
)
def test_its_quantized_graphs_are_always_the_same(model: str, prepared: ir.Model, dialect: str) -> None:
    ranges = load_ranges(ranges_beside(zoo_model(model)))
    first, second = (graph_sha256(quantize_onnx(prepared, ranges, dialect=dialect)) for _ in range(2))  # type: ignore[arg-type]
    assert first == second


def camvid_build(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    options = ["--data", str(camvid()), "--duration", "2", "-o", str(tmp_path), "--json"]
    assert main(["build", "--int8", *words, *options]) == 0
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.slow
@pytest.mark.parametrize("upsample", ["full", "half", "none"])
def test_int8_keeps_its_accuracy_on_every_backend(
    model: str, upsample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most 0.3 points of mIoU, and 2.0 of any class above 1 % of the pixels."""
    report = camvid_build(tmp_path, capsys, model, "--upsample", upsample)
    int8 = [row["gate"] for row in report["candidates"] if row["precision"] == "int8"]
    assert int8
    for gate in int8:
        assert gate["frames"] == 101
        assert gate["drop"] <= 0.003
        assert max(gate["class_drop"].values()) <= 0.02


@pytest.mark.slow
def test_one_scale_per_tensor_is_repaired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = camvid_build(tmp_path, capsys, "--per-tensor", "--calib", "camvid-train", "--even-if-slower")
    steps = [step for step in report["repair"] if step["gate"]]
    assert steps[0]["gate"]["drop"] > 0.03, "broken to begin with"
    assert report["gate"]["drop"] <= 0.005
    assert report["int8_convs"] > 0.8 * report["total_convs"]
