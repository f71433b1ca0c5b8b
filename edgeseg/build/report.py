"""What a build found out: the JSON of `edgeseg build`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edgeseg.build.recipe import Prefer
from edgeseg.card import Dialect, Int8Recipe, Precision, Upsample

__all__ = ["BuildReport", "CalibratorRow", "CandidateReport", "Gate", "GateKind", "RepairStep", "Speed", "Verdict"]

Verdict = Literal["pass", "fail", "unmeasured"]
GateKind = Literal["labels", "agreement", "golden", "none"]


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """How good an engine is against the float graph. IoUs, drops and agreement are fractions of 1.

    Attributes:
        kind: `labels` measured accuracy; `agreement` and `golden` only whether it answers as float does.
        frames: That it was judged on.
        drop: `float_miou - miou`, with its 95 % interval.
        class_drop: Drop of IoU by class, for the classes that count.
        small_class_drop: For the others, which do not gate.
        agreement: Share of confident pixels with float's class, with its 95 % interval; None where none is confident.
        confident: Share of all pixels that float is confident of.
        class_agreement: IoU against float by class, for the classes that count.
        small_class_agreement: For the others, which do not gate.
    """

    kind: GateKind
    frames: int
    float_miou: float | None = None
    miou: float | None = None
    drop: float | None = None
    drop_ci95: tuple[float, float] | None = None
    class_drop: dict[str, float] = {}
    small_class_drop: dict[str, float] = {}
    agreement: float | None = None
    agreement_ci95: tuple[float, float] | None = None
    confident: float | None = None
    class_agreement: dict[str, float] = {}
    small_class_agreement: dict[str, float] = {}


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds per call and frames per second, in turns with the baseline; `ratio` is its median over this."""

    p50_ms: float
    p99_ms: float
    fps: float
    float_p50_ms: float | None = None
    ratio: float | None = None


class CandidateReport(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. `role` is `reference` for float engines that are only compared with.

    The first row is the baseline: float32 on ONNX Runtime, where that is at hand.

    Attributes:
        spare_depthwise: Depthwise convolutions were left in float too.
        own_tail: The backend picks the best class by a kernel of edgeseg's own.
        rest: Float precision of what INT8 leaves in float, where it is not the backend's usual one.
        not_int8: Convolutions with Q/DQ that the library runs in float all the same, where it tells.
        untold: Convolutions with Q/DQ of which a library of native code does not tell what they compute in.
        seconds: That its library took to build it.
    """

    backend: str
    dialect: Dialect
    precision: Precision
    role: Literal["candidate", "reference"]
    spare_depthwise: bool = False
    own_tail: bool = False
    rest: Precision | None = None
    verdict: Verdict
    reason: str
    picked: bool = False
    size_bytes: int = 0
    graph_sha256: str = ""
    int8_convs: int = 0
    total_convs: int = 0
    float_nodes: tuple[str, ...] = ()
    not_int8: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    seconds: float = 0.0
    speed: Speed | None = None
    gate: Gate | None = None


class CalibratorRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one calibrator does to the logits and classes of held-out frames, in one dialect."""

    dialect: Dialect
    calibrator: str
    snr_db: float | None
    agreement: float
    picked: bool = False


class RepairStep(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of the repair loop.

    Attributes:
        step: `as asked`, `calibrator`, `equalize`, `bias correction`, `sensitivity` or `float blocks`.
        detail: What was done, or why it was not tried.
        gain: How much better the gate's figure is than the best before: points of mIoU over 100, or share of pixels;
            None where nothing was measured.
        excess: Points by which the gate's worst figure is beyond its limit, at most 0 where it passes; it decides
            what is kept.
        kept: The next steps build on it.
        engine: Backend and dialect.
    """

    step: str
    detail: str
    engine: str
    kept: bool
    verdict: Verdict | None = None
    reason: str = ""
    gate: Gate | None = None
    gain: float | None = None
    excess: float | None = None
    int8_convs: int = 0
    total_convs: int = 0
    seconds: float = 0.0


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole result. `graph_sha256` is that of the graph the engine was built from.

    Attributes:
        engine, card: Paths of what was kept, empty where nothing was.
        baseline: Library whose float32 engine all were compared with.
        release: What was measured on labelled frames when the model was shipped, for edgeseg's own models.
        int8_convs, total_convs: Convolutions with Q/DQ on input and weights, and all. What the library made of them
            stands in the engine's card under `execution`, where the library tells it.
        float_nodes: Convolutions and other heavy operators without Q/DQ.
        int8: How each INT8 graph that passed was quantized, by dialect.
        calibrators: What `--calibrator auto` and the repair loop tried.
        repair: What the repair loop did, in order; empty where nothing was to be repaired.
        attempts: How often the gate judged an INT8 graph on the same frames until this one.
        prefer: By what the engine was picked.
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
    int8: dict[Dialect, Int8Recipe] = {}
    calibrators: tuple[CalibratorRow, ...] = ()
    repair: tuple[RepairStep, ...] = ()
    attempts: int = 1
    prefer: Prefer = "balanced"
    warnings: tuple[str, ...]
    device: str
    baseline: str = "onnxruntime"
    release: dict[str, Any] = {}
    seconds: float
