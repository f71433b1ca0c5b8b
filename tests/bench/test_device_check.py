"""The checklist for a board, from end to end on a GPU that is none."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("cv2")

from tests.engines import host_gpu

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "device_check.py"


@pytest.mark.slow
def test_the_record_holds_every_way_to_run_and_what_was_leaked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    words = ["-o", str(tmp_path), "--model", "liteseg-nano-camvid", "--seconds", "1", "--minutes", "0.05"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words, "--cycles", "11"])
    with host_gpu(), pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 0
    record = json.loads((tmp_path / "device_check.json").read_text())
    assert {(way["memory"], way["cuda_graph"], way["spin"]) for way in record["ways"]} == {
        (memory, graph, spin) for memory in ("mapped", "copied") for graph in (True, False) for spin in (True, False)
    }
    assert all(way["same_answer"] for way in record["ways"])
    assert [one["where"] for one in record["resized"]] == ["processor", "GPU"]
    assert all(one["equal"] >= 0.99 for one in record["resized"])
    assert [one["what"] for one in record["endurance"]] == ["streaming", "open, infer, close"]
    assert record["endurance"][1]["count"] == 11
    assert "# Host GPU" in capsys.readouterr().out
    assert record["failed"] == {}


def test_what_fails_is_written_down_with_all_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "-o", str(tmp_path), "--model", "no-such-model"])
    with host_gpu(), pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 1
    record = json.loads((tmp_path / "device_check.json").read_text())
    assert "There is no model 'no-such-model'" in record["failed"]["build"]
    assert (record["gpu"]["name"], record["build"]) == ("Host GPU", None)
