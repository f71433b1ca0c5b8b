"""Two engines side by side: what they answer, how right they are, and how fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends import Engine, Session, open_backend
from edgeseg.bench.closed_loop import Timing, stages, timing
from edgeseg.bench.explain import Confusion, Frames, differences, disagreements, grown_confusions, samples
from edgeseg.bench.worst import OnPicture, WorstFrame, disagreement, label_loss, show_frames, worst_first
from edgeseg.build.store import load_session
from edgeseg.card import Dialect, Precision
from edgeseg.data.labelled import LabelledFrames
from edgeseg.data.scene import Scene
from edgeseg.errors import UsageError
from edgeseg.evaluate import Agreement, ConfusionMatrix, evaluate_frames, labels_fit, measure_agreement, miou_drop
from edgeseg.timing import time_in_turns

__all__ = ["SCHEMA", "AgreementFacts", "Comparison", "DropFacts", "Side", "compare_engines"]

SCHEMA: Final = "edgeseg.compare/1"
T = TypeVar("T")
OnProgress = Callable[[float, str], None]
PERCENTILES = (50.0, 90.0, 99.0)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two. IoUs are on labels, 0 to 1, and None without labels or for a class that does not occur."""

    engine: str
    model: str
    backend: str
    precision: Precision
    dialect: Dialect
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
        passes: By the thresholds that the gate of `edgeseg build` has where it has no labels; None with labels, which
            such a gate would go by instead.
    """

    share: float | None
    confident_share: float | None
    confident_pixels: float | None
    class_iou: dict[str, float]
    passes: bool | None


class DropFacts(msgspec.Struct, frozen=True, kw_only=True):
    """mIoU of A less that of B, 0 to 1.

    Attributes:
        drop_ci95: 95 % interval of the drop; None for a single frame.
        class_drop: Drop of IoU by class above 1 % of the labelled pixels.
        small_class_drop: The same for all other classes that both engines have an IoU for.
        class_share: Share of the labelled pixels, for the classes that have any.
    """

    drop: float
    drop_ci95: tuple[float, float] | None
    class_drop: dict[str, float]
    small_class_drop: dict[str, float]
    class_share: dict[str, float]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The whole comparison.

    Attributes:
        speed_ratio: A's median latency over B's: above 1, B is faster.
        reference: What confusions are counted against: the labels, or A's own answers.
        confusions: Those that grew most from A to B.
        worst: The frames with the largest loss of right pixels, or without labels of equal ones; worst first.
        warnings: Other differences than the precision that may account for what is found.
    """

    schema: Literal["edgeseg.compare/1"] = SCHEMA
    frames: int
    a: Side
    b: Side
    agreement: AgreementFacts
    drop: DropFacts | None
    speed_ratio: float
    reference: Literal["labels", "a"]
    confusions: tuple[Confusion, ...]
    worst: tuple[WorstFrame, ...]
    warnings: tuple[str, ...]


def compare_engines(
    a: tuple[str, Engine],
    b: tuple[str, Engine],
    frames: Frames,
    *,
    seconds: float = 5.0,
    worst: int = 6,
    on_picture: OnPicture | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Comparison:
    """Compare two engines of the same classes; A is the one whose confidence counts.

    Args:
        a, b: Name for the report, and engine.
        frames: To compare answers on, and where they are labelled, to score both on. They are gone through several
            times and never held together in memory.
        seconds: For timing both in turns.
        worst: How many of the worst frames to show.
        on_picture: Given file name and PNG of the strip of each; see `draw_strip`.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        UsageError: The classes differ, there are no frames, or labels do not fit.
    """
    if not len(frames):
        raise UsageError("There are no frames to compare on.", hint="Give some: --data DIR or --frames SOURCE")
    with ExitStack() as stack:
        first, second = (stack.enter_context(load_session(engine)) for _, engine in (a, b))
        logits = stack.enter_context(open_backend(a[1].card.backend).load(a[1], "logits"))
        shown = _told(samples(frames), len(frames), _part(on_progress, 0.0, 0.4, "comparing answers"))
        agreement = measure_agreement(first, logits, second, (one.frame for one in shown))
        scores = _scores((first, second), frames, on_progress)
        again = _told(samples(frames), len(frames), _part(on_progress, 0.4, 0.7, "comparing frame by frame"))
        loss = label_loss(*scores) if scores else disagreement(first, second, again)
        on_progress(0.7, "looking at the worst frames")
        shows = show_frames(first, second, frames, worst_first(loss, worst), on_picture)
        speeds = _speeds((first, second), seconds, _part(on_progress, 0.8, 1.0, "timing in turns"))
    classes = a[1].card.classes
    return Comparison(
        frames=agreement.frames,
        a=_side(*a, speeds[0], scores.a if scores else ()),
        b=_side(*b, speeds[1], scores.b if scores else ()),
        agreement=_agreement(agreement, classes, labelled=scores is not None),
        drop=_drop(scores, classes) if scores else None,
        speed_ratio=_median(speeds[0]) / _median(speeds[1]),
        reference="labels" if scores else "a",
        confusions=_confusions(scores, classes) if scores else disagreements(agreement.every, classes),
        worst=shows,
        warnings=differences(a[1].card, b[1].card),
    )


class _Scores(NamedTuple):
    """One confusion matrix per frame, of A and of B."""

    a: list[ConfusionMatrix]
    b: list[ConfusionMatrix]


def _scores(sessions: tuple[Session, Session], frames: Frames, on_progress: OnProgress) -> _Scores | None:
    if not isinstance(frames, LabelledFrames):
        return None
    parts = ((0.4, 0.55), (0.55, 0.7))
    told = (_told(frames, len(frames), _part(on_progress, *part, "scoring on labels")) for part in parts)
    found = []
    for session, pairs in zip(sessions, told, strict=True):
        found.append(list(evaluate_frames(session, pairs)))
        if len(found) == 1:
            labels_fit(sum(found[0], ConfusionMatrix.empty(session.card.num_classes)), session.card.classes)
    return _Scores(*found)


def _part(on_progress: OnProgress, start: float, end: float, note: str) -> Callable[[float], None]:
    """What tells the progress of one part, given the share of that part."""
    return lambda share: on_progress(start + (end - start) * share, note)


def _told(items: Iterable[T], count: int, tell: Callable[[float], None]) -> Iterator[T]:
    """The items; before each, the share that is done is told."""
    for done, item in enumerate(items):
        tell(done / count)
        yield item


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


def _side(name: str, engine: Engine, speed: Timing, scores: Sequence[ConfusionMatrix]) -> Side:
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


def _agreement(found: Agreement, classes: tuple[str, ...], *, labelled: bool) -> AgreementFacts:
    confident, every = int(found.confident.counts.sum()), int(found.every.counts.sum())
    return AgreementFacts(
        share=_number(found.share()),
        confident_share=_number(found.confident_share()),
        confident_pixels=confident / every if every else None,
        class_iou=dict(_counting(classes, found.class_iou())),
        passes=None if labelled else found.passes(),
    )


def _drop(scores: _Scores, classes: tuple[str, ...]) -> DropFacts:
    found, (first, _) = miou_drop(*scores), _sums(scores)
    share = first.class_share()
    return DropFacts(
        drop=found.drop,
        drop_ci95=found.drop_ci95,
        class_drop=dict(_counting(classes, found.class_drop)),
        small_class_drop=dict(_counting(classes, found.small_class_drop)),
        class_share=dict(_counting(classes, np.where(share > 0, share, np.nan))),
    )


def _confusions(scores: _Scores, classes: tuple[str, ...]) -> tuple[Confusion, ...]:
    return grown_confusions(*_sums(scores), classes)


def _sums(scores: _Scores) -> tuple[ConfusionMatrix, ConfusionMatrix]:
    empty = ConfusionMatrix.empty(len(scores.a[0].counts))
    return sum(scores.a, empty), sum(scores.b, empty)


def _counting(classes: tuple[str, ...], values: npt.NDArray[np.float64]) -> Iterator[tuple[str, float]]:
    return ((name, float(value)) for name, value in zip(classes, values, strict=True) if math.isfinite(value))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
