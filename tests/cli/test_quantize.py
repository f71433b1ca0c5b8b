"""`edgeseg quantize` on the tiny network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

import onnx_ir as ir

from edgeseg.card import Int8Recipe
from edgeseg.cli import main
from edgeseg.graph.io import graph_card, graph_sha256, load_graph, save_graph
from edgeseg.quantize.lint import lint_tensorrt
from edgeseg.quantize.ranges import load_ranges
from tests.cli.test_calibrate import AS_PIXELS, STREET
from tests.engines import tiny_model

DIALECTS = ("u8-asym", "u8-asym-reduced", "s8-sym")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tiny.onnx` and its ranges, and `other.onnx`, which has other weights."""
    folder = tmp_path_factory.mktemp("room")
    for name, seed in (("tiny", 0), ("other", 1)):
        save_graph(tiny_model(kind="graph", preprocess=AS_PIXELS, seed=seed), folder / f"{name}.onnx")
    assert main(["calibrate", str(folder / "tiny.onnx"), STREET, "-o", str(folder / "tiny.ranges.npz")]) == 0
    recipe = Int8Recipe(calibrator="percentile:99", keep_float=("n0",))
    save_graph(tiny_model(kind="graph", preprocess=AS_PIXELS, int8={"u8-asym": recipe}), folder / "own.onnx")
    shutil.copy(folder / "tiny.ranges.npz", folder / "own.ranges.npz")
    few = STREET.replace("frames=", "frames=1")
    assert main(["calibrate", str(folder / "own.onnx"), few, "-o", str(folder / "few.npz")]) == 0
    return folder


@pytest.mark.parametrize(
    ("words", "calibrator", "kept"),
    [
        pytest.param(["own.ranges.npz"], "percentile:99", True, id="those beside it"),
        pytest.param(["tiny.ranges.npz"], "percentile:99", True, id="a copy of them"),
        pytest.param(["few.npz"], "minmax", False, id="others"),
        pytest.param(["own.ranges.npz", "--dialect", "s8-sym"], "minmax", False, id="a dialect without a recipe"),
        pytest.param(["own.ranges.npz", "--calibrator", "mse"], "mse", False, id="another calibrator"),
        pytest.param(["own.ranges.npz", "--per-tensor"], "minmax", False, id="weights per tensor"),
        pytest.param(["own.ranges.npz", "--keep-float", "n2"], "minmax", False, id="another node in float"),
    ],
)
def test_the_models_own_recipe_goes_with_the_ranges_beside_it(
    words: list[str], calibrator: str, kept: bool, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(room / word) if word.endswith(".npz") else word for word in words]
    capsys.readouterr()
    assert main(["quantize", str(room / "own.onnx"), *paths, "-o", str(tmp_path / "int8.onnx"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["calibrator"], "n0" in report["float_nodes"]) == (calibrator, kept)


def classifier(graph: ir.Model) -> str:
    """Name of the node that makes the logits."""
    node = graph.graph.outputs[0].producer()
    assert node is not None
    return node.name or ""


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_graph_is_what_the_report_says(
    dialect: str, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "int8.onnx"
    words = [str(room / "tiny.onnx"), str(room / "tiny.ranges.npz"), "-o", str(out), "--dialect", dialect, "--json"]
    assert main(["quantize", *words]) == 0
    report = json.loads(capsys.readouterr().out)
    graph = load_graph(out)
    card = graph_card(graph)
    assert card is not None
    assert report["schema"] == "edgeseg.quantize/1"
    assert report["graph_sha256"] == graph_sha256(graph)
    assert report["ranges_sha256"] == load_ranges(room / "tiny.ranges.npz").sha256() == card.made_from["ranges"]
    assert (report["dialect"], card.kind, card.dialect) == (dialect, "quantized", dialect)
    assert report["int8_convs"] == report["total_convs"] - 1
    assert report["float_nodes"] == [classifier(graph)]
    assert report["findings"] == []
    assert (lint_tensorrt(graph) == []) is (dialect == "s8-sym")


def test_the_options_reach_the_quantizer(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(room / "tiny.onnx"), str(room / "tiny.ranges.npz"), "-o", str(tmp_path / "int8.onnx"), "--json"]
    assert main(["quantize", *words, "--calibrator", "percentile:99", "--keep-float", "n0"]) == 0
    report = json.loads(capsys.readouterr().out)
    graph = load_graph(tmp_path / "int8.onnx")
    card = graph_card(graph)
    assert card is not None
    assert report["calibrator"] == card.int8["u8-asym"].calibrator == "percentile:99"
    assert report["float_nodes"] == ["n0", classifier(graph)]


def test_people_are_told_where_it_lies(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "int8.onnx"
    assert main(["quantize", str(room / "tiny.onnx"), str(room / "tiny.ranges.npz"), "-o", str(out)]) == 0
    told = capsys.readouterr()
    assert "u8-asym" in told.out
    assert classifier(load_graph(out)) in told.out
    assert f"Wrote {out}" in told.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        pytest.param(["other.onnx", "tiny.ranges.npz"], 4, "ranges of other weights", id="ranges of another network"),
        pytest.param(["tiny.onnx", "none.ranges.npz"], 4, "no file of ranges", id="ranges that do not exist"),
        pytest.param(["tiny.onnx", "tiny.onnx"], 4, "can't be read", id="a graph in place of ranges"),
        pytest.param(["tiny.onnx", "tiny.ranges.npz", "--calibrator", "mean"], 2, "no calibrator", id="a calibrator"),
        pytest.param(["tiny.onnx", "tiny.ranges.npz", "--keep-float", "n"], 2, "no node 'n'", id="a node"),
        pytest.param(["tiny.onnx", "tiny.ranges.npz", "--dialect", "u8"], 2, "u8-asym", id="a dialect"),
    ],
)
def test_what_does_not_fit_ends_with_its_code_and_writes_nothing(
    words: list[str], code: int, message: str, room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "int8.onnx"
    paths = [str(room / word) if word.endswith((".onnx", ".npz")) else word for word in words]
    assert main(["quantize", *paths, "-o", str(out), "--json"]) == code
    assert message in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not out.exists()


def test_a_calibration_cache_comes_with_its_graph_and_the_line_that_builds_it(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiny.cache"
    command = ["quantize", str(room / "tiny.onnx"), str(room / "tiny.ranges.npz"), "-o", str(out)]
    assert main([*command, "--calibration-cache", "8.5.2"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        f"trtexec --onnx={tmp_path}/tiny.onnx --saveEngine={tmp_path}/tiny.engine --int8 --fp16 --calib={out} "
        "--profilingVerbosity=detailed"
    ]
    lines = out.read_text().splitlines()
    assert lines[0] == "TRT-8502-EntropyCalibration2"
    values = {value.name for node in load_graph(tmp_path / "tiny.onnx").graph for value in node.outputs}
    assert values <= {line.rpartition(": ")[0] for line in lines[1:]}
    assert main([*command, "--calibration-cache", "8.5.2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["tensorrt"], report["tensors"]) == ("8502", len(lines) - 1)


def test_a_tensorrt_without_calibration_caches_is_refused(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(room / "tiny.onnx"), str(room / "tiny.ranges.npz"), "-o", str(tmp_path / "tiny.cache")]
    assert main(["quantize", *words, "--calibration-cache", "11.4.1"]) == 2
    assert "reads no calibration cache" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
