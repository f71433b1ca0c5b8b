"""A benchmark from its settings to its record."""

from __future__ import annotations

import datetime
import shlex
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.backends import Engine, open_backend
from edgeseg.backends.base import Processor
from edgeseg.bench.figures import engine_record
from edgeseg.bench.frames import TimedFrames
from edgeseg.bench.lane import Lane
from edgeseg.bench.record import Record, Settings
from edgeseg.bench.scenarios import camera, single_stream, throughput
from edgeseg.bench.surroundings import Surroundings
from edgeseg.bench.turns import Turns
from edgeseg.build.store import load_session
from edgeseg.device.conditions import Watch
from edgeseg.device.power import Rail, find_rail
from edgeseg.errors import UsageError

__all__ = ["Benchmark", "options_of", "run_benchmark"]

SCENARIOS: dict[str, Callable[[Turns], None]] = {
    "single-stream": single_stream.measure,
    "throughput": throughput.measure,
    "camera": camera.measure,
    "soak": single_stream.measure,
}
#: Options of `edgeseg bench`, and the settings that they set.
OPTIONS = {
    "--scenario": "scenario",
    "--duration": "duration_s",
    "--iterations": "iterations",
    "--warm-up": "warm_up_s",
    "--percentile": "percentiles",
    "--frames": "frames",
    "--camera": "camera_hw",
    "--source": "source",
    "--in-flight": "in_flight",
    "--upsample": "upsample",
    "--batch": "batch",
    "--gpu-resize": "gpu_resize",
}
SAMPLES = "bench.samples.npz"
#: Seconds in which the machine's power at rest is measured.
IDLE_S = 3.0


@dataclass(frozen=True)
class Benchmark:
    """A record, and the arrays of every sample, named as `Record.samples` says."""

    record: Record
    samples: dict[str, npt.NDArray[Any]]


def run_benchmark(
    engines: Mapping[str, Engine],
    settings: Settings = Settings(),
    on_progress: Callable[[float, str], None] = lambda *_: None,
    *,
    rail: Rail | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Benchmark:
    """Measure engines in turns, so that what drifts on the machine hits all alike.

    What was measured before it is stopped, or before Ctrl-C, is the record, which says so.

    Args:
        engines: By the name that the record gets.
        settings: How.
        on_progress: Told the share done, 0 to 1, and what is under way.
        rail: Where power is measured; None is what `find_rail` finds.
        stopped: Asked after each turn whether to end before the time.

    Raises:
        KeyboardInterrupt: It was stopped before anything was measured.
        UsageError: There is no engine, or no frames.
        EngineMismatch, MissingDependency, ModelFileError: An engine can't be loaded here.
    """
    if not engines:
        raise UsageError("There is no engine to time.", hint="Build one: edgeseg build --int8")
    if settings.scenario == "camera":
        camera.check(settings.source)
    surroundings = Surroundings()
    frames = TimedFrames(settings.frames, settings.camera_hw)
    rail = rail or find_rail(processor=_processor(engines))
    idle_w = _idle_watts(rail, on_progress)
    with ExitStack() as stack:
        lanes = _lanes(engines, settings, frames, stack)
        watch = Watch(rail)
        turns = Turns(lanes, frames, settings, on_progress, stopped)
        turns.warm_up()
        with watch:
            try:
                SCENARIOS[settings.scenario](turns)
                complete = not stopped()
            except KeyboardInterrupt:
                complete = False
        for lane in lanes:
            lane.drop_broken_frame()
        if not complete and not any(lane.begins_ns for lane in lanes):
            raise KeyboardInterrupt
        reference_ms = np.asarray([ns for _, ns in turns.reference_ns], np.float64) / 1e6
        environment = surroundings.environment(watch.moments, reference_ms)
        records = tuple(engine_record(lane, lanes, settings, watch, idle_w) for lane in lanes)
    record = Record(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(["edgeseg", "bench", *engines, *options_of(settings)]),
        settings=settings,
        environment=environment,
        engines=records,
        samples=SAMPLES,
        complete=complete,
    )
    return Benchmark(record, _samples(lanes, turns))


def _lanes(engines: Mapping[str, Engine], settings: Settings, frames: TimedFrames, stack: ExitStack) -> list[Lane]:
    frame_hw = frames.size_hw if settings.gpu_resize else None
    return [
        Lane(name, engine, stack.enter_context(load_session(engine, batch=settings.batch, frame_hw=frame_hw)))
        for name, engine in engines.items()
    ]


def _processor(engines: Mapping[str, Engine]) -> Processor | None:
    """What all engines compute on; None where they differ, or it is not known."""
    found = {open_backend(engine.card.backend).processor(engine.card) for engine in engines.values()}
    return found.pop() if len(found) == 1 else None


def _idle_watts(rail: Rail | None, on_progress: Callable[[float, str], None]) -> float:
    """Power before anything is measured; NaN where there is no sensor."""
    if rail is None:
        return float("nan")
    on_progress(0.0, "power at rest")
    with Watch(rail) as watch:
        time.sleep(IDLE_S)
    return float(np.mean([watts for _, watts in watch.watts])) if watch.watts else float("nan")


def _samples(lanes: list[Lane], turns: Turns) -> dict[str, npt.NDArray[Any]]:
    """Every sample: seconds since the first, and milliseconds."""
    first = min((begins for lane in lanes for begins in lane.begins_ns[:1]), default=0)
    found: dict[str, npt.NDArray[Any]] = {
        "reference.begin_s": np.array([(begin - first) / 1e9 for begin, _ in turns.reference_ns]),
        "reference.ms": np.array([ns / 1e6 for _, ns in turns.reference_ns]),
    }
    for index, lane in enumerate(lanes):
        found[f"{index}.begin_s"] = (np.array(lane.begins_ns, np.float64) - first) / 1e9
        for stage, times in lane.samples_ns.items():
            found[f"{index}.{stage}_ms"] = np.array(times, np.float64) / 1e6
    return found


def options_of(settings: Settings) -> list[str]:
    """What is typed to measure so again: the options that are not as they are by default."""
    words: list[str] = []
    soaked = {"--soak": "duration_s"} if settings.scenario == "soak" else {}
    for option, field in (OPTIONS | soaked).items():
        value = getattr(settings, field)
        if field in ("scenario", "duration_s") and soaked and option != "--soak":
            continue
        if value != getattr(Settings(), field) or option == "--soak":
            words += [option] if value is True else [option, _spelled(value, "x" if field == "camera_hw" else ",")]
    return words


def _spelled(value: Any, between: str) -> str:
    if isinstance(value, tuple):
        return between.join(_spelled(one, between) for one in value)
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
