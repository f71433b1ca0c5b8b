"""What is built where TensorRT refuses a graph: the same with another tail or other types, and else a float engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("cv2")

from edgeseg.cli import main
from tests.build.painted import CLASSES, colour_network, painted, write_frames
from tests.engines import host_gpu


def build(folder: Path, refuses: str, capsys: Any, *more: str, version: str = "10.3.0") -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON of a build by a library that refuses graphs with such an operator."""
    network = colour_network(folder / "colours.onnx")
    calib = write_frames(folder / "calib", [painted(colour, seed) for colour in CLASSES for seed in range(4)])
    words = [str(network), "--mean", "0", "--std", "1", "--input-range", "255", "--classes", ",".join(CLASSES)]
    words += ["--calib", str(calib), "--backend", "tensorrt", "--duration", "0.1", "--even-if-slower", *more]
    with host_gpu(version), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOST_REFUSES", refuses)
        for name in ("DATA", "CACHE"):
            patch.setenv(f"XDG_{name}_HOME", str(folder / name))
        code = main(["build", *words, "-o", str(folder / "engines"), "--json"])
    return code, json.loads(capsys.readouterr().out)


def rows(report: dict[str, Any], verdict: str) -> set[tuple[str, bool, str | None]]:
    of_tensorrt = (row for row in report["candidates"] if row["backend"] == "tensorrt" and row["verdict"] == verdict)
    return {(row["precision"], row["own_tail"], row["rest"]) for row in of_tensorrt}


def test_a_tail_that_is_refused_is_done_without(tmp_path: Path, capsys: Any) -> None:
    code, report = build(tmp_path, "ArgMax", capsys)
    assert (code, report["precision"], report["verdict"]) == (0, "int8", "pass")
    assert rows(report, "pass") == {("fp16", True, None), ("fp32", True, None), ("int8", True, None)}
    assert {("int8", False, None), ("fp16", False, None)} < rows(report, "fail"), "and the report says what was refused"


def test_scales_in_half_precision_that_are_refused_are_done_without(tmp_path: Path, capsys: Any) -> None:
    code, report = build(tmp_path, "half QuantizeLinear", capsys)
    assert (code, report["precision"], report["verdict"]) == (0, "int8", "pass")
    assert ("int8", False, "fp32") in rows(report, "pass")


@pytest.mark.parametrize("version", ["8.6.1", "10.13.0.35"])
def test_where_no_int8_is_taken_the_best_float_engine_is_kept(version: str, tmp_path: Path, capsys: Any) -> None:
    code, report = build(tmp_path, "QuantizeLinear", capsys, version=version)
    assert (code, report["backend"], report["verdict"]) == (0, "tensorrt", "pass")
    assert report["precision"] in ("fp16", "fp32")
    (said,) = (one for one in report["warnings"] if "could be built" in one)
    assert said.startswith("No int8 engine could be built (tensorrt s8-sym: tensorrt could not build the engine")
    assert said.endswith("is kept in its place.")


def test_where_nothing_is_taken_the_reasons_are_told(tmp_path: Path, capsys: Any) -> None:
    code, report = build(tmp_path, "Conv", capsys)
    assert code == 4
    assert "No engine could be built: tensorrt float: tensorrt could not build" in report["error"]["message"]
    assert not list(tmp_path.glob("engines/*.json"))
