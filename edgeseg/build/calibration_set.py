"""Calibration sets of frames that differ as much as can be, in the eyes of the float network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.build.candidate_frames import OnProgress, look_through, open_candidates
from edgeseg.build.float_view import View, coverage
from edgeseg.build.recipe import BuildRecipe
from edgeseg.data.calibration import FrameSet
from edgeseg.data.calibration_file import CalibrationSet, source_beside, write_set
from edgeseg.data.contact_sheet import ContactSheet
from edgeseg.data.frame_watch import LEAST_DISTINCT
from edgeseg.errors import UsageError
from edgeseg.files import write_bytes
from edgeseg.graph.io import require_card

__all__ = ["CANDIDATES", "Quality", "SelectReport", "select_frames"]

Float32 = npt.NDArray[np.float32]
#: Frames that are looked at unless told otherwise: an hour of video every two seconds.
CANDIDATES = 2000
#: Of the random numbers that k-means begins with, and how often it begins.
SEED, ATTEMPTS = 0, 5
STOP = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-4)


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How well a choice of frames stands for all candidates.

    Attributes:
        classes: Names of those that occur in one of its frames at least, as the float model predicts.
        distance, farthest: From a candidate to the nearest chosen frame, the mean and the most of all candidates that
            show something, in standard deviations of the features.
    """

    classes: tuple[str, ...]
    distance: float
    farthest: float


class SelectReport(msgspec.Struct, frozen=True, kw_only=True):
    """A calibration set that was chosen.

    Attributes:
        set: The .toml file.
        sheet: The contact sheet beside it.
        candidates: Frames that were looked at.
        empty: Those of them that are black, overexposed or flat, which are not chosen.
        duplicates: Those that look like an earlier one, which are not chosen either.
        numbers: Places of the chosen frames in the source.
        selected, even: The choice, and as many frames evenly spaced.
    """

    set: str
    sheet: str
    source: str
    candidates: int
    empty: int
    duplicates: int
    frames: int
    numbers: tuple[int, ...]
    calibration_sha256: str
    selected: Quality
    even: Quality
    warnings: tuple[str, ...]
    seconds: float


def select_frames(
    recipe: BuildRecipe,
    count: int,
    out: Path,
    *,
    candidates: int | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> SelectReport:
    """Choose `count` frames of `recipe.calib`, and write them as a calibration set with a contact sheet beside it.

    Frames are clustered by what the float model makes of them, and the one nearest to each cluster's middle is taken.
    Frames that show nothing or look like an earlier one are left out first. The same input gives the same bytes.

    Args:
        recipe: Names the model and the source.
        count: Of frames; all that differ where they are fewer.
        out: The .toml file; the sheet is a .png of the same name.
        candidates: At most so many frames are looked at, evenly spaced; None is 2000.
        on_progress: Told the share done, None where it is unknown, and what goes on.

    Raises:
        UsageError: There is no such model or source, no frame shows anything, or the files can't lie there.
        ModelFileError: The model can't be prepared or run.
    """
    started = time.perf_counter()
    if out.suffix != ".toml":
        raise UsageError(f"A calibration set is a .toml file, not {out}.", hint=f"Name it {out.with_suffix('.toml')}")
    prepared, frames = open_candidates(recipe, candidates or CANDIDATES, out.with_suffix(".png"), on_progress)

    def tell(done: int) -> None:
        on_progress(done / len(frames), f"look at frame {done} of {len(frames)}")

    watch, seen = look_through(prepared, frames, tell)
    if not watch.distinct:
        raise UsageError(
            f"Not one of {len(frames)} frames of {recipe.calib} shows anything: all are black, overexposed or flat.",
            hint="See them: edgeseg calibrate MODEL SOURCE --check --sheet sheet.png",
        )
    on_progress(None, f"choose among {len(watch.distinct)} frames")
    features = _features(seen, watch.distinct)
    chosen = _diverse(features, watch.distinct, count)
    on_progress(None, "draw the contact sheet")
    card = require_card(prepared)
    _write(out, frames, chosen, card.model)
    shown = [index for index, look in enumerate(watch.looks) if not look.fault]
    return SelectReport(
        set=str(out),
        sheet=str(out.with_suffix(".png")),
        source=frames.source,
        candidates=len(frames),
        empty=len(frames) - len(shown),
        duplicates=len(watch.duplicates),
        frames=len(chosen),
        numbers=frames.take(chosen).numbers,
        calibration_sha256=frames.take(chosen).sha256,
        selected=_quality(chosen, features, shown, seen, card.classes),
        even=_quality(_even(frames, len(chosen)), features, shown, seen, card.classes),
        warnings=_warnings(count, len(chosen), len(frames)),
        seconds=time.perf_counter() - started,
    )


def _features(seen: Sequence[View], counted: Sequence[int]) -> Float32:
    """Frames as points, `(frames, features)`: the features' means, deviations and the classes, each third alike.

    Each feature is divided by its deviation over the frames that are `counted`, so that a distance is a root mean
    square of standard deviations.
    """
    parts = []
    for part in (np.stack(values) for values in zip(*seen, strict=True)):
        mean, deviation = part[list(counted)].mean(0), part[list(counted)].std(0)
        varies = deviation > 1e-6 * np.abs(part).max()
        scaled = np.where(varies, (part - mean) / np.where(varies, deviation, 1), 0)
        parts.append(scaled / np.sqrt(len(View._fields) * part.shape[1]))
    return np.ascontiguousarray(np.concatenate(parts, 1), np.float32)


def _diverse(features: Float32, eligible: Sequence[int], count: int) -> list[int]:
    """Indices of the frames nearest to the middles of `count` clusters of the eligible ones, rising."""
    if len(eligible) <= count:
        return list(eligible)
    points = features[list(eligible)]
    cv2.setRNGSeed(SEED)
    begin = np.zeros((len(points), 1), np.int32)
    _, labels, middles = cv2.kmeans(points, count, begin, STOP, ATTEMPTS, cv2.KMEANS_PP_CENTERS)
    away = np.linalg.norm(points - middles[labels[:, 0]], axis=1)
    members = (np.flatnonzero(labels[:, 0] == label) for label in np.unique(labels))
    return sorted(eligible[int(group[away[group].argmin()])] for group in members)


def _even(frames: FrameSet, count: int) -> list[int]:
    places = {number: index for index, number in enumerate(frames.numbers)}
    return [places[number] for number in frames.choose(count).numbers]


def _quality(
    chosen: Sequence[int], features: Float32, shown: Sequence[int], seen: Sequence[View], classes: tuple[str, ...]
) -> Quality:
    nearest = np.full(len(shown), np.inf)
    for index in chosen:
        nearest = np.minimum(nearest, np.linalg.norm(features[list(shown)] - features[index], axis=1))
    covered = coverage(np.stack([seen[index].shares for index in chosen]), classes)
    return Quality(
        classes=tuple(found.name for found in covered if found.frames),
        distance=float(nearest.mean()),
        farthest=float(nearest.max()),
    )


def _warnings(asked: int, chosen: int, candidates: int) -> tuple[str, ...]:
    warnings = []
    if chosen < asked:
        warnings.append(f"Among {candidates} frames only {chosen} differ and show something; {asked} were asked for.")
    if chosen < LEAST_DISTINCT:
        warnings.append(f"{chosen} is few to calibrate on: a hundred frames are better, {LEAST_DISTINCT} the least.")
    return tuple(warnings)


def _write(out: Path, frames: FrameSet, chosen: Sequence[int], model: str) -> None:
    """The contact sheet, and then the set that it shows."""
    picked = frames.take(chosen)
    sheet = ContactSheet(picked.numbers)
    for named in picked:
        sheet.add(named)
    title = f"{len(picked)} of {len(frames)} frames of {frames.source}, chosen for {model}"
    write_bytes(out.with_suffix(".png"), sheet.png(title))
    spec = CalibrationSet(source=source_beside(frames.origin, out), numbers=picked.numbers, sha256=picked.sha256)
    write_set(out, spec, f"{title}: edgeseg calibrate --select {len(picked)}")
