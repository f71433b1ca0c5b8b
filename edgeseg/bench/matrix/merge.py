"""Records of several rounds and engines, put together into one."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.bench.figures import latency_of
from edgeseg.bench.kept import Samples
from edgeseg.bench.record import Conditions, Energy, EngineRecord, Environment, Record
from edgeseg.bench.stages import LATENCY
from edgeseg.bench.statistics import early_stopping

__all__ = ["Rounds", "merge"]

#: What was measured of one engine, round by round: each a record of that engine alone, and its samples.
Rounds = Sequence[tuple[Record, Samples]]
Floats = npt.NDArray[np.float64]
#: Flags that are told one by one.
FLAGS = 5


def merge(
    rounds: Mapping[str, Rounds], left_out: Mapping[str, str], command: str, *, complete: bool
) -> tuple[Record, dict[str, npt.NDArray[Any]]]:
    """One record of all engines, and every sample, named as `Record.samples` says.

    Args:
        rounds: Of each engine by its name, at least one; at least one engine.
        left_out: Why others have none, by name.
        command: What measures it again.
        complete: No round is missing.
    """
    every = sorted((one for of_one in rounds.values() for one in of_one), key=lambda one: _begin(*one))
    origin = min(_begin(record, samples) for record, samples in every)
    told: dict[str, npt.NDArray[Any]] = {
        key: np.concatenate([_shifted(key, record, samples, origin) for record, samples in every])
        for key in ("reference.begin_s", "reference.ms")
    }
    engines = []
    for index, (name, of_one) in enumerate(rounds.items()):
        keys = [key.partition(".")[2] for key in of_one[0][1] if key.startswith("0.")]
        own = {
            key: np.concatenate([_shifted(f"0.{key}", record, samples, origin) for record, samples in of_one])
            for key in keys
        }
        engines.append(_engine(name, of_one, own))
        told |= {f"{index}.{key}": values for key, values in own.items()}
    record = msgspec.structs.replace(
        every[0][0],
        created=max(record.created for record, _ in every),
        command=command,
        environment=_environment(rounds, every, origin, told["reference.ms"]),
        engines=tuple(engines),
        left_out=dict(left_out),
        complete=complete,
    )
    return record, told


def _begin(record: Record, samples: Samples) -> float:
    """When a record's samples began, seconds since 1970."""
    ends = datetime.datetime.fromisoformat(record.created).timestamp()
    return ends - float(max(samples["reference.begin_s"], default=0.0))


def _shifted(key: str, record: Record, samples: Samples, origin: float) -> Floats:
    """One round's samples, times counted from the beginning of all."""
    values = np.asarray(samples[key], np.float64)
    return values + (_begin(record, samples) - origin) if key.endswith("begin_s") else values


def _engine(name: str, rounds: Rounds, own: Mapping[str, Floats]) -> EngineRecord:
    parts = [record.engines[0] for record, _ in rounds]
    settings = rounds[0][0].settings
    whole, seconds = own[f"{LATENCY}_ms"], sum(part.seconds for part in parts)
    stages = {key.removesuffix("_ms"): values for key, values in own.items() if key != f"{LATENCY}_ms"}
    stages.pop("begin_s")
    return msgspec.structs.replace(
        parts[0],
        name=name,
        warm_up_frames=sum(part.warm_up_frames for part in parts),
        steady=all(part.steady for part in parts),
        seconds=seconds,
        fps=sum(part.fps * part.seconds for part in parts) / seconds,
        latency=latency_of(whole, settings.percentiles),
        early_stopping_p90_ms=early_stopping(whole) if parts[0].early_stopping_p90_ms is not None else None,
        stages={stage: latency_of(ms, settings.percentiles) for stage, ms in stages.items()},
        energy=_energy(parts),
    )


def _energy(parts: Sequence[EngineRecord]) -> Energy | None:
    """Means over the rounds, by the time that each took; None where one has none."""
    told = [(part.energy, part.seconds) for part in parts if part.energy is not None]
    if len(told) < len(parts):
        return None
    weights = [seconds for _, seconds in told]

    def mean(field: str) -> float:
        return float(np.average([getattr(energy, field) for energy, _ in told], weights=weights))

    fields = ("watts", "idle_watts", "joules_per_frame", "joules_per_frame_above_idle")
    return msgspec.structs.replace(told[0][0], **{field: mean(field) for field in fields})


def _environment(
    rounds: Mapping[str, Rounds], every: Sequence[tuple[Record, Samples]], origin: float, reference_ms: Floats
) -> Environment:
    first, last = every[0][0].environment, every[-1][0].environment
    told = latency_of(reference_ms, (50.0,))
    return msgspec.structs.replace(
        first,
        after=last.after,
        versions={name: version for record, _ in every for name, version in record.environment.versions.items()},
        reference_ms=float(np.median(reference_ms)),
        reference_interval_ms=told.intervals_ms["50"] or (told.min_ms, told.max_ms),
        conditions=_conditions(every, origin),
        flags=_flags(rounds),
    )


def _conditions(every: Rounds, origin: float) -> Conditions:
    """The looks at the machine during all rounds, in the order of time."""
    columns: dict[str, list[Any]] = {name: [] for name in Conditions.__struct_fields__}
    for record, samples in every:
        begin = _begin(record, samples) - origin
        for name, column in columns.items():
            values = getattr(record.environment.conditions, name)
            column += [begin + value for value in values] if name == "seconds" else values
    return Conditions(**columns)


def _flags(rounds: Mapping[str, Rounds]) -> tuple[str, ...]:
    found = [
        f"{name}, round {number}: {flag}"
        for name, of_one in rounds.items()
        for number, (record, _) in enumerate(of_one, 1)
        for flag in record.environment.flags
    ]
    more = len(found) - FLAGS
    return (*found[:FLAGS], f"Rounds that were disturbed besides these: {more}.") if more > 0 else tuple(found)
