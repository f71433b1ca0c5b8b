"""INT8 that fails its gate is repaired, step by step, and the run says what each step won."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from edgeseg.backends import Engine
from edgeseg.build import find_engine, load_session
from edgeseg.build.repair import fewest
from edgeseg.card import Int8Recipe
from edgeseg.catalog import DEFAULT_MODEL, zoo_model
from edgeseg.cli import main
from edgeseg.data.scene import Scene
from edgeseg.evaluate import class_maps
from edgeseg.graph.io import graph_card, load_graph, save_graph
from edgeseg.quantize.ranges import load_ranges
from tests.build.fragile import HEIGHT, WIDTH, fragile

IMAGENET = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
QUICK = ("--backend", "onnxruntime", "--duration", "0.05", "--even-if-slower")
SOUND, SPREAD = 1, 10_000


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks whose channels are alike or spread, frames to calibrate on, and others to judge on."""
    folder = tmp_path_factory.mktemp("repair")
    for activation in ("relu", "relu6"):
        for spread in (SOUND, SPREAD):
            save_graph(fragile(activation, spread=spread), folder / f"{activation}-{spread}.onnx")
    scene = Scene((2 * HEIGHT, 2 * WIDTH), seed=2)
    for name, shift in (("calib", 0), ("judged", 3)):
        (folder / name).mkdir()
        for index in range(40):
            cv2.imwrite(str(folder / name / f"{index:03}.png"), scene.render(6 * index + shift))
    return folder


def words_for(stock: Path, name: str, out: Path, labelled: Path | None = None) -> list[str]:
    judged = ("--frames", stock / "judged") if labelled is None else ("--data", labelled, "--max-drop", "-50")
    sources = ("--calib", stock / "calib", *judged)
    return [str(word) for word in ("build", stock / name, "--int8", *IMAGENET, *sources, *QUICK, "-o", out)]


@pytest.fixture
def build(capsys: pytest.CaptureFixture[str], stock: Path, tmp_path: Path) -> Any:
    """Builds a network and gives the exit code and the JSON."""

    def call(name: str, *words: object, labelled: Path | None = None) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main([*words_for(stock, name, tmp_path / "engines", labelled), "--json", *map(str, words)])
        return code, json.loads(capsys.readouterr().out)

    return call


def steps(report: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(step["step"], step["kept"]) for step in report["repair"]]


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_a_sound_network_is_left_as_it_is(build: Any, activation: str) -> None:
    code, report = build(f"{activation}-{SOUND}.onnx")
    assert (code, report["verdict"], report["repair"]) == (0, "pass", [])


def test_spread_channels_are_made_alike(build: Any) -> None:
    code, report = build(f"relu-{SPREAD}.onnx")
    assert (code, report["verdict"]) == (0, "pass")
    assert steps(report)[0] == ("as asked", True)
    assert steps(report)[-1] == ("equalize", True)
    first, last = report["repair"][0], report["repair"][-1]
    assert (first["verdict"], last["verdict"]) == ("fail", "pass")
    assert last["gain"] > 0.3
    assert report["int8_convs"] == report["total_convs"] - 1, "all but the classifier"
    recipe = report["int8"][report["dialect"]]
    assert recipe["equalized"]
    assert any(base64.b64decode(exponents).strip(b"\0") for exponents in recipe["equalization"].values())
    followed = Engine.open(report["engine"]).card.int8[report["dialect"]]
    assert (followed.equalized, followed.equalization, followed.corrections) == (True, {}, {})


def test_what_can_not_be_made_alike_goes_back_to_float(build: Any) -> None:
    code, report = build(f"relu6-{SPREAD}.onnx")
    assert (code, report["verdict"]) == (0, "pass")
    told = {step["step"]: step for step in report["repair"]}
    assert told["equalize"]["gate"] is None and "alike already" in told["equalize"]["detail"]
    assert told["bias correction"]["gain"] > 0.1
    assert steps(report)[-1] == ("float blocks", True)
    assert 0 < report["int8_convs"] < report["total_convs"] - 1
    followed = Engine.open(report["engine"]).card.int8[report["dialect"]]
    assert followed.bias_corrected
    assert {"n0", "node_Conv_0", "node_Conv_1"} < set(followed.keep_float)
    assert {"n0", "node_Conv_0", "node_Conv_1"} < set(report["float_nodes"])


def test_the_loop_can_be_left_out(build: Any) -> None:
    code, report = build(f"relu-{SPREAD}.onnx", "--no-repair")
    assert (code, report["verdict"], report["repair"]) == (7, "fail", [])


def test_people_read_what_each_step_won(stock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words_for(stock, f"relu-{SPREAD}.onnx", tmp_path)) == 0
    out = capsys.readouterr().out
    assert "Repair of onnxruntime u8-asym" in out
    row = next(line for line in out.splitlines() if "equalize" in line)
    assert "pass" in row and "+" in row


def test_the_log_tells_the_story(stock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-v", *words_for(stock, f"relu-{SPREAD}.onnx", tmp_path)]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "Repair, " in line]
    assert "Repair, as asked: minmax: " in told[0]
    assert "Repair, equalize: " in told[-1]
    assert all("of confident pixels agree" in line for line in told)


@pytest.mark.slow
def test_the_same_frames_give_the_same_graph_twice(build: Any) -> None:
    first, second = (build(f"relu6-{SPREAD}.onnx")[1] for _ in range(2))
    for name in ("graph_sha256", "ranges_sha256", "int8"):
        assert first[name] == second[name]
    assert [step["gate"] for step in first["repair"]] == [step["gate"] for step in second["repair"]]


@pytest.fixture
def labelled(stock: Path, tmp_path: Path) -> Path:
    """Labels of which the float network gets nine in ten."""
    folder = tmp_path / "labelled"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    frames = [stock / f"judged/{index:03}.png" for index in range(6)]
    words = ["--fp32", *IMAGENET, "--frames", str(stock / "judged"), *QUICK, "-o", str(tmp_path / "float")]
    assert main(["build", str(stock / f"relu-{SOUND}.onnx"), *words]) == 0
    rng = np.random.default_rng(0)
    with load_session(find_engine(None, tmp_path / "float")) as session:
        maps = list(class_maps(session, (cv2.imread(str(frame)) for frame in frames)))
    for index, (frame, found) in enumerate(zip(frames, maps, strict=True)):
        label = found.repeat(2, 0).repeat(2, 1)
        wrong = rng.random(label.shape) < 0.1
        label[wrong] = rng.integers(0, 3, int(wrong.sum()))
        shutil.copy(frame, folder / f"images/{index}.png")
        cv2.imwrite(str(folder / f"masks/{index}.png"), label)
    return folder


def test_a_gate_that_no_engine_can_pass_gives_the_best_attempt_and_replaces_nothing(
    build: Any, labelled: Path, tmp_path: Path
) -> None:
    assert build(f"relu-{SOUND}.onnx")[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "engines").iterdir()}
    code, report = build(f"relu-{SOUND}.onnx", labelled=labelled)
    assert (code, report["verdict"], report["engine"]) == (7, "fail", "")
    assert "float blocks" in [step["step"] for step in report["repair"]]
    measured = [step["gate"]["drop"] for step in report["repair"] if step["gate"]]
    assert report["gate"]["drop"] == min(measured)
    assert "a drop of -50 is allowed" in report["error"]["message"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "engines").iterdir()} == before


def test_ctrl_c_in_the_loop_leaves_the_old_engine(build: Any, stock: Path, labelled: Path, tmp_path: Path) -> None:
    assert build(f"relu-{SOUND}.onnx")[0] == 0
    engines = tmp_path / "engines"
    before = {path.name: path.read_bytes() for path in engines.iterdir()}
    words = words_for(stock, f"relu6-{SPREAD}.onnx", engines, labelled)
    with subprocess.Popen(
        [sys.executable, "-m", "edgeseg", "-v", *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "Repair, bias correction" in line)
        os.killpg(process.pid, signal.SIGINT)
        process.stderr.read()
        assert process.wait(60) == 130
    deadline = time.monotonic() + 10
    while list(engines.glob(".building-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {path.name: path.read_bytes() for path in engines.iterdir()} == before


def test_a_gate_on_the_frames_that_choices_were_made_by_is_named(
    stock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ranges lie beside the model, and the only frames are those of the gate."""
    model = tmp_path / "net.onnx"
    model.write_bytes((stock / f"relu6-{SPREAD}.onnx").read_bytes())
    ranges = tmp_path / "net.ranges.npz"
    assert main(["calibrate", str(model), str(stock / "calib"), *IMAGENET, "-o", str(ranges)]) == 0
    capsys.readouterr()
    words = ["--int8", *IMAGENET, "--frames", str(stock / "judged"), *QUICK, "-o", str(tmp_path / "e"), "--json"]
    assert main(["build", str(model), *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert any("repaired by the frames that it is judged on" in warning for warning in report["warnings"])
    equalized = next(step for step in report["repair"] if step["step"] == "equalize")
    assert "--calib" in equalized["detail"]
    assert report["ranges_sha256"] == load_ranges(ranges).sha256()


def test_where_all_held_out_frames_are_judged_on_that_is_said(
    stock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of five frames one is held out, and the gate needs it."""
    some = tmp_path / "some.txt"
    some.write_text("".join(f"{stock}/calib/{index:03}.png\n" for index in range(0, 40, 8)))
    words = ["--int8", *IMAGENET, "--calib", str(some), "--calibrator", "auto", "--no-repair", *QUICK]
    main(["build", str(stock / f"relu-{SOUND}.onnx"), *words, "-o", str(tmp_path / "e"), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["gate"]["frames"] == 1
    assert any("chosen on the frames that the gate judges on" in warning for warning in report["warnings"])


def test_auto_takes_the_calibrator_that_held_out_frames_like_best(build: Any) -> None:
    code, report = build(f"relu-{SOUND}.onnx", "--calibrator", "auto")
    assert code == 0
    rows = report["calibrators"]
    assert [row["calibrator"] for row in rows] == ["minmax", "percentile:99.999", "percentile:99.99", "entropy", "mse"]
    (picked,) = [row for row in rows if row["picked"]]
    assert picked["agreement"] == max(row["agreement"] for row in rows)
    assert report["int8"][report["dialect"]]["calibrator"] == picked["calibrator"]


def test_auto_needs_frames(stock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--int8", "--calibrator", "auto", *QUICK, "-o", str(tmp_path)]
    assert main(["build", *words]) == 2
    assert "--calib FOLDER|VIDEO" in capsys.readouterr().err


@pytest.mark.slow
def test_the_recipe_of_a_model_is_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped model's card says what was found for it; an option asks for something else."""
    card = graph_card(load_graph(zoo_model(DEFAULT_MODEL)))
    assert card is not None
    assert card.int8["u8-asym"].calibrator != "minmax", "which no recipe would mean too"
    for words, asked in (((), None), (("--calibrator", "minmax"), Int8Recipe(calibrator="minmax"))):
        assert main(["build", "--int8", *QUICK, *words, "-o", str(tmp_path), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        # Each CPU has the dialect that it is fast with; what was not tried for one is not on the card.
        expected = asked or card.int8.get(report["dialect"], Int8Recipe())
        assert report["int8"][report["dialect"]] == _plain(expected)


def _plain(recipe: Int8Recipe) -> dict[str, Any]:
    import msgspec

    return dict(json.loads(msgspec.json.encode(recipe)))


@pytest.mark.parametrize("sure", [True, False], ids=["the largest count is known to pass", "nothing is known"])
@pytest.mark.parametrize("most", [1, 2, 7, 8, 27, 100])
def test_the_fewest_blocks_are_found_with_few_questions(most: int, sure: bool) -> None:
    for needed in range(1, most + 1 if sure else most + 2):
        asked: list[int] = []

        def passes(count: int, asked: list[int] = asked, needed: int = needed) -> bool:
            asked.append(count)
            return count >= needed

        assert fewest(passes, most, sure=sure) == (needed if needed <= most else None)
        assert len(asked) == len(set(asked)) <= 2 * max(1, most.bit_length())
