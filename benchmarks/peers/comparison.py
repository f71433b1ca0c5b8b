"""A comparison from its entries to its record."""

from __future__ import annotations

import datetime
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peers.entries import REFERENCE, Entry
from benchmarks.peers.lane import Lane, Workplace
from benchmarks.peers.material import Material
from benchmarks.peers.record import PeerRecord, PeersRecord, Ratio, Settings
from edgeseg.bench.figures import latency_of
from edgeseg.bench.reference import Reference
from edgeseg.bench.statistics import bootstrap_interval
from edgeseg.bench.surroundings import Surroundings
from edgeseg.device.conditions import Watch

__all__ = ["compare", "ratio_of"]

PERCENTILES = (50.0, 90.0)
SAMPLES = "peers.samples.npz"
#: Packages that edgeseg runs on.
PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "openvino")

Say = Callable[[str], None]
Kernel = list[tuple[int, int]]


def compare(
    entries: Sequence[Entry], material: Material, settings: Settings, place: Workplace, say: Say
) -> tuple[PeersRecord, dict[str, npt.NDArray[Any]]]:
    """Prepare and score entries one after the other, and time them in turns.

    One that can't be installed, prepared or loaded, or fails later, is out; the record says why. Ctrl-C while they take
    turns ends it; what was measured until then is the record, which says so.

    Args:
        entries: Who takes part.
        material: What all are given; its files lie in the place.
        settings: How.
        place: Where they keep their files.
        say: Told what is under way.

    Returns:
        The record, and the arrays that it names as its samples.
    """
    states: dict[Path, str] = {}
    lanes = [Lane(entry, place, states) for entry in entries]
    surroundings = Surroundings(PACKAGES)
    kernel: Kernel = []
    complete = True
    for lane in lanes:
        _step(lane, "prepare", lane.prepare, say)
    with ExitStack() as stack:
        labels = np.load(place.given / "labels.npy")
        for lane in lanes:
            _step(lane, "load", partial(lane.open, stack), say)
            _step(lane, "segment all frames", partial(lane.score, labels, material.classes), say)
        with Watch() as watch:
            try:
                _take_turns(lanes, settings, kernel, say)
            except KeyboardInterrupt:
                complete = False
    reference_ms = np.array([ns for _, ns in kernel], np.float64) / 1e6
    against = next(lane for lane in lanes if lane.entry.name == REFERENCE.name)
    record = PeersRecord(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=_command(settings),
        settings=settings,
        environment=surroundings.environment(watch.moments, reference_ms),
        model=material.model,
        size_hw=material.size_hw,
        frames=material.frames,
        calibration_frames=material.calibration,
        frames_sha256=material.frames_sha256,
        calibration_sha256=material.calibration_sha256,
        reference=REFERENCE.name,
        outside_share=_outside_share(against),
        entries=tuple(_entry_record(lane, against) for lane in lanes),
        samples=SAMPLES,
        complete=complete,
    )
    return record, _samples(lanes, kernel)


def ratio_of(lane: Lane, against: Lane) -> Ratio | None:
    """FPS of `against` over those of the lane, round by round; None where no round has both."""
    above, below = lane.medians_ms(), against.medians_ms()
    ratios = np.array([above[number] / below[number] for number in above if number in below], np.float64)
    if lane is against or not len(ratios):
        return None
    return Ratio(median=float(np.median(ratios)), interval=bootstrap_interval(ratios, 50))


def _step(lane: Lane, what: str, act: Callable[[], None], say: Say) -> None:
    if lane.failed:
        return
    begin = time.monotonic()
    say(f"{lane.entry.name}: {what} ...")
    with lane.failing():
        act()
    found = f", mIoU {100 * lane.miou:.2f}" if lane.miou is not None else ""
    say(f"{lane.entry.name}: {lane.failed or f'{time.monotonic() - begin:.1f} s{found}'}")


def _take_turns(lanes: Sequence[Lane], settings: Settings, kernel: Kernel, say: Say) -> None:
    reference = Reference()
    for lane in lanes:
        _turn(lane, settings.turn_s, None)
    begin = time.monotonic()
    for number in range(settings.rounds):
        active = [lane for lane in lanes if not lane.failed]
        kernel.append((time.perf_counter_ns(), reference.run()))
        first = number % max(1, len(active))
        for lane in (*active[first:], *active[:first]):
            _turn(lane, settings.turn_s, number)
        spent = time.monotonic() - begin
        say(f"round {number + 1} of {settings.rounds}, {spent:.0f} s: {_standings(active)}")


def _turn(lane: Lane, seconds: float, number: int | None) -> None:
    if not lane.failed:
        with lane.failing():
            lane.turn(seconds, number)


def _standings(lanes: Sequence[Lane]) -> str:
    told = (f"{lane.entry.name} {np.median(lane.latencies_ms()):.1f}" for lane in lanes if lane.latencies_ns)
    return ", ".join(told) + " ms"


def _entry_record(lane: Lane, against: Lane) -> PeerRecord:
    latencies = lane.latencies_ms()
    measured = len(latencies) > 0
    return PeerRecord(
        name=lane.entry.name,
        title=lane.entry.title,
        settings=lane.settings,
        versions=lane.versions,
        latency=latency_of(latencies, PERCENTILES) if measured else None,
        fps=1e3 / float(np.median(latencies)) if measured else 0.0,
        ratio=ratio_of(lane, against),
        stages={name: latency_of(ms, PERCENTILES) for name, ms in lane.stages_ms().items()},
        miou=lane.miou,
        class_iou=lane.class_iou,
        failed=lane.failed,
    )


def _outside_share(lane: Lane) -> float | None:
    inference = lane.stages_ms().get("inference")
    return None if inference is None else float(np.median(1 - inference / lane.latencies_ms()))


def _samples(lanes: Sequence[Lane], kernel: Kernel) -> dict[str, npt.NDArray[Any]]:
    """Every sample: seconds since the first, and milliseconds."""
    first = kernel[0][0] if kernel else 0
    found: dict[str, npt.NDArray[Any]] = {
        "kernel.begin_s": np.array([(begin - first) / 1e9 for begin, _ in kernel]),
        "kernel.ms": np.array([ns / 1e6 for _, ns in kernel]),
    }
    for index, lane in enumerate(lanes):
        found[f"{index}.begin_s"] = (np.array(lane.begins_ns, np.float64) - first) / 1e9
        found[f"{index}.round"] = np.array(lane.rounds, np.int64)
        found[f"{index}.latency_ms"] = lane.latencies_ms()
        found |= {f"{index}.{stage}_ms": ms for stage, ms in lane.stages_ms().items()}
    return found


def _command(settings: Settings) -> str:
    """What is typed to measure it again: the options that are not as they are by default."""
    usual = Settings()
    words = ["python", "-m", "benchmarks.peers"]
    for name in settings.only:
        words += ["--only", name]
    for option, given, default in (
        ("--rounds", settings.rounds, usual.rounds),
        ("--turn", settings.turn_s, usual.turn_s),
        ("--data", settings.data, usual.data),
        ("--cores", settings.cores, usual.cores),
        ("--engine", settings.engine, usual.engine),
    ):
        if given != default:
            words += [option, ",".join(map(str, given)) if isinstance(given, tuple) else str(given)]
    return shlex.join(words)
