"""Benchmarks with real engines: turns, samples, what fails midway, and what is kept on Ctrl-C."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnx_ir")
pytest.importorskip("psutil")

from edgeseg.backends import Engine, open_backend
from edgeseg.backends.fake import FakeSession
from edgeseg.bench import Settings, run_benchmark
from edgeseg.bench.figures import conditions_of
from edgeseg.bench.frames import TimedFrames
from edgeseg.bench.lane import Lane
from edgeseg.bench.reference import Reference
from edgeseg.bench.scenarios.soak import drift
from edgeseg.bench.stages import FramePath
from edgeseg.bench.turns import Turns
from edgeseg.card import Preprocess
from edgeseg.cli.bench import bench
from edgeseg.data.resize import resize_frame
from edgeseg.device.conditions import Moment, Watch
from edgeseg.device.power import Rail
from edgeseg.errors import EdgesegError, EngineMismatch, UsageError
from edgeseg.stream.frame import segment_frame
from tests.engines import tiny_engine

QUICK = Settings(warm_up_s=0, duration_s=0, iterations=24, percentiles=(50, 90), camera_hw=(64, 96))


class Constant(Rail):
    """A sensor that tells the same at every reading."""

    name, sensor = "VDD_IN", "INA3221 1-0040"

    def watts(self) -> float:
        return 5.0


def test_every_engine_gets_every_frame(tmp_path: Path) -> None:
    engines = {name: tiny_engine(tmp_path, name) for name in ("onnxruntime", "fake")}
    shares: list[float] = []
    done = run_benchmark(engines, QUICK, lambda share, _: shares.append(share))
    assert [one.name for one in done.record.engines] == ["onnxruntime", "fake"] and done.record.complete
    for index, one in enumerate(done.record.engines):
        latency = done.samples[f"{index}.latency_ms"]
        assert one.latency is not None and one.latency.samples == len(latency) == len(done.samples[f"{index}.begin_s"])
        assert one.latency.samples == 24 and one.failed == ""
        assert one.latency.percentiles_ms == {"50": pytest.approx(np.median(latency)), "90": None}
        assert one.fps == pytest.approx(24 / (latency.sum() / 1e3)) and one.early_stopping_p90_ms is None
        assert one.sha256 == engines[one.name].card.sha256
        inside = sum(done.samples[f"{index}.{stage}_ms"] for stage in ("resize", "inference", "call", "restore"))
        assert np.allclose(inside, latency, rtol=0.01, atol=0.02), "the stages are all of the latency"
        assert {"decode", "draw"} <= set(one.stages)
    assert shares == sorted(shares) and shares[-1] == 1
    begins = [done.samples[f"{index}.begin_s"] for index in (0, 1)]
    order = np.argsort(np.concatenate(begins)) >= 24
    assert all(sorted(order[place : place + 2]) == [False, True] for place in range(0, 48, 2)), "in turns"
    assert 0 < order[::2].sum() < 24, "each is the first half of the time"


def test_a_fast_engine_is_never_measured_without_the_slow_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is to have a twentieth of a second: the slow one has that long before."""
    finish = FakeSession._finish

    def slowly(self: FakeSession, slot: int) -> dict[str, float]:
        time.sleep(0.004)
        return finish(self, slot)

    engines = {name: tiny_engine(tmp_path, name) for name in ("onnxruntime", "fake")}
    monkeypatch.setattr(FakeSession, "_finish", slowly)
    done = run_benchmark(engines, msgspec.structs.replace(QUICK, iterations=1, duration_s=0.05))
    fast, slow = done.record.engines
    assert fast.latency is not None and slow.latency is not None
    assert fast.latency.samples == slow.latency.samples and fast.seconds >= 0.05 and slow.seconds > fast.seconds


def test_the_reference_kernel_never_changes() -> None:
    kernel = Reference()
    before = kernel._large.image.copy(), kernel._small.image.copy()
    assert kernel.run() > 0 and kernel.run() > 0
    assert np.array_equal(kernel._large.image, before[0]) and np.array_equal(kernel._small.image, before[1])


def test_what_is_stopped_keeps_whole_turns(tmp_path: Path) -> None:
    asked = iter([False] * 7 + [True] * 100)
    engines = {name: tiny_engine(tmp_path, "fake") for name in ("one", "other")}
    record = run_benchmark(engines, QUICK, stopped=lambda: next(asked)).record
    samples = [one.latency and one.latency.samples for one in record.engines]
    assert not record.complete and samples[0] == samples[1] and 0 < (samples[0] or 0) < 24


def test_stopped_before_the_first_frame_there_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_benchmark({"fake": tiny_engine(tmp_path, "fake")}, QUICK, stopped=lambda: True)


def test_a_frame_in_the_midst_of_whose_notes_ctrl_c_came_is_left_out(tmp_path: Path) -> None:
    engine = tiny_engine(tmp_path, "fake")
    with open_backend("fake").load(engine) as session:
        lane = Lane("tiny", engine, session)
        lane.note(1, {"resize": 2, "latency": 3})
        lane.begins_ns.append(4)
        lane.samples_ns["resize"].append(5)
        lane.drop_broken_frame()
    assert [list(column) for column in (lane.begins_ns, *lane.samples_ns.values())] == [[1], [2], [3]]


def test_the_engine_and_the_machine_are_on_record(tmp_path: Path) -> None:
    engine = tiny_engine(tmp_path, batch=2, preprocess=Preprocess(pixel_format="bgrx"))
    record = run_benchmark({"tiny": engine}, QUICK).record
    one, environment = record.engines[0], record.environment
    assert (one.backend, one.precision, one.size_hw, one.batch) == ("onnxruntime", "fp32", (32, 48), 2)
    assert one.library == open_backend("onnxruntime").version() and one.execution["threads"] >= 1
    assert one.latency is not None and one.fps == pytest.approx(2e3 / one.latency.mean_ms)
    assert environment.device.cores >= 1 and {"edgeseg", "numpy"} <= set(environment.versions)
    assert (environment.reference_ms or 0) > 0 and environment.conditions.rss_mb[-1] > 10


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="single-stream"),
        pytest.param({"scenario": "throughput", "in_flight": 1}, id="throughput"),
        pytest.param({"scenario": "camera", "source": "synthetic://?width=64&height=48&fps=20"}, id="camera"),
        pytest.param({"scenario": "soak", "duration_s": 0.05}, id="soak"),
        pytest.param({"percentiles": (50.0, 99.99999)}, id="many nines"),
        pytest.param({"frames": "demo://bikes"}, id="frames of a video"),
    ],
)
def test_the_command_on_record_asks_for_the_same(tmp_path: Path, fields: dict[str, Any]) -> None:
    if "frames" in fields:
        pytest.importorskip("skvideo")
    settings = msgspec.structs.replace(QUICK, **fields)
    record = run_benchmark({"a name.fake": tiny_engine(tmp_path, "fake")}, settings).record
    words = shlex.split(record.command)
    assert words[:3] == ["edgeseg", "bench", "a name.fake"]
    asked = bench.make_context("bench", words[2:]).params
    if asked["soak"] is not None:
        asked |= {"scenario": "soak", "duration_s": asked["soak"]}
    fields = {name: asked[name] for name in Settings.__struct_fields__}
    assert msgspec.convert(fields, Settings) == settings
    assert record.engines[0].fps > 0


def test_the_path_of_a_frame_is_that_of_the_stream(tmp_path: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (66, 97, 3)).astype(np.uint8)
    with open_backend("fake").load(tiny_engine(tmp_path, "fake")) as session:
        path = FramePath(session)
        path.run(frame)
        assert np.array_equal(path.class_map, segment_frame(session, frame))
        assert np.array_equal(session.input_buffer()[0], resize_frame(frame, (32, 48), session.card.preprocess.resize))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(EdgesegError("the accelerator is gone"), "the accelerator is gone", id="in good order"),
        pytest.param(ValueError("bad stride"), "ValueError: bad stride", id="by an error that nobody foresaw"),
    ],
)
def test_an_engine_that_fails_midway_is_named_and_the_others_go_on(
    error: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, calls = FakeSession._finish, [0]

    def fails(self: FakeSession, slot: int) -> dict[str, float]:
        calls[0] += 1
        if calls[0] == 10:
            raise error
        return finish(self, slot)

    engines = {name: tiny_engine(tmp_path, name) for name in ("fake", "onnxruntime")}
    monkeypatch.setattr(FakeSession, "_finish", fails)
    failed, other = run_benchmark(engines, QUICK).record.engines
    assert failed.failed == told and other.failed == ""
    assert failed.latency is not None and 0 < failed.latency.samples < 24
    assert other.latency is not None and other.latency.samples == 24


def test_an_engine_that_never_answers_has_no_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: FakeSession, slot: int) -> dict[str, float]:
        raise EdgesegError("the accelerator is gone")

    engine = tiny_engine(tmp_path, "fake")
    monkeypatch.setattr(FakeSession, "_finish", fails)
    (failed,) = run_benchmark({"fake": engine}, QUICK).record.engines
    assert failed.latency is None and failed.fps == 0 and failed.failed and failed.stages == {}


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    def interrupt(share: float, what: str) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    done = run_benchmark({"fake": tiny_engine(tmp_path, "fake")}, QUICK, interrupt)
    (one,) = done.record.engines
    assert not done.record.complete and one.latency is not None and 12 < one.latency.samples < 24


@pytest.mark.parametrize("scenario", ["throughput", "camera"])
def test_fps_after_ctrl_c_within_a_turn_are_of_whole_frames_and_their_time(
    scenario: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, calls = FakeSession._finish, [0]

    def interrupted(self: FakeSession, slot: int) -> dict[str, float]:
        calls[0] += 1
        if calls[0] == 60:
            raise KeyboardInterrupt
        time.sleep(0.005)
        return finish(self, slot)

    engine = tiny_engine(tmp_path, "fake")
    monkeypatch.setattr(FakeSession, "_finish", interrupted)
    settings = msgspec.structs.replace(
        QUICK, scenario=scenario, duration_s=30.0, source="synthetic://?width=64&height=48&fps=50"
    )
    if scenario == "camera":  # Its turn counts when it is over.
        with pytest.raises(KeyboardInterrupt):
            run_benchmark({"fake": engine}, settings)
        return
    record = run_benchmark({"fake": engine}, settings).record
    (one,) = record.engines
    assert not record.complete and one.fps < 200 and one.latency is not None
    assert one.fps == pytest.approx(one.latency.samples / one.seconds) and one.seconds > 0.25


def test_a_cameras_frames_are_all_accounted_for(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(
        QUICK, scenario="camera", duration_s=1.0, source="synthetic://?width=64&height=48&fps=50"
    )
    (one,) = run_benchmark({"fake": tiny_engine(tmp_path, "fake")}, settings).record.engines
    assert one.camera is not None and one.latency is not None
    assert one.camera.fps == 50 and one.camera.captured == one.camera.inferred + sum(one.camera.dropped.values())
    assert one.camera.inferred == one.latency.samples == round(one.fps * one.seconds)
    assert one.camera.captured <= 50 * one.seconds + 2, "it waits for the camera's clock"


def test_energy_is_that_of_the_engines_turns(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(QUICK, duration_s=0.5)
    record = run_benchmark({"fake": tiny_engine(tmp_path, "fake")}, settings, rail=Constant()).record
    (one,) = record.engines
    assert one.energy is not None and one.latency is not None
    assert (one.energy.rail, one.energy.watts, one.energy.idle_watts) == ("VDD_IN", 5.0, 5.0)
    assert one.energy.joules_per_frame >= 5.0 * one.latency.mean_ms / 1e3
    assert one.energy.joules_per_frame_above_idle == 0
    both = {name: tiny_engine(tmp_path, name) for name in ("fake", "onnxruntime")}
    in_turns = run_benchmark(both, settings, rail=Constant()).record.engines
    assert [one.energy for one in in_turns] == [None, None], "a reading is of both"


def test_processes_of_our_own_that_have_ended_are_not_others() -> None:
    burn = "import time; end = time.monotonic() + 1.3\nwhile time.monotonic() < end: pass"
    with Watch() as watch:
        for _ in range(2):
            subprocess.run([sys.executable, "-c", burn], check=True)
    alone = psutil.cpu_percent(0.3) < 40
    if not alone:
        pytest.skip("others keep this machine busy")
    assert max(one.others for one in watch.moments) < 0.9


def test_of_many_looks_the_load_of_the_busiest_is_kept() -> None:
    many = [Moment(n * 10**9, float(n % 7 == 3), None, None, None, None, 100.0) for n in range(2000)]
    kept = conditions_of(many)
    assert len(kept.seconds) <= 600 and kept.seconds[0] == 0 and kept.seconds[-1] > 1990
    assert np.mean(np.array(kept.others) > 0) > 0.5


def moments(count: int, growth_mb: float = 0.0) -> list[Moment]:
    """Looks at a machine, a second apart."""
    return [Moment(n * 10**9, 0.0, None, None, None, None, 100 + growth_mb * n / 600) for n in range(count)]


@pytest.mark.parametrize(
    ("slower", "growth", "verdict"),
    [
        pytest.param(1.0, 0.0, "Speed and memory stayed as they were.", id="steady"),
        pytest.param(1.1, 0.0, "It slowed down by 9%.", id="slower at the end"),
        pytest.param(1.0, 60.0, "Its memory grew by 4.7 MB, 59.8 MB in ten minutes.", id="memory that grows"),
        pytest.param(1.0, 5.0, "Speed and memory stayed as they were.", id="less than half a megabyte more"),
    ],
)
def test_a_soak_tells_what_changed(
    slower: float, growth: float, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tiny_engine(tmp_path, "fake")
    with open_backend("fake").load(engine) as session:
        lane = Lane("tiny", engine, session)
        for number in range(500):
            lane.note(number * 10**8, {"latency": round(1e7 * (slower if number >= 400 else 1))})
        found = drift(lane, [lane], moments(60, growth))
    assert found is not None and found.verdict == verdict
    assert found.steady == (verdict == "Speed and memory stayed as they were.")


def test_a_soak_does_not_take_the_samples_of_others_for_growth(tmp_path: Path) -> None:
    """Three engines at a thousand frames a second: thirty-two bytes of samples each, a frame."""
    engine = tiny_engine(tmp_path, "fake")
    with open_backend("fake").load(engine) as session:
        lanes = [Lane(f"{number}", engine, session) for number in range(3)]
        for number in range(60_000):
            for lane in lanes:
                lane.note(number * 10**6, {"latency": 10**5})
        seen = [Moment(n * 10**9, 0.0, None, None, None, None, 100 + 3 * 32 * n / 1e3) for n in range(60)]
        for lane in lanes:
            found = drift(lane, lanes, seen)
            assert found is not None and found.steady and abs(found.rss_slope_mb) < 0.1


def test_a_soak_that_is_too_short_tells_nothing(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(QUICK, scenario="soak", duration_s=0.1)
    assert run_benchmark({"fake": tiny_engine(tmp_path, "fake")}, settings).record.engines[0].drift is None


def test_the_warm_up_ends_when_the_times_are_steady(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine(tmp_path, "fake")
    with open_backend("fake").load(engine) as session:
        lane = Lane("tiny", engine, session)
        taken = iter([*(10**7 * (1 + n % 5) for n in range(30)), *([10**7] * 1000)])
        monkeypatch.setattr(lane.path, "run", lambda *_: {"latency": next(taken)})
        settings = msgspec.structs.replace(QUICK, warm_up_s=1e-9)
        Turns([lane], TimedFrames("", (64, 96)), settings, lambda *_: None).warm_up()
        assert lane.steady and lane.warm_up_frames == 80, "the last 50 were alike"


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
