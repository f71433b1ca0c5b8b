"""What a search within a budget asks, and what it finds: the JSON of `edgeseg build --fps`."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from edgeseg.build.report import BuildReport
from edgeseg.card import Dialect, Precision, Upsample

__all__ = [
    "SCHEMA",
    "Accuracy",
    "AccuracyKind",
    "Attempt",
    "Budget",
    "BudgetBuild",
    "Design",
    "Front",
    "FrontPoint",
    "LibraryRow",
    "NotMeasured",
]

SCHEMA: Final = "edgeseg.front/1"
#: `labels`: mIoU that was measured here. `agreement`: share of all pixels that have the class that a reference network
#: gives. `shipped`: mIoU that was measured when the model was shipped, as its card tells.
AccuracyKind = Literal["labels", "agreement", "shipped"]


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    Attributes:
        fps: Frames per second that are to be kept.
        min_miou: Least mIoU, 0 to 1.
        fixed: Fields of the build recipe that stand: `model`, `precision`, `imgsz`, `upsample`. Others are searched.
    """

    fps: float
    min_miou: float | None = None
    fixed: frozenset[Literal["model", "precision", "imgsz", "upsample"]] = frozenset()

    @property
    def ms(self) -> float:
        """Milliseconds that a frame may take."""
        return 1e3 / self.fps


class Design(msgspec.Struct, frozen=True, kw_only=True):
    """One engine that could be built.

    Attributes:
        macs: Multiply-adds for a frame: those that are counted at the model's own size, in proportion to the area.
    """

    model: str
    size_hw: tuple[int, int]
    upsample: Upsample
    precision: Precision
    dialect: Dialect
    backend: str
    macs: int

    @property
    def name(self) -> str:
        """What sets it apart, for people."""
        return f"{self.model} {self.size_hw[0]}x{self.size_hw[1]} {self.upsample} {self.precision}"

    @property
    def kind(self) -> str:
        """By what it is run, as `Attempt.built` tells it."""
        return f"{self.backend} {self.precision} {self.dialect}"


class FrontPoint(Design, frozen=True, kw_only=True):
    """One engine that was measured.

    Attributes:
        samples: Frames that it was timed on.
        p50_ms, p90_ms: Percentiles of the time from a camera's frame to its class map, divided by `slowness`.
        slowness: How many times as long as usual the front's anchor took in the same turns.
        accuracy: See `Front.accuracy`; 0 to 1.
        shipped_miou: What the card tells of this size, tail and precision; None where it tells nothing.
        on_front: No other is both as fast and more accurate, or as accurate and faster.
        keeps: Its 90th percentile is within the budget.
        picked: It was built, passed the gate, and kept the budget once more.
    """

    samples: int
    p50_ms: float
    p90_ms: float
    slowness: float = 1.0
    accuracy: float
    shipped_miou: float | None = None
    on_front: bool = False
    keeps: bool = False
    picked: bool = False


class NotMeasured(Design, frozen=True, kw_only=True):
    """One that was not measured to the end; `least_ms` is its fastest frame, None where it was not even built."""

    reason: str
    least_ms: float | None = None


class LibraryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A library that could run a precision, timed on one network; the fastest runs all others."""

    precision: Precision
    backend: str
    dialect: Dialect
    p50_ms: float
    picked: bool


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """What the figure of accuracy is.

    Attributes:
        frames: That it was measured on.
        source: What these are, or where they come from.
        reference: Network that is agreed with, in float32.
        reference_hw: Height and width of its input; None where there is none.
    """

    kind: AccuracyKind
    frames: int
    source: str = ""
    reference: str = ""
    reference_hw: tuple[int, int] | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A point that was built with its gate.

    Attributes:
        p90_ms: Of what was built; None where nothing was.
        built: What that is: a library, a precision and a dialect.
        failure: Why the next was tried.
    """

    design: str
    p90_ms: float | None = None
    built: str = ""
    failure: str = ""


class Front(msgspec.Struct, frozen=True, kw_only=True):
    """The measured front: `front.json`.

    Attributes:
        created: ISO, UTC.
        device: That everything was measured on.
        versions: Of edgeseg and the engine libraries.
        frame_hw: Height and width of the camera's frames.
        points: The fastest first.
        anchor: Engine that took turns with all others, a few of which were timed at once. What it took in each of these
            races tells how fast the machine was then: as if that had always been the same, times are scaled to the
            median of its own.
        why: Why that engine was picked, or none; a sentence or two.
        engine: What was kept; empty where nothing was, yet.
        complete: Everything was measured; it was not interrupted.
    """

    schema: Literal["edgeseg.front/1"] = SCHEMA
    created: str
    device: str
    versions: dict[str, str]
    budget: Budget
    budget_ms: float
    frame_hw: tuple[int, int]
    accuracy: Accuracy
    libraries: tuple[LibraryRow, ...] = ()
    points: tuple[FrontPoint, ...] = ()
    anchor: str = ""
    not_measured: tuple[NotMeasured, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    warnings: tuple[str, ...] = ()
    why: str = ""
    engine: str = ""
    complete: bool = False
    seconds: float = 0.0


class BudgetBuild(msgspec.Struct, frozen=True, kw_only=True):
    """The engine that was picked, and the front that it was picked from."""

    build: BuildReport
    front: Front
