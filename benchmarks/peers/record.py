"""The record of a comparison with peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from edgeseg.bench.kept import Samples, read_json, write_both
from edgeseg.bench.record import Environment, Latency
from edgeseg.bench.roofline.structs import Roofline

__all__ = ["SCHEMA", "PeerRecord", "PeersRecord", "Ratio", "Settings", "read_record", "write_record"]

SCHEMA: Final = "edgeseg.peers-record/1"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a comparison is run.

    Attributes:
        only: Names of entries, or empty for all.
        rounds: In each of which every entry has one turn.
        turn_s: Seconds of a turn that count.
        data: A data set's folder or its name.
        cores: That all entries are pinned to.
        engine: Path of edgeseg's engine, where none was to be built.
    """

    only: tuple[str, ...] = ()
    rounds: int = 24
    turn_s: float = 0.75
    data: str = "camvid"
    cores: tuple[int, ...] = (0, 1)
    engine: str = ""


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """FPS of the reference over those of an entry: the median over the rounds, each of two medians of one round.

    Attributes:
        interval: 95 % of it, by a bootstrap of the rounds; None where they are too few.
    """

    median: float
    interval: tuple[float, float] | None


class PeerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One entry.

    Attributes:
        name: `folder/variant`.
        title: In tables.
        settings: As its `peer.py` tells them.
        versions: Of the packages that it asks for.
        latency: From a frame in memory to its class map; None where it failed before.
        fps: Of the median latency.
        ratio: None for the reference, and where nothing was measured.
        stages: The same as `latency` by stage, as far as the entry can tell them apart.
        miou: Over all labelled frames, a fraction; None where it failed before.
        class_iou: By class.
        failed: Why it is not there, or ended midway; what was measured until then stays.
    """

    name: str
    title: str
    settings: dict[str, Any]
    versions: dict[str, str]
    latency: Latency | None
    fps: float
    ratio: Ratio | None
    stages: dict[str, Latency]
    miou: float | None
    class_iou: dict[str, float | None]
    failed: str = ""


class PeersRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A whole comparison.

    Attributes:
        created: Time in UTC, ISO 8601.
        command: What measures it again.
        model: Of the zoo.
        size_hw: Of frames and class maps.
        frames: That were scored, and given in turn.
        calibration_frames: That the peers' quantizers were given.
        frames_sha256, calibration_sha256: Of these two as arrays.
        reference: Name of the entry that all others are set against.
        outside_share: Share of its latency that the reference spends outside of its engine, the median over frames.
        roofline: Of the reference's engine; None where it was not measured.
        samples: File beside the record with every sample: `0.begin_s`, `0.round` and `0.latency_ms` of the first entry,
            and of its stages; `kernel.begin_s` and `kernel.ms` of the fixed kernel that tells the machine's speed.
        samples_sha256: Of that file; empty in what older versions wrote.
        complete: It was not stopped before its time.
    """

    schema: Literal["edgeseg.peers-record/1"] = SCHEMA
    created: str
    command: str
    settings: Settings
    environment: Environment
    model: str
    size_hw: tuple[int, int]
    frames: int
    calibration_frames: int
    frames_sha256: str
    calibration_sha256: str
    reference: str
    outside_share: float | None
    entries: tuple[PeerRecord, ...]
    roofline: Roofline | None = None
    samples: str
    samples_sha256: str = ""
    complete: bool = True

    def entry(self, name: str) -> PeerRecord | None:
        """The entry of that name."""
        return next((one for one in self.entries if one.name == name), None)


def write_record(record: PeersRecord, samples: Samples, folder: Path) -> Path:
    """Write `peers.json` and the samples beside it, each whole or not at all, and return the first one's path."""
    path = folder / "peers.json"
    write_both(record, samples, path, record.samples)
    return path


def read_record(path: Path) -> PeersRecord:
    """The record in a `peers.json`.

    Raises:
        UsageError: There is none, or it is of another version.
    """
    return read_json(path, PeersRecord, SCHEMA, "python -m benchmarks.peers")
