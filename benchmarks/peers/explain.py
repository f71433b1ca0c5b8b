"""Why edgeseg's engine is not faster: its roofline, measured when all turns are over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt

from benchmarks.peers.entries import REFERENCE
from benchmarks.peers.lane import Workplace
from benchmarks.peers.record import PeersRecord
from edgeseg.bench.roofline.measure import measure_roofline
from edgeseg.build.store import find_engine
from edgeseg.errors import EdgesegError

__all__ = ["add_roofline"]


def add_roofline(record: PeersRecord, samples: Mapping[str, npt.NDArray[Any]], place: Workplace) -> PeersRecord:
    """The record with the roofline of edgeseg's engine on the cores of the comparison; as it is where that fails, or
    where the comparison was stopped.

    Args:
        record: Of a comparison.
        samples: Of it.
        place: Where the engine lies.
    """
    index = [entry.name for entry in record.entries].index(record.reference)
    if not record.complete or record.entries[index].failed:
        return record
    path = Path(record.settings.engine) if record.settings.engine else place.work / "edgeseg" / REFERENCE.variant
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, place.cores)
    try:
        found, _ = measure_roofline(find_engine(str(path)), samples[f"{index}.inference_ms"])
    except (EdgesegError, KeyboardInterrupt):
        return record
    finally:
        os.sched_setaffinity(0, before)
    return msgspec.structs.replace(record, roofline=found)
