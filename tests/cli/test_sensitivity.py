"""`edgeseg sensitivity` on the tiny network."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.build.prepared import open_prepared
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Int8Recipe
from edgeseg.cli import main
from edgeseg.graph.io import load_graph, save_graph
from edgeseg.quantize.probe import Probe
from tests.cli.test_calibrate import AS_PIXELS, STREET
from tests.engines import tiny_model
from tests.half_right import graph_labels
from tests.train.scenes import write_scenes

OTHERS = "synthetic://?width=96&height=64&frames=5&seed=2"
#: Weighted operators of the tiny network's blocks, in the order of the graph.
BLOCKS = {("n0", "n2"), ("n4", "n6", "n8"), ("n10",), ("n13",), ("n17",), ("n21",)}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network with ranges beside it, without, and as INT8; labelled frames of its classes and of others."""
    folder = tmp_path_factory.mktemp("room")
    own = {"u8-asym": Int8Recipe(calibrator="mse", keep_float=("n10",))}
    for name, int8 in (("tiny", {}), ("bare", {}), ("own", own)):
        save_graph(tiny_model(kind="graph", preprocess=AS_PIXELS, int8=int8), folder / f"{name}.onnx")
    assert main(["calibrate", str(folder / "tiny.onnx"), STREET, "-o", str(folder / "tiny.ranges.npz")]) == 0
    shutil.copy(folder / "tiny.ranges.npz", folder / "own.ranges.npz")
    tiny, ranges = str(folder / "tiny.onnx"), str(folder / "tiny.ranges.npz")
    assert main(["quantize", tiny, ranges, "-o", str(folder / "int8.onnx")]) == 0
    (folder / "empty").mkdir()
    graph_labels(write_scenes(folder / "data", 3, seed=1), open_prepared(BuildRecipe(model=tiny))[1])
    write_scenes(folder / "strange", 3, seed=1)
    mask = write_scenes(folder / "other", 1, seed=1) / "masks" / "000.png"
    cv2.imwrite(str(mask), cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) + 20)
    return folder


@pytest.fixture
def run(room: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs the command in JSON; words that are files of the room become their paths."""

    def call(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["sensitivity", *(located(word, room) for word in words), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


def located(word: str, room: Path) -> str:
    return str(room / word) if (room / word).exists() else word


def test_the_report_with_labels(run: Any, room: Path, tmp_path: Path) -> None:
    code, report = run("tiny.onnx", "--data", "data", "-o", str(tmp_path / "out"))
    assert (code, report["schema"], report["kind"], report["frames"]) == (0, "edgeseg.sensitivity/1", "labels", 3)
    assert {tuple(row["weighted"]) for row in report["blocks"]} == BLOCKS
    noise = [row["alone"]["snr_db"] for row in report["blocks"]]
    assert noise == sorted(noise)
    assert all(row["left_out"]["drop"] is not None and row["agreement_miou_gain"] is None for row in report["blocks"])
    assert report["all_int8"]["snr_db"] < min(noise)
    ranks = report["rank_correlation"]
    assert (ranks["frames"], ranks["blocks"]) == (3, len(BLOCKS))
    assert -1 <= ranks["snr_gain"] <= 1 and ranks["agreement_miou_gain"] is None
    assert json.loads((tmp_path / "out" / "sensitivity.json").read_text()) == report
    chart = ElementTree.parse(tmp_path / "out" / "sensitivity.svg").getroot()
    names = [one for one in chart.iter() if one.get("class") == "name"]
    assert len(names) == len(BLOCKS)


def test_the_report_without_labels(run: Any) -> None:
    code, report = run("tiny.onnx", "--frames", OTHERS, "--limit", "2")
    assert (code, report["kind"], report["frames"], report["float_miou"]) == (0, "agreement", 2, None)
    for row in report["blocks"]:
        assert row["alone"]["drop"] is None and 0 < row["alone"]["agreement_miou"] <= 1


def test_a_quick_run_ranks_alone(run: Any) -> None:
    code, report = run("tiny.onnx", "--frames", OTHERS, "--quick")
    assert (code, report["quick"], report["frames"]) == (0, True, 4)
    assert (report["all_int8"], report["rank_correlation"]) == (None, None)
    assert all(row["left_out"] is None for row in report["blocks"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param((), {"dialect": "u8-asym", "calibrator": "minmax", "per_tensor": False}, id="none"),
        pytest.param(("--dialect", "s8-sym"), {"dialect": "s8-sym"}, id="the dialect"),
        pytest.param(("--calibrator", "percentile:99"), {"calibrator": "percentile:99"}, id="the calibrator"),
        pytest.param(("--per-tensor",), {"per_tensor": True}, id="one scale"),
    ],
)
def test_options_reach_the_quantizer(
    run: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: dict[str, Any]
) -> None:
    monkeypatch.setattr("edgeseg.build.sensitivity.int8_saturates", lambda: False)
    plain = run("tiny.onnx", "--frames", OTHERS, "--quick")[1]
    code, report = run("tiny.onnx", "--frames", OTHERS, "--quick", *words)
    assert (code, {name: report[name] for name in expected}) == (0, expected)
    found = [[row["alone"] for row in one["blocks"]] for one in (plain, report)]
    assert (found[0] == found[1]) is (not words), "they change what is measured"


@pytest.mark.parametrize(
    ("words", "calibrator", "kept"),
    [
        pytest.param((), "mse", True, id="as a build"),
        pytest.param(("--ranges", "tiny.ranges.npz"), "mse", True, id="a copy of the ranges beside it"),
        pytest.param(("--calib", STREET), "minmax", False, id="ranges of other frames"),
        pytest.param(("--calibrator", "percentile:99"), "percentile:99", False, id="another calibrator"),
        pytest.param(("--per-tensor",), "minmax", False, id="weights per tensor"),
        pytest.param(("--dialect", "s8-sym"), "minmax", False, id="a dialect without a recipe"),
    ],
)
def test_the_models_own_recipe_goes_with_the_ranges_beside_it(
    run: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], calibrator: str, kept: bool
) -> None:
    monkeypatch.setattr("edgeseg.build.sensitivity.int8_saturates", lambda: False)
    code, report = run("own.onnx", "--frames", OTHERS, "--quick", *words)
    assert (code, report["calibrator"]) == (0, calibrator)
    assert {tuple(row["weighted"]) for row in report["blocks"]} == BLOCKS - ({("n10",)} if kept else set())


def test_ranges_are_those_beside_the_model_or_named_or_measured(run: Any) -> None:
    beside = run("tiny.onnx", "--frames", OTHERS, "--quick")[1]
    named = run("bare.onnx", "--frames", OTHERS, "--quick", "--ranges", "tiny.ranges.npz")[1]
    measured = run("bare.onnx", "--frames", OTHERS, "--quick", "--calib", STREET)[1]
    assert beside["ranges_sha256"] == named["ranges_sha256"] != measured["ranges_sha256"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        pytest.param(["tiny.onnx"], 2, "Give the frames", id="no frames"),
        pytest.param(["tiny.onnx", "--frames", OTHERS, "--data", "data"], 2, "either --frames", id="both kinds"),
        pytest.param(["tiny.onnx", "--data", "other"], 2, "there are 4 classes", id="labels of more classes"),
        pytest.param(["tiny.onnx", "--data", "strange"], 2, "labels of other classes", id="labels of other classes"),
        pytest.param(["tiny.onnx", "--data", "empty"], 2, "not found|no labelled", id="no labels"),
        pytest.param(["tiny.onnx", "--frames", "empty"], 2, "no images", id="a folder without images"),
        pytest.param(["bare.onnx", "--frames", OTHERS], 2, "no ranges lie beside", id="no ranges"),
        pytest.param(
            ["tiny.onnx", "--frames", OTHERS, "--calib", STREET, "--ranges", "tiny.ranges.npz"], 2, "either measured",
            id="ranges twice",
        ),
        pytest.param(["int8.onnx", "--frames", OTHERS], 4, "quantized already|not a float graph", id="an INT8 graph"),
        pytest.param(["tiny.onnx", "--frames", OTHERS, "--ranges", "tiny.onnx"], 4, "be read", id="a graph as ranges"),
        pytest.param(["none.onnx", "--frames", OTHERS], 2, "does not exist", id="no model"),
        pytest.param(["tiny.onnx", "--frames", OTHERS, "--limit", "0"], 2, "limit", id="no frames wanted"),
    ],
)  # fmt: skip
def test_what_does_not_fit_ends_with_its_code_and_writes_nothing(
    words: list[str], code: int, message: str, run: Any, tmp_path: Path
) -> None:
    ended, report = run(*words, "-o", str(tmp_path / "out"))
    assert (ended, report["error"]["exit_code"]) == (code, code)
    assert re.search(message, report["error"]["message"])
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("stops_at", [1, 2, 6])
def test_what_is_interrupted_leaves_what_was_there(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops_at: int
) -> None:
    """Ctrl-C while the so-manieth graph runs, the first of which is the float one."""
    (tmp_path / "sensitivity.json").write_text("earlier")
    answer, done = Probe.answer, 0

    def interrupted(self: Probe, graph: Any) -> Any:
        nonlocal done
        done += 1
        if done == stops_at:
            raise KeyboardInterrupt
        return answer(self, graph)

    monkeypatch.setattr(Probe, "answer", interrupted)
    code, _ = run("tiny.onnx", "--frames", OTHERS, "-o", str(tmp_path))
    assert (code, done) == (130, stops_at)
    assert [path.name for path in tmp_path.iterdir()] == ["sensitivity.json"]
    assert (tmp_path / "sensitivity.json").read_text() == "earlier"


def told(room: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    capsys.readouterr()
    assert main(["sensitivity", *(located(word, room) for word in words)]) == 0
    return capsys.readouterr()


def test_people_are_told_all_of_a_whole_run(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(room, capsys, "tiny.onnx", "--data", "data", "-o", str(tmp_path))
    assert all(name in out for name in ("n0", "n4", "n21", "mIoU drop alone", "mIoU drop left out", "gain, dB"))
    assert "All blocks in INT8:" in out and "points" in out
    assert f"ranks the {len(BLOCKS)} blocks" in out and "Spearman" in out and "by gain in dB" in out
    assert f"Wrote {tmp_path / 'sensitivity.json'}" in err
    assert "--keep-float n" in err


def test_people_are_told_of_agreement_where_there_are_no_labels(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = told(room, capsys, "tiny.onnx", "--frames", OTHERS)
    assert "agreement lost alone" in out and "agreement, no accuracy" in out and "by gain in dB" in out
    assert "mIoU" not in out


def test_people_are_told_little_of_a_quick_run(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(room, capsys, "tiny.onnx", "--frames", OTHERS, "--quick")
    assert "dB alone" in out and "left out" not in out and "Spearman" not in out
    assert "noisiest alone" in err


def test_names_that_look_like_markup_are_told_as_they_are(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = load_graph(room / "tiny.onnx")
    next(node for node in graph.graph if node.name == "n10").name = "[/red] [b]x"
    save_graph(graph, tmp_path / "odd.onnx")
    out, _ = told(room, capsys, str(tmp_path / "odd.onnx"), "--frames", OTHERS, "--calib", STREET, "--quick")
    assert "[/red] [b]x" in out


def test_what_keeps_a_block_in_float_is_what_was_left_out(run: Any, room: Path, tmp_path: Path) -> None:
    """The nodes of a block, given to `edgeseg quantize`, leave its weights in float."""
    report = run("tiny.onnx", "--frames", OTHERS, "--quick")[1]
    block = next(row for row in report["blocks"] if len(row["weighted"]) == 3)
    keep = [word for name in block["nodes"] for word in ("--keep-float", name)]
    out = tmp_path / "kept.onnx"
    assert main(["quantize", str(room / "tiny.onnx"), str(room / "tiny.ranges.npz"), "-o", str(out), *keep]) == 0
    assert in_float(out) - in_float(room / "int8.onnx") == set(block["weighted"])


def in_float(path: Path) -> set[str]:
    """Names of the convolutions whose weights nothing dequantizes."""
    convs = [node for node in load_graph(path).graph if node.op_type == "Conv"]
    return {node.name or "" for node in convs if node.inputs[1] is not None and node.inputs[1].producer() is None}
