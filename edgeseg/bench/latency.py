"""Latency of engines, measured in turns."""

from __future__ import annotations

import datetime
import os
import shlex
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata

import numpy as np
import numpy.typing as npt

from edgeseg import __version__
from edgeseg.backends import Engine, Session, open_backend
from edgeseg.bench.record import EngineRecord, Environment, Record, Settings, timing
from edgeseg.build.store import load_session
from edgeseg.data.resize import frame_for_card
from edgeseg.data.scene import Scene
from edgeseg.device import describe_device
from edgeseg.errors import UsageError
from edgeseg.timing import time_in_turns

__all__ = ["Benchmark", "run_benchmark", "stages"]

INFERENCE, WITH_RESIZE = "inference", "with_resize"
#: Packages whose versions matter to speed, besides the backends' libraries.
PACKAGES = ("numpy", "opencv-python", "opencv-python-headless")

Stage = Callable[[], object]


@dataclass(frozen=True)
class Benchmark:
    """A record, and nanoseconds of every call, named as `Record.samples` says."""

    record: Record
    samples_ns: dict[str, list[int]]


def run_benchmark(
    engines: Mapping[str, Engine],
    settings: Settings | None = None,
    on_progress: Callable[[float, str], None] = lambda *_: None,
) -> Benchmark:
    """Time engines in turns, so that what drifts on the machine hits all alike.

    Args:
        engines: By the name that the record gets.
        settings: How long, and which percentiles.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        UsageError: There is no engine.
        EngineMismatch, MissingDependency, ModelFileError: An engine can't be loaded here.
    """
    if not engines:
        raise UsageError("There is no engine to time.", hint="Build one: edgeseg build --int8")
    settings = settings or Settings()
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        frame_hw = settings.camera_hw if settings.gpu_resize else None
        sessions = {
            name: stack.enter_context(load_session(engine, batch=settings.batch, frame_hw=frame_hw))
            for name, engine in engines.items()
        }
        warm_up, scored = _time(sessions, settings, on_progress)
        records = tuple(
            _engine(index, name, engines[name], sessions[name], scored, settings) for index, name in enumerate(engines)
        )
    environment = Environment(
        device=describe_device(), versions=_versions(), load_average=(load_before, os.getloadavg()[0])
    )
    record = Record(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=_command(list(engines), settings),
        settings=settings,
        environment=environment,
        engines=records,
        samples="bench.samples.npz",
    )
    return Benchmark(record, {**{f"{key}.warm_up": times for key, times in warm_up.items()}, **scored})


def _time(
    sessions: Mapping[str, Session], settings: Settings, on_progress: Callable[[float, str], None]
) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Warm-up and scored samples by `<index>.<stage>`."""
    camera = Scene(settings.camera_hw, seed=0).render(0)
    runs = {
        f"{index}.{stage}": run
        for index, session in enumerate(sessions.values())
        for stage, run in stages(session, camera).items()
    }
    warm_up_s = settings.warm_up_ms / 1e3
    split = warm_up_s / max(1e-9, warm_up_s + settings.duration_s)
    warm_up = time_in_turns(
        runs, seconds=warm_up_s, warm_up=0, at_least=1, on_round=lambda share: on_progress(split * share, "warm-up")
    )
    scored = time_in_turns(
        runs,
        seconds=settings.duration_s,
        warm_up=0,
        at_least=settings.iterations,
        on_round=lambda share: on_progress(split + (1 - split) * share, "measuring"),
    )
    return warm_up, scored


def stages(session: Session, camera: npt.NDArray[np.uint8]) -> dict[str, Stage]:
    """What is timed of a session: inference alone, and with the resize of a camera's frame before it.

    Both input buffers hold the frame afterwards. A session that resizes does so within inference.
    """

    def with_resize() -> None:
        for slot in session.input_buffer():
            frame_for_card(camera, session.card.preprocess, slot)
        session.submit().result()

    def inference() -> None:
        session.submit().result()

    for _ in range(2):
        with_resize()
    return {INFERENCE: inference, WITH_RESIZE: with_resize}


def _engine(
    index: int, name: str, engine: Engine, session: Session, samples_ns: Mapping[str, list[int]], settings: Settings
) -> EngineRecord:
    card = session.card
    times = {
        stage: timing(samples_ns[f"{index}.{stage}"], settings.percentiles, card.batch)
        for stage in (INFERENCE, WITH_RESIZE)
    }
    return EngineRecord(
        name=name,
        sha256=card.sha256,
        size_bytes=engine.path.stat().st_size,
        model=card.model,
        backend=card.backend,
        library=open_backend(card.backend).version(),
        precision=card.precision,
        dialect=card.dialect,
        size_hw=card.size_hw or (0, 0),
        batch=card.batch,
        pixel_format=card.preprocess.pixel_format,
        upsample=card.upsample,
        execution=dict(session.execution),
        inference=times[INFERENCE],
        with_resize=times[WITH_RESIZE],
    )


def _versions() -> dict[str, str]:
    found = {"edgeseg": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _command(names: list[str], settings: Settings) -> str:
    height, width = settings.camera_hw
    options = {
        "--warm-up": f"{settings.warm_up_ms:g}",
        "--duration": f"{settings.duration_s:g}",
        "--iterations": str(settings.iterations),
        "--percentile": ",".join(f"{p:g}" for p in settings.percentiles),
        "--camera": f"{height}x{width}",
        "--upsample": settings.upsample,
    }
    options |= {"--batch": str(settings.batch)} if settings.batch is not None else {}
    words = [word for option in options.items() for word in option] + ["--gpu-resize"] * settings.gpu_resize
    return shlex.join(["edgeseg", "bench", *names, *words])
