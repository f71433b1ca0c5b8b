"""The record of a benchmark: what was measured, on what, and how to measure it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from edgeseg.bench.kept import Samples, read_json, write_both
from edgeseg.bench.roofline.structs import Roofline
from edgeseg.card import Dialect, PixelFormat, Precision, Upsample
from edgeseg.device import Device
from edgeseg.device.state import State

__all__ = [
    "AGAIN",
    "SCHEMA",
    "Camera",
    "Conditions",
    "Drift",
    "Energy",
    "EngineRecord",
    "Environment",
    "Latency",
    "Record",
    "Scenario",
    "Settings",
    "read_record",
    "write_record",
]

SCHEMA: Final = "edgeseg.bench/2"
AGAIN = "edgeseg bench ENGINE"
Scenario = Literal["single-stream", "throughput", "camera", "soak"]
Percentile = Annotated[float, msgspec.Meta(gt=0, lt=100)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a benchmark is run.

    Attributes:
        scenario: `single-stream`: the next frame when the answer of the one before is there. `throughput`: several
            frames under way. `camera`: frames come by a camera's clock. `soak`: single-stream for long.
        duration_s: Of each engine at least, its warm-up apart.
        iterations: Frames of each engine at least.
        warm_up_s: At least; it goes on until the times are steady, for 30 s at most. 0 is no warm-up.
        percentiles: Of the latency, above 0 and below 100.
        frames: Where the frames come from: a folder, a video, or empty for a rendered street.
        camera_hw: Height and width of rendered frames.
        source: Camera of the scenario of that name.
        in_flight: Frames under way at once in `throughput`.
        upsample: Of engines that are built of graphs for this benchmark.
        batch: Frames at once; None is what each engine was built for.
        gpu_resize: The engines resize the camera's frame themselves.
    """

    scenario: Scenario = "single-stream"
    duration_s: Seconds = 60.0
    iterations: Count = 1024
    warm_up_s: Seconds = 2.0
    percentiles: tuple[Percentile, ...] = (50.0, 90.0, 99.0)
    frames: str = ""
    camera_hw: tuple[Count, Count] = (480, 640)
    source: str = "synthetic://?width=640&height=480&fps=30"
    in_flight: Count = 2
    upsample: Upsample = "half"
    batch: Count | None = None
    gpu_resize: bool = False


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Times of one kind, milliseconds.

    Attributes:
        samples: So many.
        percentiles_ms: None where fewer than ten samples lie beyond.
        intervals_ms: 95 % intervals of these, by a bootstrap of blocks.
    """

    samples: int
    mean_ms: float
    min_ms: float
    max_ms: float
    percentiles_ms: dict[str, float | None]
    intervals_ms: dict[str, tuple[float, float] | None]


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a camera's frames: `captured` are `inferred`, or dropped for a reason."""

    fps: float
    captured: int
    inferred: int
    dropped: dict[str, int]


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """How a long run changed from its first fifth to its last.

    Attributes:
        fps_first, fps_last: Of these fifths.
        rss_slope_mb: Growth of resident memory in ten minutes, megabytes.
        verdict: A sentence.
    """

    fps_first: float
    fps_last: float
    rss_slope_mb: float
    verdict: str
    steady: bool


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """What the frames of an engine cost, by a sensor on the board; told of an engine that was measured alone, or in
    turns of a second and more.

    Attributes:
        rail: What is measured, as the sensor names it.
        sensor: Which, and how often it was read.
        watts: While the engine ran, `idle_watts` before.
        joules_per_frame: All that the rail gave, `above_idle` without what it gives at rest.
    """

    rail: str
    sensor: str
    watts: float
    idle_watts: float
    joules_per_frame: float
    joules_per_frame_above_idle: float


class EngineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One engine and its times.

    Attributes:
        name: A path or a name, as it was asked for.
        sha256, graph_sha256: Of the engine, and of the graph it was built from; the second empty where not told.
        calibration_sha256: Of the ranges that its scales come from; empty for float engines.
        library: Version of the backend's library.
        layers: Convolutions and matrix products by precision, as the library or the graph tells; empty if neither does.
        execution: How the library says it runs the engine: precision of its float operators, threads.
        warm_up_frames: Not among the samples.
        steady: The times were steady when the warm-up ended.
        seconds: Sum of the latencies of this engine's frames; where several are under way, or come from a camera, the
            time of its turns.
        fps: Frames over that.
        latency: From a camera's frame in memory to the class map in its coordinates; in `camera`, from the frame's
            capture. None where the engine failed before.
        early_stopping_p90_ms: Not below the 90th percentile with 99 % confidence, as MLPerf Inference estimates it.
        stages: The same by stage; those of `BESIDE` are not part of the latency.
        roofline: How near it comes to what this machine can do; `roofline_note` says why there is none.
        failed: Why it ended midway; what was measured until then stays.
    """

    name: str
    sha256: str
    graph_sha256: str
    calibration_sha256: str
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
    layers: dict[str, int]
    execution: dict[str, Any]
    accuracy: dict[str, Any]
    warm_up_frames: int
    steady: bool
    seconds: float
    fps: float
    latency: Latency | None
    early_stopping_p90_ms: float | None
    stages: dict[str, Latency]
    camera: Camera | None = None
    drift: Drift | None = None
    energy: Energy | None = None
    roofline: Roofline | None = None
    roofline_note: str = ""
    failed: str = ""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """How the machine was, a column each; None where a sensor is not there.

    Attributes:
        seconds: Since the beginning.
        others: Cores that other processes kept busy.
        clock_mhz: Of the processor, mean over its cores.
        gpu_mhz: Of the GPU.
        celsius: Of the hottest zone.
        watts: Of the rail.
        rss_mb: Resident memory of this process, megabytes.
    """

    seconds: list[float]
    others: list[float]
    clock_mhz: list[float | None]
    gpu_mhz: list[float | None]
    celsius: list[float | None]
    watts: list[float | None]
    rss_mb: list[float]


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where a benchmark ran.

    Attributes:
        device: As it was before.
        before, after: How it was set, and how warm it was.
        versions: By package.
        container: It ran in one.
        reference_ms: Median time of the fixed kernel that ran between the frames, and its interval: by it records of
            one machine at different hours are compared. None where it never ran.
        reference_version: Of that kernel.
        conditions: During the run, about one a second.
        flags: What makes the figures doubtful, a sentence each: clocks that moved, throttling, others' load.
    """

    device: Device
    before: State
    after: State
    versions: dict[str, str]
    container: bool
    reference_ms: float | None
    reference_interval_ms: tuple[float, float] | None
    reference_version: int = 1
    conditions: Conditions
    flags: tuple[str, ...]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark.

    Attributes:
        created: Time in UTC, ISO 8601.
        command: What measures it again.
        samples: File beside the record with every sample: `0.begin_s` and `0.latency_ms` of the first engine, and of
            its stages; `0.roofline.name` and more of its layers; `reference.begin_s` and `reference.ms`.
        samples_sha256: Of that file; empty in what older versions wrote.
        left_out: Why engines that were asked for have no figures, by name.
        complete: It was not stopped before its time.
    """

    schema: Literal["edgeseg.bench/2"] = SCHEMA
    created: str
    command: str
    settings: Settings
    environment: Environment
    engines: tuple[EngineRecord, ...]
    samples: str
    samples_sha256: str = ""
    left_out: dict[str, str] = {}
    complete: bool = True


def write_record(record: Record, samples: Samples, folder: Path) -> Path:
    """Write `bench.json` and the samples beside it into a folder, each whole or not at all.

    Returns:
        The path of the JSON, which is written last.
    """
    path = folder / "bench.json"
    write_both(record, samples, path, record.samples)
    return path


def read_record(path: Path) -> Record:
    """The record in a `bench.json`.

    Raises:
        UsageError: There is none, or it is of another version.
    """
    return read_json(path, Record, SCHEMA, AGAIN)
