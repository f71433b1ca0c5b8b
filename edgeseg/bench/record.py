"""The record of a benchmark: what was measured, on what, and how to measure it again."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.card import Dialect, PixelFormat, Precision, Upsample
from edgeseg.device import Device
from edgeseg.errors import UsageError
from edgeseg.files import write_bytes

__all__ = [
    "SCHEMA",
    "EngineRecord",
    "Environment",
    "Record",
    "Settings",
    "Timing",
    "read_record",
    "timing",
    "write_benchmark",
]

SCHEMA: Final = "edgeseg.bench/1"
Percentile = Annotated[float, msgspec.Meta(gt=0, lt=100)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a benchmark is run.

    Attributes:
        warm_up_ms: Time for rounds that are not scored; their samples are kept.
        duration_s: Time for the scored rounds, all engines together.
        iterations: Scored rounds even where the time is up.
        percentiles: Of the latency, above 0 and below 100.
        camera_hw: Height and width of the frame that is resized for the engine.
        upsample: Of engines that are built of graphs for this benchmark.
        batch: Frames at once; None is what each engine was built for.
        gpu_resize: The engines resize the camera's frame themselves.
    """

    warm_up_ms: Annotated[float, msgspec.Meta(ge=0)] = 2000.0
    duration_s: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    iterations: Count = 10
    percentiles: tuple[Percentile, ...] = (50.0, 90.0, 99.0)
    camera_hw: tuple[Count, Count] = (720, 1280)
    upsample: Upsample = "half"
    batch: Count | None = None
    gpu_resize: bool = False


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Calls in a closed loop: each begins when the one before is done.

    Attributes:
        runs: Scored calls.
        fps: Frames over the time that the calls took.
        percentiles_ms: Latency of a call by percentile; None where too few runs lie beyond it.
    """

    runs: int
    fps: float
    percentiles_ms: dict[str, float | None]
    min_ms: float
    mean_ms: float
    max_ms: float


class EngineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One engine and its times.

    Attributes:
        name: A path or a name, as it was asked for.
        library: Version of the backend's library.
        execution: How the library says it runs the engine: precision of its float operators, threads.
        inference: From a frame in the engine's own buffer to the class map.
        with_resize: From a camera's frame to the class map, resize and colour conversion included.
    """

    name: str
    sha256: str
    size_bytes: int
    model: str
    backend: str
    library: str
    precision: Precision
    dialect: Dialect
    size_hw: tuple[int, int]
    batch: int
    pixel_format: PixelFormat
    upsample: Upsample
    execution: dict[str, Any]
    inference: Timing
    with_resize: Timing


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where a benchmark ran.

    Attributes:
        versions: By package.
        load_average: Of the last minute before and after: above what the engines use themselves, others disturbed.
    """

    device: Device
    versions: dict[str, str]
    load_average: tuple[float, float]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark.

    Attributes:
        created: Time in UTC, ISO 8601.
        command: What measures it again.
        scenario: `closed-loop-in-turns`: every round calls each engine once, without a rest.
        samples: File beside the record with every sample in nanoseconds: `0.inference` and `0.inference.warm_up` of
            the first engine, and so on.
    """

    schema: Literal["edgeseg.bench/1"] = SCHEMA
    created: str
    command: str
    scenario: Literal["closed-loop-in-turns"] = "closed-loop-in-turns"
    settings: Settings
    environment: Environment
    engines: tuple[EngineRecord, ...]
    samples: str


def timing(samples_ns: Sequence[int], percentiles: Sequence[float], batch: int) -> Timing:
    """Figures of at least one sample.

    A percentile is given where at least one run lies beyond it: the 99th from 100 runs on.

    Args:
        samples_ns: Nanoseconds by call.
        percentiles: Above 0 and below 100.
        batch: Frames per call.
    """
    ms = np.asarray(samples_ns, np.float64) / 1e6
    enough = {p: len(ms) * (100 - p) >= 100 for p in percentiles}
    return Timing(
        runs=len(ms),
        fps=1e3 * batch * len(ms) / float(ms.sum()),
        percentiles_ms={f"{p:g}": float(np.percentile(ms, p)) if enough[p] else None for p in percentiles},
        min_ms=float(ms.min()),
        mean_ms=float(ms.mean()),
        max_ms=float(ms.max()),
    )


def write_benchmark(record: Record, samples_ns: Mapping[str, Sequence[int]], markdown: str, folder: Path) -> Path:
    """Write `bench.json`, `bench.md` and the samples into a folder, each whole or not at all.

    Returns:
        The path of the JSON, which is written last.
    """
    arrays: dict[str, npt.NDArray[np.int64]] = {name: np.array(times, np.int64) for name, times in samples_ns.items()}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_bytes(folder / record.samples, content.getvalue())
    write_bytes(folder / "bench.md", markdown.encode())
    write_bytes(folder / "bench.json", msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    return folder / "bench.json"


def read_record(path: Path) -> Record:
    """The record in a `bench.json`.

    Raises:
        UsageError: There is none, or it is of another version.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{path} is no record of schema {SCHEMA}: {error}.") from error
