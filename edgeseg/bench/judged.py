"""Engines of benchmarks whose accuracy can be compared: their builds judged them on as many labelled frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from edgeseg.bench.record import EngineRecord
from edgeseg.build.svg import shortened

__all__ = ["Judged", "judged_alike", "labelled_miou"]

LONGEST = 34


class Judged(NamedTuple):
    """An engine with a median latency and an mIoU (0 to 1).

    Attributes:
        place: By which it is coloured.
        lines: Its label.
    """

    place: int
    name: str
    lines: tuple[str, ...]
    p50_ms: float
    miou: float


def labelled_miou(engine: EngineRecord) -> float | None:
    """What its build measured on labels, 0 to 1; None where there were none."""
    told = engine.accuracy.get("miou")
    return float(told) if engine.accuracy.get("kind") == "labels" and told is not None else None


def judged_alike(engines: Iterable[tuple[int, EngineRecord]]) -> tuple[list[Judged], int]:
    """Engines that were judged on as many labelled frames as most were, and how many frames that is.

    Fewer than two, and 0 frames, where there is nothing to compare.

    Args:
        engines: Each with the number by which it is coloured.
    """
    told = [
        (int(engine.accuracy.get("frames", 0)), Judged(place, engine.name, _label(engine), p50_ms, miou))
        for place, engine in engines
        if (miou := labelled_miou(engine)) is not None and (p50_ms := _median_ms(engine)) is not None
    ]
    most = Counter(frames for frames, _ in told).most_common(1)
    found = [one for frames, one in told if frames == most[0][0]]
    return (found, most[0][0]) if len(found) > 1 else ([], 0)


def _label(engine: EngineRecord) -> tuple[str, str]:
    what = f"{engine.size_hw[0]}x{engine.size_hw[1]} {engine.upsample} {engine.precision} {engine.backend}"
    return shortened(engine.model, LONGEST), what


def _median_ms(engine: EngineRecord) -> float | None:
    return engine.latency.percentiles_ms.get("50") if engine.latency is not None else None
