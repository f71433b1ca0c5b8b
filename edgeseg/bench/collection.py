"""Several records together: read with their samples, and whether they can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgeseg.bench.kept import read_samples
from edgeseg.bench.record import AGAIN, Record, read_record
from edgeseg.errors import UsageError

__all__ = ["read_with_samples", "same_conditions"]


def read_with_samples(path: Path) -> tuple[Record, dict[str, npt.NDArray[Any]]]:
    """A record and its samples.

    Args:
        path: A folder of `edgeseg bench`, or its `bench.json`.

    Raises:
        UsageError: There is no record, or its samples are missing or damaged.
    """
    file = path / "bench.json" if path.is_dir() else path
    record = read_record(file)
    samples = read_samples(file, record, AGAIN)
    expected = list(_expected(record))
    if missing := [key for pair in expected for key in pair if key not in samples]:
        raise UsageError(f"The samples in {record.samples} are not those of {file}: there is no {missing[0]}.")
    for begins, times in expected:
        if len(samples[begins]) != len(samples[times]):
            raise UsageError(f"The samples in {record.samples} are damaged: {begins} and {times} have other lengths.")
    return record, samples


def _expected(record: Record) -> Iterator[tuple[str, str]]:
    """What the samples of a record hold at least: names of columns of the same length."""
    yield ("reference.begin_s", "reference.ms")
    for index, engine in enumerate(record.engines):
        if engine.latency is not None:
            yield (f"{index}.begin_s", f"{index}.latency_ms")


def _machine(record: Record) -> tuple[str, str, int, tuple[str, ...]]:
    device = record.environment.device
    return device.board, device.cpu, device.cores, tuple(gpu.name for gpu in device.gpus)


def same_conditions(records: Sequence[Record]) -> list[str]:
    """Why records can't be compared with each other, a sentence each."""
    found = []
    machines = {_machine(one) for one in records}
    if len(machines) > 1:
        named = "; ".join(
            f"{', '.join((board or cpu, *gpus))}, {cores} cores" for board, cpu, cores, gpus in sorted(machines)
        )
        found.append(f"These records are of different machines and not comparable: {named}.")
    scenarios = sorted({one.settings.scenario for one in records})
    if len(scenarios) > 1:
        found.append(f"These records are of different scenarios and not comparable: {', '.join(scenarios)}.")
    for field in ("frames", "camera_hw", "source", "in_flight", "batch", "gpu_resize"):
        told = {getattr(one.settings, field) for one in records}
        if len(told) > 1:
            words = ", ".join(str(value or "none") for value in sorted(told, key=str))
            found.append(f"These records have different {field} and are not comparable: {words}.")
    modes = sorted({one.environment.before.power_mode for one in records})
    if len(modes) > 1:
        found.append(f"These records are of different power modes: {', '.join(mode or 'none' for mode in modes)}.")
    return found
