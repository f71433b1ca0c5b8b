"""What samples and looks at the machine come to: the figures of a record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.backends import open_backend
from edgeseg.bench.lane import Lane
from edgeseg.bench.record import Conditions, Energy, EngineRecord, Latency, Settings
from edgeseg.bench.scenarios.soak import drift
from edgeseg.bench.stages import LATENCY
from edgeseg.bench.statistics import bootstrap_intervals, early_stopping, percentile
from edgeseg.device.conditions import Moment, Watch
from edgeseg.device.state import State, throttled

__all__ = ["changed", "conditions_of", "energy_of", "engine_record", "flags", "latency_of"]

Floats = npt.NDArray[np.float64]
#: Clocks that move by more, as a share, and cores that others keep busy, make figures doubtful.
MOVED, OTHERS = 0.05, 0.2
#: Where each engine's turn takes so long that a sensor's reading is of one engine. In turns of a frame it is of all.
LONG_TURNS = ("throughput", "camera")
#: What disturbs a machine lasts so long, milliseconds: samples of such a time are resampled together.
BLOCK_MS = 1000.0
#: Looks at the machine that a record keeps at most.
MOMENTS = 600


def latency_of(samples_ms: Floats, percentiles: Sequence[float]) -> Latency:
    """Figures of at least one sample, milliseconds in the order of measuring; always with the median."""
    percentiles = sorted({50.0, *percentiles})
    intervals = bootstrap_intervals(samples_ms, percentiles, block=round(BLOCK_MS / float(samples_ms.mean() or 1)))
    return Latency(
        samples=len(samples_ms),
        mean_ms=float(samples_ms.mean()),
        min_ms=float(samples_ms.min()),
        max_ms=float(samples_ms.max()),
        percentiles_ms={f"{p:g}": percentile(samples_ms, p) for p in percentiles},
        intervals_ms={f"{p:g}": interval for p, interval in zip(percentiles, intervals, strict=True)},
    )


def engine_record(lane: Lane, lanes: Sequence[Lane], settings: Settings, watch: Watch, idle_w: float) -> EngineRecord:
    """What a record says of one engine, which was measured in turns with all `lanes`, it among them."""
    card, engine = lane.session.card, lane.engine
    times = {stage: np.asarray(ns, np.float64) / 1e6 for stage, ns in lane.samples_ns.items() if ns}
    whole = times.pop(LATENCY, None)
    first = settings.scenario in ("single-stream", "soak") and whole is not None
    return EngineRecord(
        name=lane.name,
        sha256=card.sha256,
        graph_sha256=card.made_from.get("graph", ""),
        calibration_sha256=card.made_from.get("ranges", ""),
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
        layers=_layers(card.measured),
        execution=dict(lane.session.execution),
        accuracy=_accuracy(card.measured),
        warm_up_frames=lane.warm_up_frames,
        steady=lane.steady,
        seconds=lane.seconds,
        fps=lane.frames / lane.seconds if lane.seconds else 0.0,
        latency=latency_of(whole, settings.percentiles) if whole is not None else None,
        early_stopping_p90_ms=early_stopping(whole) if first and whole is not None else None,
        stages={stage: latency_of(ms, settings.percentiles) for stage, ms in times.items()},
        camera=lane.camera,
        drift=drift(lane, lanes, watch.moments) if settings.scenario == "soak" else None,
        energy=energy_of(lane, watch, idle_w) if len(lanes) == 1 or settings.scenario in LONG_TURNS else None,
        failed=lane.failed,
    )


def energy_of(lane: Lane, watch: Watch, idle_w: float) -> Energy | None:
    """What its frames cost, decoding and drawing among it where these are timed; None where there is no sensor, or none
    of its readings fell into this engine's turns.
    """
    if watch.rail is None or math.isnan(idle_w) or not lane.frames or not lane.turn_ends_ns:
        return None
    at_ns, watts = (np.array(column) for column in zip(*watch.watts, strict=True)) if watch.watts else ((), ())
    begins, ends = np.array(lane.turn_begins_ns), np.array(lane.turn_ends_ns)
    place = np.searchsorted(begins, at_ns, side="right") - 1
    own = [power for power, turn, at in zip(watts, place, at_ns, strict=True) if turn >= 0 and at <= ends[turn]]
    if not own:
        return None
    mean, seconds = float(np.mean(own)), float((ends - begins).sum()) / 1e9
    return Energy(
        rail=watch.rail.name,
        sensor=watch.rail.sensor,
        watts=mean,
        idle_watts=idle_w,
        joules_per_frame=mean * seconds / lane.frames,
        joules_per_frame_above_idle=max(0.0, mean - idle_w) * seconds / lane.frames,
    )


def conditions_of(moments: Sequence[Moment]) -> Conditions:
    """The looks at the machine as columns; of very many, one for several, with the load of that with the most."""
    step = max(1, math.ceil(len(moments) / MOMENTS))
    kept = [_worst(moments[index : index + step]) for index in range(0, len(moments), step)]
    begin = moments[0].at_ns if moments else 0
    return Conditions(
        seconds=[(one.at_ns - begin) / 1e9 for one in kept],
        others=[one.others for one in kept],
        clock_mhz=[one.clock_mhz for one in kept],
        gpu_mhz=[one.gpu_mhz for one in kept],
        celsius=[one.celsius for one in kept],
        watts=[one.watts for one in kept],
        rss_mb=[one.rss_mb for one in kept],
    )


def _worst(moments: Sequence[Moment]) -> Moment:
    return moments[0]._replace(others=max(one.others for one in moments))


def changed(before: State, after: State) -> tuple[str, ...]:
    """What of the machine's settings was changed meanwhile, a sentence each."""
    if (before.governor, before.power_mode) == (after.governor, after.power_mode):
        return ()
    old, new = (" ".join(filter(None, (one.power_mode, one.governor))) for one in (before, after))
    return (f"The machine's settings were changed while it was measured: {old} before, {new} after.",)


def flags(moments: Sequence[Moment], before: Mapping[str, int], after: Mapping[str, int]) -> tuple[str, ...]:
    """What makes figures doubtful, a sentence each.

    Args:
        moments: Looks at the machine, under load: before and after it is at rest, and its clocks are others.
        before, after: What `throttle_counts` told.
    """
    found = list(throttled(before, after, [what for one in moments for what in one.throttled]))
    for what, values in (
        ("processor", [one.clock_mhz for one in moments]),
        ("GPU", [one.gpu_mhz for one in moments]),
    ):
        told = [value for value in values if value]
        if told and min(told) < (1 - MOVED) * max(told):
            found.append(f"The {what}'s clock moved between {min(told):.0f} and {max(told):.0f} MHz.")
    others = float(np.mean([one.others for one in moments])) if moments else 0.0
    if others > OTHERS:
        found.append(f"Other processes, or the host of this virtual machine, kept {others:.1f} cores busy.")
    return tuple(found)


def _layers(measured: Mapping[str, Any]) -> dict[str, int]:
    """Convolutions by precision, where the engine's build has counted them."""
    told = measured.get("execution", {}).get("convolutions", {})
    return {str(name): int(count) for name, count in told.items()} if isinstance(told, dict) else {}


def _accuracy(measured: Mapping[str, Any]) -> dict[str, Any]:
    """What the gate of its build found."""
    gate = measured.get("gate")
    return dict(gate) if isinstance(gate, dict) else {}
