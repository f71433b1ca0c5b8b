"""TensorRT's options on the command line: what they do to the engine, and what can't be meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("cv2")

from edgeseg.build.bundle import Bundle
from edgeseg.cli import main
from tests.build.painted import CLASSES, colour_network, painted, write_frames
from tests.engines import host_gpu

ABOUT = ("--mean", "0", "--std", "1", "--input-range", "255", "--classes", ",".join(CLASSES))


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is said of a network, with a GPU that is none; all that is kept lies in `tmp_path`."""
    for name in ("DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    network = colour_network(tmp_path / "colours.onnx")
    calib = write_frames(tmp_path / "calib", [painted(colour, seed) for colour in CLASSES for seed in range(4)])
    with host_gpu():
        yield [str(network), *ABOUT, "--calib", str(calib), "--backend", "tensorrt"]


def build(words: list[str], tmp_path: Path, capsys: Any, *more: str) -> dict[str, Any]:
    capsys.readouterr()
    quick = ("--duration", "0.1", "--even-if-slower", "-o", str(tmp_path / "engines"), "--json")
    assert main(["build", *words, *quick, *more]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


@pytest.mark.parametrize(
    ("options", "fields", "line"),
    [
        (("--workspace", "300"), {"workspace_mib": 300}, "--memPoolSize=workspace:300M"),
        (("--optimization-level", "5"), {"optimization_level": 5}, "--builderOptimizationLevel=5"),
        (
            ("--hardware-compatibility", "ampere-plus"),
            {"hardware": "ampere-plus"},
            "--hardwareCompatibilityLevel=ampere+",
        ),
        (("--version-compatible", "--sparse"), {"any_version": True, "sparse": True}, "--versionCompatible"),
        (("--timeout", "120"), {"timeout_s": 120.0}, "--stronglyTyped"),
        (
            ("--batch", "1,2,4"),
            {"batch": [1, 2, 4]},
            "--minShapes=frame:1x32x48x3 --optShapes=frame:2x32x48x3 --maxShapes=frame:4x32x48x3",
        ),
    ],
)
def test_an_option_stands_on_the_card_and_in_the_trtexec_line(
    options: tuple[str, ...], fields: dict[str, Any], line: str, words: list[str], tmp_path: Path, capsys: Any
) -> None:
    report = build(words, tmp_path, capsys, *options)
    assert (report["backend"], report["verdict"]) == ("tensorrt", "pass")
    assert main(["inspect", report["engine"], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    kept = told["card"]["measured"]["execution"]["options"]
    assert {name: kept[name] for name in fields} == fields
    assert line in told["command"]


def test_an_engine_for_several_frames_serves_a_stream_and_a_benchmark(
    words: list[str], tmp_path: Path, capsys: Any
) -> None:
    report = build(words, tmp_path, capsys, "--batch", "1,2,4")
    engine = report["engine"]
    assert main(["run", "synthetic://?frames=3&width=96&height=64", "null://", "--engine", engine, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["inferred"] == 3
    quick = ["--duration", "0", "--iterations", "8", "--warm-up", "0", "--no-roofline", "-o", str(tmp_path / "bench")]
    assert main(["bench", engine, "--batch", "4", *quick, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    timed = record["engines"][0]
    assert (timed["batch"], "--batch 4" in record["command"]) == (4, True)
    assert timed["fps"] == pytest.approx(4e3 / timed["latency"]["mean_ms"]), "four frames a call"
    assert main(["bench", engine, "--batch", "5", *quick]) == 2
    assert "takes 1 to 4 frames at a time, not 5" in capsys.readouterr().err


def test_a_bundle_keeps_its_batch(words: list[str], tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "x.bundle"
    assert main(["pack", *words, "--batch", "1,2,4", "-o", str(path)]) == 0
    assert {graph.form.batch for graph in Bundle(path).manifest.graphs} == {2}
    report = build([str(path), "--backend", "tensorrt"], tmp_path, capsys, "--workspace", "64")
    assert report["verdict"] == "pass"
    assert main(["build", str(path), "--batch", "1,8,8", "-o", str(tmp_path / "other")]) == 2
    assert "is packed for (1, 2, 4) at a time; --batch can't be changed" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["10.13.0.35"])
def test_a_version_without_int8_on_an_accelerator_is_told_before_anything_is_built(
    version: str, words: list[str], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_DLA_CORES", "2")
    with host_gpu(version):
        assert main(["build", *words, "--dla-core", "0", "-o", str(tmp_path / "engines")]) == 2
    assert "has no INT8 on a DLA; versions up to 10.7 have, and from 11.4.1 on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(("--batch", "4,2,8"), "'4,2,8' is no batch", id="a batch out of order"),
        pytest.param(("--batch", "1,2"), "'1,2' is no batch", id="two numbers"),
        pytest.param(("--batch", "many"), "'many' is no batch", id="a word"),
        pytest.param(("--batch", "1,2,4", "--dla-core", "0"), "takes one frame at a time", id="a batch on a DLA"),
        pytest.param(("--workspace", "0"), "0 is not in the range", id="no workspace"),
        pytest.param(("--optimization-level", "9"), "9 is not in the range", id="a level that there is not"),
        pytest.param(("--dla-core", "0"), "finds no DLA cores here", id="a DLA that is not there"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    options: tuple[str, ...], said: str, words: list[str], tmp_path: Path, capsys: Any
) -> None:
    assert main(["build", *words, *options, "-o", str(tmp_path / "engines")]) == 2
    assert said in capsys.readouterr().err
