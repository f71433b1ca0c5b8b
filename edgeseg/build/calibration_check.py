"""Whether frames are fit to be calibrated on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edgeseg.build.candidate_frames import OnProgress, look_through, open_candidates
from edgeseg.build.float_view import OCCURS, ClassCoverage, coverage
from edgeseg.build.leak import Leak, evaluation_frames, find_leak, leak_findings
from edgeseg.build.recipe import BuildRecipe
from edgeseg.data.calibration import FrameSet
from edgeseg.data.contact_sheet import ContactSheet
from edgeseg.data.frame_watch import Brightness, Finding, FrameWatch
from edgeseg.files import write_bytes
from edgeseg.graph.io import require_card

__all__ = ["CheckReport", "check_frames"]

#: A class in fewer frames is told by them alone.
RARE = 3
#: Names in a sentence.
NAMED = 8


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at the frames of a source found.

    Attributes:
        calibration_sha256: Of the frames that were looked at.
        distinct: Pictures that differ and show something.
        duplicates: Frames that show something, but look like an earlier one.
        copies: Those of them that equal an earlier frame in every pixel.
        groups: Names of the frames that look alike, the first of each group first.
        black, overexposed, flat: Frames that show nothing.
        brightness: Of the frames' mean luminance.
        classes: As the float model predicts them.
        leak: What is in the evaluation frames too; None where none were given.
        verdict: `bad` with a finding of that level, `usable` with any other, else `good`.
        sheet: The contact sheet; empty where none was asked for.
    """

    source: str
    calibration_sha256: str
    frames: int
    distinct: int
    duplicates: int
    copies: int
    groups: tuple[tuple[str, ...], ...]
    black: int
    overexposed: int
    flat: int
    brightness: Brightness
    classes: tuple[ClassCoverage, ...]
    leak: Leak | None
    findings: tuple[Finding, ...]
    verdict: Literal["good", "usable", "bad"]
    sheet: str
    seconds: float


def check_frames(
    recipe: BuildRecipe, *, against: str = "", sheet: Path | None = None, on_progress: OnProgress = lambda *_: None
) -> CheckReport:
    """Look at the frames of `recipe.calib` that calibration would take; nothing but the contact sheet is written.

    Args:
        recipe: Names the model and the frames.
        against: Source of frames that the engine is to be evaluated on.
        sheet: Where a contact sheet goes, a PNG with the frames that something was found on marked.
        on_progress: Told the share done, None where it is unknown, and what goes on.

    Raises:
        UsageError: There is no such model or source, or the sheet would lie among the frames.
        ModelFileError: The model can't be prepared or run.
    """
    started = time.perf_counter()
    prepared, frames = open_candidates(recipe, recipe.calib_frames, sheet, on_progress)
    count, others = evaluation_frames(against) if against else (0, iter(()))
    total = len(frames) + count

    def tell(done: int) -> None:
        on_progress(done / total, f"look at frame {done} of {total}")

    thumbnails = ContactSheet(frames.numbers) if sheet is not None else None
    watch, seen = look_through(prepared, frames, tell, thumbnails.add if thumbnails is not None else lambda _: None)
    leak = find_leak(watch, against, count, others, lambda done: tell(len(frames) + done)) if against else None
    classes = coverage(np.stack([view.shares for view in seen]), require_card(prepared).classes)
    report = _report(frames, watch, classes, leak)
    if sheet is not None and thumbnails is not None:
        write_bytes(sheet, thumbnails.png(_title(report), _marks(watch, frames, leak)))
    return msgspec.structs.replace(report, sheet=str(sheet or ""), seconds=time.perf_counter() - started)


def _report(frames: FrameSet, watch: FrameWatch, classes: tuple[ClassCoverage, ...], leak: Leak | None) -> CheckReport:
    findings = (
        *watch.findings(),
        *(_class_findings(classes) if watch.distinct else ()),
        *(leak_findings(leak, len(frames)) if leak is not None else ()),
    )
    levels = {finding.level for finding in findings}
    return CheckReport(
        source=frames.source,
        calibration_sha256=frames.sha256,
        frames=len(watch),
        distinct=len(watch.distinct),
        duplicates=len(watch.duplicates),
        copies=len(watch.copies),
        groups=_groups(watch),
        black=len(watch.faulty("black")),
        overexposed=len(watch.faulty("overexposed")),
        flat=len(watch.faulty("flat")),
        brightness=watch.brightness(),
        classes=classes,
        leak=leak,
        findings=findings,
        verdict="bad" if "bad" in levels else "usable" if levels else "good",
        sheet="",
        seconds=0.0,
    )


def _groups(watch: FrameWatch) -> tuple[tuple[str, ...], ...]:
    groups: dict[int, list[str]] = {}
    for first, name in zip(watch.first_like, watch.names, strict=True):
        groups.setdefault(first, []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def _class_findings(classes: Sequence[ClassCoverage]) -> list[Finding]:
    never = [found.name for found in classes if not found.frames]
    rare = [found.name for found in classes if 0 < found.frames < RARE]
    findings = []
    if never:
        text = (
            f"The network never finds {_listed(never)} in these frames: if the camera will see that, add frames of it."
        )
        findings.append(Finding(kind="absent", level="warning", text=text))
    if rare:
        text = (
            f"The network finds {_listed(rare)} in fewer than {RARE} frames (above {100 * OCCURS:g} % of the pixels): "
            "add frames of it, or let --select choose among more."
        )
        findings.append(Finding(kind="rare", level="warning", text=text))
    return findings


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    shown = [f"'{name}'" for name in names[:NAMED]]
    more = len(names) - len(shown)
    last = f"{more} other classes" if more else shown.pop()
    return f"{', '.join(shown)} or {last}" if shown else last


def _title(report: CheckReport) -> str:
    found = ", ".join(finding.kind for finding in report.findings) or "nothing found"
    return f"{report.frames} frames of {report.source}, {report.distinct} distinct: {report.verdict} ({found})"


def _marks(watch: FrameWatch, frames: FrameSet, leak: Leak | None) -> dict[int, list[str]]:
    """What to write on each frame, the gravest first."""
    leaked = {pair.frame for pair in leak.pairs} if leak is not None else set()
    marks: dict[int, list[str]] = {}
    for index, look in enumerate(watch.looks):
        words = ["leak"] if watch.names[index] in leaked else []
        if look.fault:
            words.append(look.fault)
        elif watch.first_like[index] != index:
            words.append(f"duplicate of #{frames.numbers[watch.first_like[index]]}")
        if words:
            marks[index] = words
    return marks
