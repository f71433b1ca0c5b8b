"""A camera before engines: how long it is watched, what its frames come to a second, and cameras that there are not."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("onnx_ir")
pytest.importorskip("psutil")

from edgeseg.bench import Settings, run_benchmark
from edgeseg.cli import main
from tests.engines import tiny_engine

#: Gives frames as fast as they are taken.
EAGER = "synthetic://?width=64&height=48"
WATCHED = Settings(
    scenario="camera", warm_up_s=0, duration_s=0, iterations=8, percentiles=(50,), camera_hw=(64, 96), source=EAGER
)


@pytest.mark.parametrize(
    ("duration_s", "iterations"),
    [
        pytest.param(0.0, 100, id="a hundred frames"),
        pytest.param(0.001, 100, id="a hundred frames though the time is over before"),
        pytest.param(0.3, 1, id="three tenths of a second though a frame is there before"),
    ],
)
def test_a_camera_is_watched_until_both_its_time_and_its_frames_are_over(
    duration_s: float, iterations: int, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(WATCHED, duration_s=duration_s, iterations=iterations)
    (one,) = run_benchmark({"fake": tiny_engine(tmp_path, "fake")}, settings).record.engines
    assert one.latency is not None and one.latency.samples >= iterations
    assert one.seconds >= duration_s and not one.failed


@pytest.mark.parametrize("batch", [pytest.param(1, id="one by one"), pytest.param(2, id="an engine that takes two")])
def test_fps_are_those_between_the_first_frame_and_the_last(batch: int, tmp_path: Path) -> None:
    engine = tiny_engine(tmp_path, batch=batch)
    done = run_benchmark({"it": engine}, msgspec.structs.replace(WATCHED, iterations=12))
    (one,) = done.record.engines
    captured = done.samples["0.begin_s"]
    assert len(captured) == round(one.fps * one.seconds) >= 12
    assert one.fps == pytest.approx((len(captured) - 1) / (captured[-1] - captured[0]), rel=1e-4)


def test_a_camera_of_one_frame_is_opened_again_and_again(tmp_path: Path) -> None:
    image = tmp_path / "street.png"
    cv2.imwrite(str(image), np.zeros((48, 64, 3), np.uint8))
    settings = msgspec.structs.replace(WATCHED, source=str(image), iterations=3)
    (one,) = run_benchmark({"fake": tiny_engine(tmp_path, "fake")}, settings).record.engines
    assert one.latency is not None and one.latency.samples == 3 and one.fps == pytest.approx(3 / one.seconds)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("nope.mp4", "There is no file and no folder at nope.mp4", id="no such file"),
        pytest.param("nope://0", "'nope://0' is no source", id="no such kind"),
    ],
)
def test_a_camera_that_is_not_there_is_no_fault_of_the_engine(
    source: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--scenario", "camera", "--source", source, "--no-roofline", "-o", str(tmp_path / "out")]
    assert main(["bench", str(tiny_engine(tmp_path, "fake").path), *words]) == 2
    told = capsys.readouterr().err
    assert said in told and "failed" not in told
    assert not (tmp_path / "out" / "bench.json").exists()


def test_what_is_stopped_within_a_turn_keeps_its_frames(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(WATCHED, duration_s=30.0)
    asked = iter([False] * 20)
    record = run_benchmark({"fake": tiny_engine(tmp_path, "fake")}, settings, stopped=lambda: next(asked, True)).record
    (one,) = record.engines
    assert not record.complete and not one.failed and one.latency is not None and one.seconds < 5
