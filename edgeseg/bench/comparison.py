"""Two engines side by side: what they answer, how right they are, and how fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends import Engine, Session, open_backend
from edgeseg.bench.latency import stages
from edgeseg.bench.record import Timing, timing
from edgeseg.build.store import load_session
from edgeseg.data.labelled import LabelledFrames
from edgeseg.data.scene import Scene
from edgeseg.errors import UsageError
from edgeseg.evaluate import Agreement, ConfusionMatrix, evaluate_frames, measure_agreement, miou_drop
from edgeseg.timing import time_in_turns

__all__ = ["AgreementFacts", "Comparison", "DropFacts", "Side", "compare_engines"]

UInt8 = npt.NDArray[np.uint8]
OnProgress = Callable[[float, str], None]
PERCENTILES = (50.0, 90.0, 99.0)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two. IoUs are on labels, 0 to 1, and None without labels or for a class that does not occur."""

    engine: str
    model: str
    backend: str
    precision: str
    dialect: str
    size_hw: tuple[int, int]
    upsample: str
    size_bytes: int
    speed: Timing
    miou: float | None = None
    pixel_accuracy: float | None = None
    class_iou: dict[str, float | None] = {}


class AgreementFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How far B answers as A does, 0 to 1; None where no pixel tells.

    Attributes:
        share: Of all pixels.
        confident_share: Of the pixels where A is confident, and `confident_pixels` the share that these are.
        class_iou: Of confident pixels, for classes above 1 % of them.
        passes: By the thresholds of the gate of `edgeseg build`.
    """

    share: float | None
    confident_share: float | None
    confident_pixels: float | None
    class_iou: dict[str, float]
    passes: bool


class DropFacts(msgspec.Struct, frozen=True, kw_only=True):
    """mIoU of A less that of B with its 95 % interval, and the drop by class above 1 % of the labels; 0 to 1."""

    drop: float
    drop_ci95: tuple[float, float] | None
    class_drop: dict[str, float]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The whole comparison. `speed_ratio` is A's median latency over B's: above 1, B is faster."""

    frames: int
    a: Side
    b: Side
    agreement: AgreementFacts
    drop: DropFacts | None
    speed_ratio: float


def compare_engines(
    a: tuple[str, Engine],
    b: tuple[str, Engine],
    frames: Iterable[UInt8],
    *,
    labelled: LabelledFrames | None = None,
    seconds: float = 5.0,
    on_progress: OnProgress = lambda *_: None,
) -> Comparison:
    """Compare two engines of the same classes; A is the one whose confidence counts.

    Args:
        a, b: Name for the report, and engine.
        frames: `(H, W, 3)` uint8 BGR, to compare answers on.
        labelled: The same frames with labels, to score both on.
        seconds: For timing both in turns.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        UsageError: The classes differ, there are no frames, or labels do not fit.
    """
    with ExitStack() as stack:
        first, second = (stack.enter_context(load_session(engine)) for _, engine in (a, b))
        logits = stack.enter_context(open_backend(a[1].card.backend).load(a[1], "logits"))
        on_progress(0.0, "comparing answers")
        agreement = measure_agreement(first, logits, second, frames)
        if not agreement.frames:
            raise UsageError("There are no frames to compare on.")
        on_progress(0.4, "scoring on labels")
        scores = [list(evaluate_frames(session, labelled)) if labelled else [] for session in (first, second)]
        on_progress(0.7, "timing in turns")
        speeds = _speeds((first, second), seconds, lambda share: on_progress(0.7 + 0.3 * share, "timing in turns"))
    sides = [
        _side(name, engine, speed, found) for (name, engine), speed, found in zip((a, b), speeds, scores, strict=True)
    ]
    classes = a[1].card.classes
    return Comparison(
        frames=agreement.frames,
        a=sides[0],
        b=sides[1],
        agreement=_agreement(agreement, classes),
        drop=_drop(scores[0], scores[1], classes) if labelled else None,
        speed_ratio=_median(speeds[0]) / _median(speeds[1]),
    )


def _speeds(sessions: Sequence[Session], seconds: float, on_round: Callable[[float], None]) -> list[Timing]:
    """Inference alone, of each session."""
    runs = {}
    for index, session in enumerate(sessions):
        height, width = session.input_buffer().shape[1:3]
        runs[str(index)] = stages(session, Scene((height, width), seed=0).render(0))["inference"]
    samples = time_in_turns(runs, seconds=seconds, on_round=on_round)
    return [timing(samples[str(index)], PERCENTILES, session.card.batch) for index, session in enumerate(sessions)]


def _median(speed: Timing) -> float:
    return speed.percentiles_ms["50"] or speed.mean_ms


def _side(name: str, engine: Engine, speed: Timing, scores: list[ConfusionMatrix]) -> Side:
    card = engine.card
    found = sum(scores, ConfusionMatrix.empty(card.num_classes))
    return Side(
        engine=name,
        model=card.model,
        backend=card.backend,
        precision=card.precision,
        dialect=card.dialect,
        size_hw=card.size_hw or (0, 0),
        upsample=card.upsample,
        size_bytes=engine.path.stat().st_size,
        speed=speed,
        miou=_number(found.miou()),
        pixel_accuracy=_number(found.pixel_accuracy()),
        class_iou={n: _number(iou) for n, iou in zip(card.classes, found.class_iou(), strict=True)} if scores else {},
    )


def _agreement(found: Agreement, classes: tuple[str, ...]) -> AgreementFacts:
    confident, every = int(found.confident.counts.sum()), int(found.every.counts.sum())
    return AgreementFacts(
        share=_number(found.share()),
        confident_share=_number(found.confident_share()),
        confident_pixels=confident / every if every else None,
        class_iou=dict(_counting(classes, found.class_iou())),
        passes=found.passes(),
    )


def _drop(first: list[ConfusionMatrix], second: list[ConfusionMatrix], classes: tuple[str, ...]) -> DropFacts:
    found = miou_drop(first, second)
    return DropFacts(drop=found.drop, drop_ci95=found.drop_ci95, class_drop=dict(_counting(classes, found.class_drop)))


def _counting(classes: tuple[str, ...], values: npt.NDArray[np.float64]) -> Iterator[tuple[str, float]]:
    return ((name, float(value)) for name, value in zip(classes, values, strict=True) if math.isfinite(value))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
