"""What a build found out: the JSON of `edgeseg build`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edgeseg.card import Dialect, Precision, Upsample

__all__ = ["BuildReport", "CandidateReport", "Gate", "GateKind", "Speed", "Verdict"]

Verdict = Literal["pass", "fail", "unmeasured"]
GateKind = Literal["labels", "agreement", "golden", "none"]


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """How good an engine is against the float graph. IoUs, drops and agreement are fractions of 1.

    Attributes:
        kind: `labels` measured accuracy; `agreement` and `golden` only whether it answers as float does.
        frames: That it was judged on.
        drop: `float_miou - miou`, with its 95 % interval.
        class_drop: Drop of IoU by class, for the classes that count.
        agreement: Share of confident pixels with float's class; None where no pixel is confident.
        confident: Share of all pixels that float is confident of.
        class_agreement: IoU against float by class, for the classes that count.
    """

    kind: GateKind
    frames: int
    float_miou: float | None = None
    miou: float | None = None
    drop: float | None = None
    drop_ci95: tuple[float, float] | None = None
    class_drop: dict[str, float] = {}
    agreement: float | None = None
    confident: float | None = None
    class_agreement: dict[str, float] = {}


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds per call, timed in turns with float32 on ONNX Runtime; `ratio` is float's median over this one's."""

    p50_ms: float
    p99_ms: float
    fps: float
    float_p50_ms: float | None = None
    ratio: float | None = None


class CandidateReport(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. `role` is `reference` for float engines that are only compared with.

    The first row is the baseline, float32 on ONNX Runtime.
    """

    backend: str
    dialect: Dialect
    precision: Precision
    role: Literal["candidate", "reference"]
    verdict: Verdict
    reason: str
    picked: bool = False
    size_bytes: int = 0
    graph_sha256: str = ""
    int8_convs: int = 0
    total_convs: int = 0
    float_nodes: tuple[str, ...] = ()
    speed: Speed | None = None
    gate: Gate | None = None


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole result. `graph_sha256` is that of the graph the engine was built from.

    Attributes:
        engine, card: Paths of what was kept, empty where nothing was.
        release: What was measured on labelled frames when the model was shipped, for edgeseg's own models.
        int8_convs, total_convs: Convolutions with Q/DQ on input and weights, and all. What the library made of them
            stands in the engine's card under `execution`, where the library tells it.
        float_nodes: Convolutions and other heavy operators without Q/DQ.
        warnings: What the user should know, a sentence each.
        device: That everything was measured on: processor and cores.
    """

    engine: str
    card: str
    model: str
    size_hw: tuple[int, int]
    upsample: Upsample
    backend: str
    precision: Precision
    dialect: Dialect
    graph_sha256: str
    ranges_sha256: str
    verdict: Verdict
    gate: Gate
    speed: Speed | None
    int8_convs: int
    total_convs: int
    float_nodes: tuple[str, ...]
    candidates: tuple[CandidateReport, ...]
    warnings: tuple[str, ...]
    device: str
    release: dict[str, Any] = {}
    seconds: float
