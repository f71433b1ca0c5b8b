"""Benchmarks of real engines in turns."""

from __future__ import annotations

import shlex
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.bench.latency import stages

from edgeseg.backends import Engine, open_backend
from edgeseg.bench import Settings, run_benchmark
from edgeseg.card import Preprocess
from edgeseg.cli.bench import bench
from edgeseg.data.resize import frame_for_card
from edgeseg.errors import EngineMismatch, UsageError
from tests.engines import tiny_engine

QUICK = Settings(warm_up_ms=0, duration_s=0, iterations=12, percentiles=(50, 90), camera_hw=(64, 96))


def test_every_engine_is_timed_in_every_round(tmp_path: Path) -> None:
    engines = {name: tiny_engine(tmp_path, name) for name in ("onnxruntime", "fake")}
    shares: list[float] = []
    done = run_benchmark(engines, QUICK, lambda share, _: shares.append(share))
    assert [one.name for one in done.record.engines] == ["onnxruntime", "fake"]
    keys = {
        f"{index}.{stage}{part}"
        for index in (0, 1)
        for stage in ("inference", "with_resize")
        for part in ("", ".warm_up")
    }
    assert set(done.samples_ns) == keys
    for index, one in enumerate(done.record.engines):
        assert one.inference.runs == one.with_resize.runs == len(done.samples_ns[f"{index}.inference"]) == 12
        mean = np.mean(done.samples_ns[f"{index}.with_resize"]) / 1e6
        assert one.with_resize.mean_ms == pytest.approx(mean)
        assert one.sha256 == engines[one.name].card.sha256
    assert len(done.samples_ns["0.inference.warm_up"]) == 1
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_engine_and_the_machine_are_on_record(tmp_path: Path) -> None:
    engine = tiny_engine(tmp_path, batch=2, preprocess=Preprocess(pixel_format="bgrx"))
    record = run_benchmark({"tiny": engine}, QUICK).record
    one = record.engines[0]
    assert (one.backend, one.precision, one.size_hw, one.batch) == ("onnxruntime", "fp32", (32, 48), 2)
    assert one.library == open_backend("onnxruntime").version()
    assert one.execution["threads"] >= 1
    assert one.inference.fps == pytest.approx(2e3 / one.inference.mean_ms)
    assert record.environment.device.cores >= 1
    assert {"edgeseg", "numpy"} <= set(record.environment.versions)


def test_the_command_on_record_asks_for_the_same_settings(tmp_path: Path) -> None:
    record = run_benchmark({"a name.fake": tiny_engine(tmp_path, "fake")}, QUICK).record
    words = shlex.split(record.command)
    assert words[:3] == ["edgeseg", "bench", "a name.fake"]
    asked = bench.make_context("bench", words[2:]).params
    assert {name: asked[name] for name in Settings.__struct_fields__} == {
        name: getattr(QUICK, name) for name in Settings.__struct_fields__
    }


def test_both_stages_compute_the_cameras_frame(tmp_path: Path) -> None:
    camera = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8), (96, 64))
    engine = tiny_engine(tmp_path, "fake")
    with open_backend("fake").load(engine) as session:
        for run in stages(session, camera).values():
            run()
        expected = frame_for_card(camera, engine.card.preprocess, np.empty((32, 48, 3), np.uint8))
        for _ in range(2):
            assert (session.input_buffer()[0] == expected).all()
            session.submit().result()


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(UsageError, match="no engine to time"):
        run_benchmark({})


def test_an_engine_that_fails_its_self_test_is_not_timed(tmp_path: Path) -> None:
    from edgeseg.build.golden import write_golden

    engine = tiny_engine(tmp_path)
    frame, wrong = np.zeros((32, 48, 3), np.uint8), np.full((32, 48), 3, np.uint8)
    with open_backend("onnxruntime").load(engine) as session:
        assert not (session.infer(frame[None])[0] == wrong).all()
    hashes = write_golden(engine.path, frame, wrong)
    engine = Engine(engine.path, msgspec.structs.replace(engine.card, measured={"golden": hashes}))
    with pytest.raises(EngineMismatch, match="does not compute what was measured"):
        run_benchmark({"tiny": engine}, QUICK)
