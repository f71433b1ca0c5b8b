"""Accuracy against latency of the engines that were built on this machine, from their cards or a benchmark of them."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeseg.bench.record import Record
from edgeseg.bench.scatter_chart import pareto_front
from edgeseg.build.report import Gate, Speed
from edgeseg.build.store import EngineStore
from edgeseg.card import Card, Dialect, Precision, Upsample, read_card
from edgeseg.device.cpu import cpu_model, inference_device
from edgeseg.errors import ModelFileError, UsageError

__all__ = ["LeftOut", "Point", "Tradeoff", "read_tradeoff"]

#: Times of one graph in float32 that differ by more tell that the machine was not equally busy.
DRIFT = 1.2


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One engine.

    Attributes:
        engine: Its file's name; empty for float32 on ONNX Runtime that a build only compared with.
        p50_ms: Median latency of a call. Without a benchmark it is that of the engine's own build; where more builds
            of one graph are compared, it is scaled by how long float32 took in the same turns.
        miou: On labels, 0 to 1.
        on_front: No other is both as fast and more accurate, or as accurate and faster.
    """

    engine: str
    model: str
    size_hw: tuple[int, int]
    upsample: Upsample
    backend: str
    precision: Precision
    dialect: Dialect
    p50_ms: float
    miou: float
    on_front: bool = False


class LeftOut(msgspec.Struct, frozen=True):
    """An engine that can't be compared with the others, and why."""

    engine: str
    reason: str


class Tradeoff(msgspec.Struct, frozen=True, kw_only=True):
    """Engines that can be compared.

    Attributes:
        device: That they were timed on.
        in_turns: They were timed in one benchmark, and not each in its own build.
        data: Labelled frames that they were judged on, as they were named, and how many these are.
        points: The fastest first.
        warnings: What the user should know, a sentence each.
    """

    device: str
    in_turns: bool
    data: str
    frames: int
    points: tuple[Point, ...]
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]


Graph = tuple[str, tuple[int, int], Upsample]


@dataclass(frozen=True)
class _Measured:
    """What was measured of an engine; `float_p50_ms` is that of float32 in the same turns, None where not told."""

    card: Card
    gate: Gate
    miou: float
    p50_ms: float
    float_p50_ms: float | None

    @property
    def frames(self) -> tuple[str, int]:
        """Those with labels: as they were named, and how many."""
        return self.card.measured.get("data", ""), self.gate.frames

    @property
    def graph(self) -> Graph:
        """What its build compared it on."""
        return self.card.model, self.card.fixed_size_hw, self.card.upsample

    @property
    def is_baseline(self) -> bool:
        """It is what builds compare with."""
        return (self.card.backend, self.card.precision) == ("onnxruntime", "fp32")


def read_tradeoff(folder: Path, *, having: str = "", record: Record | None = None) -> Tradeoff:
    """What the cards of a folder's engines tell of accuracy and latency.

    Compared are engines that were timed on this machine, and judged on the same labelled frames: those that most were.

    Args:
        folder: Where `edgeseg build` keeps engines.
        having: Only engines whose file name holds this.
        record: A benchmark on this machine that timed them in turns; without it their own builds tell.

    Raises:
        UsageError: There is none, or the benchmark is of another machine.
    """
    if record is not None and record.environment.device.cpu != cpu_model():
        raise UsageError(
            f"The benchmark was measured on {record.environment.device.cpu}, and this is {cpu_model()}.",
            hint="Measure here: edgeseg bench ENGINE... -o DIR",
        )
    fit, left_out = _read(folder, having, record)
    if not fit:
        raise _nothing(folder, left_out, having)
    frames = {name: one.frames for name, one in fit.items()}
    most, _ = Counter(frames.values()).most_common(1)[0]
    others = {name: f"judged on {seen[1]} frames of {seen[0]}" for name, seen in frames.items() if seen != most}
    engines = {name: one for name, one in fit.items() if name not in others}
    floats = _float_times(engines)
    points = sorted([*_engines(engines, floats), *_baselines(engines, floats)], key=lambda point: point.p50_ms)
    front = pareto_front([(point.p50_ms, point.miou) for point in points])
    return Tradeoff(
        device=inference_device(),
        in_turns=record is not None,
        data=most[0],
        frames=most[1],
        points=tuple(msgspec.structs.replace(point, on_front=i in front) for i, point in enumerate(points)),
        left_out=tuple(LeftOut(name, reason) for name, reason in sorted({**left_out, **others}.items())),
        warnings=_warnings(floats),
    )


def _read(folder: Path, having: str, record: Record | None) -> tuple[dict[str, _Measured], dict[str, str]]:
    """By name the engines that were timed on this machine and judged on labels, and why the others are no such."""
    fit: dict[str, _Measured] = {}
    left_out: dict[str, str] = {}
    for name, path in EngineStore(folder).engines().items():
        if having in name:
            try:
                found = _measured(read_card(path), record)
            except ModelFileError as error:
                found = error.message.rstrip(".")
            if isinstance(found, str):
                left_out[name] = found
            else:
                fit[name] = found
    return fit, left_out


def _measured(card: Card, record: Record | None) -> _Measured | str:
    """What was measured of an engine, or why that can't be compared."""
    try:
        gate = msgspec.convert(card.measured.get("gate"), Gate | None)
        speed = msgspec.convert(card.measured.get("speed"), Speed | None)
    except msgspec.ValidationError as error:
        return f"what its card says was measured can't be read: {error}"
    if gate is None or gate.miou is None:
        return "not judged on labels"
    if record is not None:
        latencies = {engine.sha256: engine.latency for engine in record.engines}
        latency = latencies.get(card.sha256)
        median = latency.percentiles_ms.get("50") if latency is not None else None
        return "without a median in the benchmark" if median is None else _Measured(card, gate, gate.miou, median, None)
    where = card.measured.get("device")
    if speed is None:
        return "not timed"
    if where != inference_device():
        return f"timed on {where or 'a machine that its card does not name'}"
    return _Measured(card, gate, gate.miou, speed.p50_ms, speed.float_p50_ms)


def _nothing(folder: Path, left_out: Mapping[str, str], having: str) -> UsageError:
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(left_out.values()).most_common())
    named = f" with '{having}' in its name" if having else ""
    return UsageError(
        f"No engine{named} in {folder} was both timed on this machine and judged on labels"
        + (f": {reasons}." if reasons else "."),
        hint="Build some with labelled frames: edgeseg build --int8 --data DIR",
    )


def _float_times(engines: Mapping[str, _Measured]) -> dict[Graph, list[float]]:
    """How long float32 on ONNX Runtime took in each build of a graph, milliseconds."""
    times: dict[Graph, list[float]] = defaultdict(list)
    for one in engines.values():
        if one.float_p50_ms is not None:
            times[one.graph].append(one.float_p50_ms)
    return times


def _engines(engines: Mapping[str, _Measured], floats: Mapping[Graph, list[float]]) -> Iterator[Point]:
    for name, one in engines.items():
        scale = 1.0 if one.float_p50_ms is None else statistics.median(floats[one.graph]) / one.float_p50_ms
        yield Point(
            engine=name,
            model=one.card.model,
            size_hw=one.card.fixed_size_hw,
            upsample=one.card.upsample,
            backend=one.card.backend,
            precision=one.card.precision,
            dialect=one.card.dialect,
            p50_ms=scale * one.p50_ms,
            miou=one.miou,
        )


def _baselines(engines: Mapping[str, _Measured], floats: Mapping[Graph, list[float]]) -> Iterator[Point]:
    """Float32 on ONNX Runtime, which each build compared its engine with, where that is not among the engines."""
    kept = {one.graph for one in engines.values() if one.is_baseline}
    accuracy = {one.graph: one.gate.float_miou for one in engines.values()}
    for graph, times in floats.items():
        miou = accuracy[graph]
        if graph not in kept and miou is not None:
            yield Point(
                engine="",
                model=graph[0],
                size_hw=graph[1],
                upsample=graph[2],
                backend="onnxruntime",
                precision="fp32",
                dialect="float",
                p50_ms=statistics.median(times),
                miou=miou,
            )


def _warnings(floats: Mapping[Graph, list[float]]) -> tuple[str, ...]:
    drift = max((max(times) / min(times) for times in floats.values()), default=1.0)
    if drift <= DRIFT:
        return ()
    return (
        f"This machine was not equally busy: float32 took up to {drift:.1f} times as long in one build as in another.",
    )
