"""Several records together: read with their samples, and whether they can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.bench.record import Record, read_record
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
    beside = file.parent / Path(record.samples).name
    try:
        with np.load(beside, allow_pickle=False) as arrays:
            return record, dict(arrays)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"The samples of {file} can't be read from {beside}: {error}.") from error


def same_conditions(records: Sequence[Record]) -> list[str]:
    """Why records can't be compared with each other, a sentence each."""
    found = []
    machines = {
        (one.environment.device.board, one.environment.device.cpu, one.environment.device.cores) for one in records
    }
    if len(machines) > 1:
        named = "; ".join(f"{board or cpu}, {cores} cores" for board, cpu, cores in sorted(machines))
        found.append(f"These records are of different machines and not comparable: {named}.")
    scenarios = sorted({one.settings.scenario for one in records})
    if len(scenarios) > 1:
        found.append(f"These records are of different scenarios and not comparable: {', '.join(scenarios)}.")
    return found
