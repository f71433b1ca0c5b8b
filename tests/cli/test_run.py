"""`edgeseg run` from the command line, with a real engine."""

from __future__ import annotations

import json
import os
import re
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
pytest.importorskip("onnx_ir")

from edgeseg.build import load_session
from edgeseg.build.store import EngineStore
from edgeseg.cli import main
from edgeseg.data.images import read_frame, read_mask
from edgeseg.data.resize import resize_frame, restore_class_map
from tests.data.media import cut, street, write_images, write_video
from tests.engines import NAMES, tiny_engine

ROOT = Path(__file__).resolve().parents[2]
SMALL = "synthetic://?width=64&height=48&frames=6"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one engine, which is the current one."""
    folder = tmp_path_factory.mktemp("engines")
    engine = tiny_engine(folder)
    EngineStore(folder).keep({}, engine.path.name)
    return folder


@pytest.fixture(autouse=True)
def here(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESEG_ENGINES", str(store))
    monkeypatch.setenv("EDGESEG_THREADS", "1")
    monkeypatch.chdir(tmp_path)


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(["run", *arguments, "--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert isinstance(report, dict) and report["schema"] == "edgeseg.run/1"
    return report


def frame_count(path: str | Path) -> int:
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))


def test_the_report_has_the_keys_of_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    report = run_json(capsys, f"{SMALL}&corrupt=0.3&seed=1", "out.mp4", "maps", "shot_%i.jpg", "null://")
    dropped = {"newest": 0, "corrupt": report["captured"] - report["inferred"], "stale": 0, "skipped": 0}
    assert set(report) == {
        "schema", "announced",
        "captured", "inferred", "shown", "dropped", "fps", "recent_fps", "frame_age_ms", "class_map_age_ms",
        "cold_start_ms", "stage_ms", "stalls", "reconnects", "sources", "outputs", "failed",
    }  # fmt: skip
    assert report["captured"] == 6 and 0 < report["shown"] == report["inferred"] < 6 and report["dropped"] == dropped
    assert set(report["frame_age_ms"]) == {"p50", "p95", "p99"}
    assert {"capture", "resize", "inference", "restore", "draw", "encode"} <= set(report["stage_ms"])
    assert report["outputs"] == ["out.mp4", "maps", "shot_%i.jpg"]
    assert frame_count("out.mp4") == len(list(Path("maps").iterdir())) == report["shown"]
    assert len(list(Path().glob("shot_*.jpg"))) == report["shown"]


def test_class_maps_are_those_of_the_session(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = write_images(Path("in"), ["a/1.png", "a/2.png", "b.png"])
    from edgeseg.build import find_engine

    engine = find_engine(None, store)
    assert run_json(capsys, "in", "maps/")["shown"] == 3
    with load_session(engine) as session:
        for name, frame in zip(("a/1", "a/2", "b"), frames, strict=True):
            resize = engine.card.preprocess.resize
            small = session.infer(resize_frame(frame, (32, 48), resize)[None])[0]
            expected = restore_class_map(small, (48, 64), resize)
            assert np.array_equal(read_mask(Path("maps") / f"{name}.png", len(NAMES)), expected)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        pytest.param("v.avi", "v-overlay.mp4", id="a video gives a video"),
        pytest.param("in", "in-overlay.mp4", id="a folder gives a video"),
        pytest.param("in/b.png", "b-overlay.png", id="an image gives an image"),
        pytest.param(SMALL, "synthetic-overlay.mp4", id="the rendered street gives a video"),
    ],
)
def test_without_a_sink_the_overlay_lies_in_the_current_folder(
    source: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("in"), ["a.png", "b.png"])
    write_video(Path("v.avi"), 4)
    assert main(["run", source]) == 0
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert " FPS" in last and last.endswith(output) and last.split()[0].isdigit()
    assert Path(output).stat().st_size > 0


def test_a_still_lies_beside_the_video(capsys: pytest.CaptureFixture[str]) -> None:
    write_video(Path("v.avi"), 5)
    report = run_json(capsys, "v.avi", "--still", "still.png", "--opacity", "0")
    assert report["outputs"] == ["v-overlay.mp4", "still.png"]
    still = read_frame(Path("still.png"))[:30]
    errors = [np.abs(still.astype(int) - frame[:30]).mean() for frame in street(5)]
    assert int(np.argmin(errors)) == 2


def test_the_number_of_frames_and_the_engine_can_be_given(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = store / "tiny-onnxruntime.onnx"
    for engine in (str(path), "tiny-onnxruntime.onnx", "tiny"):
        assert run_json(capsys, SMALL, "null://", "--frames", "2", "--engine", engine)["shown"] == 2


def test_a_truncated_video_ends_well_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    write_video(Path("v.avi"), 40)
    cut(Path("v.avi"), 0.5)
    assert main(["run", "v.avi", "out.mp4", "--json"]) == 0
    printed = capsys.readouterr()
    shown = json.loads(printed.out)["shown"]
    assert 10 <= shown <= 22 and frame_count("out.mp4") == shown
    assert f"ends after {shown} of 40 frames: it was cut off or is damaged" in printed.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["empty.mp4"], 6, "no video that OpenCV can decode", id="a video without a frame"),
        pytest.param(["absent.mp4"], 6, "no file and no folder", id="no such source"),
        pytest.param([f"{SMALL}&corrupt=1", "null://"], 6, "Not one of 6 frames", id="damaged frames alone"),
        pytest.param(["rtps://a:b@c/1"], 2, "'rtps://***@c/1' is no source", id="a source that is not possible"),
        pytest.param(["/dev/video99", "null://"], 6, "/dev/video99", id="a camera that is not there"),
        pytest.param([SMALL, "--also", SMALL, "out.mp4"], 2, "out-%s.mp4", id="one file for two sources"),
        pytest.param([SMALL, "out.mp4", "out.mp4"], 2, "out.mp4 is named twice", id="a sink twice"),
        pytest.param([SMALL, "null://", "--roi", "1,2,3"], 2, "'1,2,3' is no region", id="a region of three numbers"),
        pytest.param(["v.mp4", "v.mp4", "--policy", "latest"], 2, "never written to", id="a paced source as sink"),
        pytest.param(["synthetic://?frame=3"], 2, "Did you mean 'frames'", id="a misspelt option of the source"),
        pytest.param([SMALL, "out.gif"], 2, "no sink that can be opened", id="a sink that is not possible"),
        pytest.param(["v.mp4", "v.mp4"], 2, "never written to", id="the source as sink"),
        pytest.param([SMALL, "--engine", "tinny"], 2, "Possible: tiny-onnxruntime.onnx", id="a misspelt engine"),
        pytest.param([SMALL, "--opacity", "2"], 2, "0<=x<=1", id="an opacity above one"),
        pytest.param([SMALL, "--frames", "0"], 2, "x>=1", id="no frames"),
        pytest.param([], 2, "Missing argument 'SOURCE'", id="no source"),
    ],
)
def test_what_does_not_work_is_told(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.mp4").touch()
    write_video(Path("v.mp4"), 2)
    assert main(["run", *arguments]) == code
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["empty.mp4", "v.mp4"]


def test_without_an_engine_the_command_that_builds_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGESEG_ENGINES", str(tmp_path / "none"))
    assert main(["run", SMALL]) == 2
    assert "edgeseg build --int8" in capsys.readouterr().err


def interrupt(source: str) -> tuple[dict[str, Any], str]:
    """Run into out.mp4, press Ctrl-C once the video has begun, and give back the report and what was told."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeseg", "run", source, "out.mp4", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    for _ in range(600):
        if any(part.stat().st_size for part in Path().glob("*out*.mp4")):
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    printed, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    return json.loads(printed), told


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("synthetic://?width=640&height=480&fps=50", id="while frames come"),
        pytest.param("synthetic://?width=640&height=480&stall_at=3&stall_s=600", id="while the source is silent"),
    ],
)
def test_ctrl_c_finishes_the_video_and_tells_the_summary(source: str) -> None:
    report, told = interrupt(source)
    assert "Finishing what was begun" in told and "Traceback" not in told
    assert report["captured"] == report["inferred"] + sum(report["dropped"].values())
    assert frame_count("out.mp4") == report["shown"] > 0
    assert [path.name for path in Path().iterdir()] == ["out.mp4"]


def test_a_camera_that_stays_away_ends_it_only_when_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    source = "synthetic://?width=64&height=48&fps=50&stall_at=5&stall_s=600"
    assert main(["run", source, "null://", "--stall-after", "0.3", "--max-reconnects", "0", "--json"]) == 6
    printed = capsys.readouterr()
    assert "'synthetic' is given up: no frames came" in printed.err
    assert json.loads(printed.out)["error"]["exit_code"] == 6


def test_the_last_line_of_a_live_source_tells_the_frame_age(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "synthetic://?width=64&height=48&fps=50&frames=20", "null://"]) == 0
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"frames.* at [\d.]+ FPS, frame age [\d.]+ / [\d.]+ / [\d.]+ ms \(p50 / p95 / p99\)", last), last


def test_two_sources_give_two_videos(capsys: pytest.CaptureFixture[str]) -> None:
    report = run_json(capsys, SMALL, "--also", f"{SMALL}&seed=1", "out-%s.mp4", "area.jsonl")
    assert {one["name"]: one["captured"] for one in report["sources"]} == {"synthetic-1": 6, "synthetic-2": 6}
    assert frame_count("out-synthetic-1.mp4") == frame_count("out-synthetic-2.mp4") == 6
    lines = [json.loads(line) for line in Path("area.jsonl").read_text().splitlines()]
    assert {line["source"] for line in lines} == {"synthetic-1", "synthetic-2"} and len(lines) == 12


def test_frames_that_the_network_is_least_sure_of_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    report = run_json(capsys, SMALL, "null://", "--save-hard", "1", "--unknown", "0.2")
    assert report["shown"] == 6
    (kept,) = Path("hard-frames").glob("*.png")
    assert read_frame(kept).shape == (48, 64, 3)


def test_a_sink_that_fails_is_switched_off_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("maps").mkdir()
    Path("maps/synthetic-000003.png").mkdir()
    assert main(["run", SMALL, "maps/", "out.mp4"]) == 1
    told = capsys.readouterr().err
    assert "maps was switched off" in told and "not all results are whole" in told
    assert frame_count("out.mp4") == 6
