"""What the page knows of the stream: its newest report, and whether what it shows is live."""

from __future__ import annotations

import threading
import time
from typing import Literal

import msgspec

from edgeseg.card import Card
from edgeseg.stream.report import SourceReport, StreamReport
from edgeseg.stream.source import Captured

__all__ = ["ClassColour", "EngineFacts", "Monitor", "Standing", "State", "Word"]

#: As of a source, and `frozen` while the same picture keeps coming, `silent` while nothing is known but that no frame
#: comes.
Word = Literal["connecting", "live", "frozen", "silent", "stalled", "lost"]


#: The stream tells something many times a second; after so many seconds without a word it hangs.
TOLD_S = 10.0


class ClassColour(msgspec.Struct, frozen=True):
    """A class and its colour as `#rrggbb`."""

    name: str
    colour: str


class EngineFacts(msgspec.Struct, frozen=True):
    """What infers. Attributes as of `Card`."""

    model: str
    backend: str
    precision: str
    sha256: str
    size_hw: tuple[int, int] | None
    classes: tuple[ClassColour, ...]

    @classmethod
    def of(cls, card: Card) -> EngineFacts:
        """The facts on an engine's card."""
        colours = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in card.palette)
        classes = tuple(ClassColour(name, colour) for name, colour in zip(card.classes, colours, strict=True))
        return cls(card.model, card.backend, card.precision, card.sha256, card.size_hw, classes)


class Standing(msgspec.Struct, frozen=True):
    """How the stream is at one moment.

    Attributes:
        state: In one word.
        reason: Why it is not live; empty where it is.
        age_ms: Milliseconds since the newest frame was captured; None before the first.
    """

    state: Word
    reason: str
    age_ms: float | None

    @property
    def live(self) -> bool:
        """Whether the newest picture may be shown as what happens now."""
        return self.state == "live"


class State(msgspec.Struct, frozen=True):
    """`/state.json`.

    Attributes:
        state, reason, age_ms: See `Standing`.
        viewers: How many watch the picture.
        report: Of the stream; None before its first. Numbers that do not exist yet are null.
    """

    state: Word
    reason: str
    age_ms: float | None
    viewers: int
    engine: EngineFacts
    report: StreamReport | None
    schema: str = "edgeseg.state/1"


class Monitor:
    """Told of each frame and each pause by the stream's thread, and asked by the page's threads."""

    def __init__(self, max_age_ms: float) -> None:
        """`max_age_ms`: without a frame for so long, nothing looks live, whatever the report says."""
        self.report: StreamReport | None = None
        self._max_age_ms = max_age_ms
        self._lock = threading.Lock()
        self._newest: Captured | None = None
        self._written_ns = self._told_ns = 0
        self._idle = False

    def wrote(self, captured: Captured, report: StreamReport) -> None:
        """A frame came; its pixels are not kept."""
        now = time.monotonic_ns()
        told = Captured(None, captured.sequence, captured.captured_ns, captured.name, captured.source, captured.clock)
        with self._lock:
            self.report, self._newest, self._idle = report, told, False
            self._written_ns = self._told_ns = now

    def waited(self, report: StreamReport) -> None:
        """No frame came for a while."""
        with self._lock:
            self.report, self._idle, self._told_ns = report, True, time.monotonic_ns()

    @property
    def quiet_s(self) -> float:
        """Seconds since the stream told anything; 0 before the first time, as an engine may load for long."""
        told = self._told_ns
        return (time.monotonic_ns() - told) / 1e9 if told else 0.0

    @property
    def hangs(self) -> bool:
        """Whether the stream has told nothing for so long that it will hardly go on."""
        return self.quiet_s > TOLD_S

    def standing(self) -> Standing:
        """How the stream is now. A frame that has just come counts for more than a report from before."""
        now = time.monotonic_ns()
        with self._lock:
            report, newest, idle, written = self.report, self._newest, self._idle, self._written_ns
        age_ms = (now - newest.captured_ns) / 1e6 if newest else None
        source = _source_of(report, newest, idle=idle)
        waited_s = (now - written) / 1e9 if written else 0.0
        if newest and not idle and waited_s * 1000 < self._max_age_ms:
            frozen = source is not None and source.frozen
            return Standing("frozen" if frozen else "live", "The same picture keeps coming." if frozen else "", age_ms)
        reason = f"No frame for {waited_s:.1f} s." if newest else "No frame has come yet."
        if source is not None and source.state != "live":
            return Standing(source.state, f"{reason} {source.reason}".strip(), age_ms)
        return Standing("silent" if newest else "connecting", reason, age_ms)


def _source_of(report: StreamReport | None, newest: Captured | None, *, idle: bool) -> SourceReport | None:
    """The source that the picture shows; while no frames come the first that says why."""
    if report is None or not report.sources:
        return None
    if idle:
        return next((source for source in report.sources if source.state != "live"), report.sources[0])
    return next((source for source in report.sources if newest and source.name == newest.source), report.sources[0])
