"""Where two engines differ: what is confused more often, and pixel by pixel in a frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import tee
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends import Session
from edgeseg.card import Card, Resize
from edgeseg.data.calibration import FrameSet, NamedFrame
from edgeseg.data.labelled import LabelledFrames
from edgeseg.data.resize import restore_class_map
from edgeseg.evaluate import ConfusionMatrix, class_maps
from edgeseg.labels import VOID

__all__ = [
    "Answered",
    "Changes",
    "Confusion",
    "FrameFigures",
    "Frames",
    "Sample",
    "answered",
    "changes",
    "differences",
    "disagreements",
    "evenly_spaced",
    "frame_figures",
    "grown_confusions",
    "samples",
]

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
#: What can be gone through several times, with labels or without.
Frames = LabelledFrames | FrameSet | Sequence[NamedFrame]

#: How many confusions are told.
TOLD = 10


class Confusion(msgspec.Struct, frozen=True, kw_only=True):
    """Pixels of one class that are taken for another.

    Attributes:
        expected: The label; without labels A's class.
        found: The class that they are taken for; without labels B's.
        pixels_a, pixels_b: How many, over all frames; without labels A's are 0.
        share_of_class: `pixels_b - pixels_a` over the pixels of the class `expected`.
        share_of_all: The same over all pixels that count.
    """

    expected: str
    found: str
    pixels_a: int
    pixels_b: int
    share_of_class: float
    share_of_all: float


class FrameFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One frame by the pixels that both engines saw, 0 to 1.

    Attributes:
        equal: Share of the pixels with the same class; None where there is no such pixel.
        right_a, right_b: Share of the labelled pixels with the right class; None without labelled pixels, as are
            all below.
        lost: Share of the labelled pixels where A is right and B is wrong.
        gained: Where A is wrong and B is right.
        both_wrong: Where both are wrong, and not in the same way.
    """

    equal: float | None
    right_a: float | None
    right_b: float | None
    lost: float | None
    gained: float | None
    both_wrong: float | None


class Sample(NamedTuple):
    """Where a frame came from, the frame `(H, W, 3)` uint8 BGR, and its label `(H, W)` uint8 or None, 255 is void."""

    name: str
    frame: UInt8
    label: UInt8 | None


class Answered(NamedTuple):
    """A frame with the class maps of both engines at its size, `(H, W)` uint8, 255 where an engine never saw it."""

    name: str
    frame: UInt8
    label: UInt8 | None
    a: UInt8
    b: UInt8


class Changes(NamedTuple):
    """Labelled pixels that both engines saw, and those of them that B answers otherwise than A, `(H, W)` bool each."""

    scored: Bool
    lost: Bool
    gained: Bool
    both_wrong: Bool


def grown_confusions(
    first: ConfusionMatrix, second: ConfusionMatrix, classes: Sequence[str], *, most: int = TOLD
) -> tuple[Confusion, ...]:
    """The confusions that `second` has more pixels of than `first`, by their growth.

    Args:
        first, second: Of the same labels, `(C, C)`.
        classes: Names of the `C` classes.
        most: At most so many.
    """
    growth = second.counts - first.counts
    np.fill_diagonal(growth, 0)
    of_class = np.maximum(first.counts.sum(1), second.counts.sum(1))
    order = np.argsort(-growth, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(classes)) for place in order if growth.flat[place] > 0]
    return tuple(
        Confusion(
            expected=classes[row],
            found=classes[column],
            pixels_a=int(first.counts[row, column]),
            pixels_b=int(second.counts[row, column]),
            share_of_class=float(growth[row, column] / of_class[row]),
            share_of_all=float(growth[row, column] / of_class.sum()),
        )
        for row, column in pairs
    )


def disagreements(agreement: ConfusionMatrix, classes: Sequence[str], *, most: int = TOLD) -> tuple[Confusion, ...]:
    """A's classes (rows) and what B takes them for (columns), by pixels: A is never confused with itself."""
    itself = ConfusionMatrix(np.diag(agreement.counts.sum(1)))
    return grown_confusions(itself, agreement, classes, most=most)


def differences(a: Card, b: Card) -> tuple[str, ...]:
    """Sentences on what sets two engines apart besides their precision, as far as it changes their answers."""
    origin = next((role for role in ("weights", "graph") if role in a.made_from and role in b.made_from), "")
    pairs = zip(_traits(a, origin), _traits(b, origin), strict=True)
    return tuple(
        f"A and B differ in {what} ({one} and {other}): what their answers differ in is not the precision's alone."
        for (what, one), (_, other) in pairs
        if one != other
    )


def _traits(card: Card, origin: str) -> list[tuple[str, str]]:
    preprocess, resize = card.preprocess, card.preprocess.resize
    return [
        ("weights", card.made_from.get(origin, "")[:12]),
        ("input size", "x".join(map(str, card.size_hw or ()))),
        ("channel order", preprocess.channels),
        ("mean", ",".join(f"{value:g}" for value in preprocess.mean)),
        ("deviation", ",".join(f"{value:g}" for value in preprocess.std)),
        ("resize of frames", f"{resize.mode}, {resize.interpolation}"),
        ("upsample", card.upsample),
        ("coordinates of the last resize", card.upsampling),
        ("threshold", f"{card.threshold:g}"),
    ]


def evenly_spaced(frames: LabelledFrames, limit: int) -> LabelledFrames:
    """At most that many labelled frames, both ends among them where there are two."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), limit)).round().astype(int)
    return replace(frames, pairs=tuple(frames.pairs[index] for index in chosen))


def samples(frames: Frames, indices: Iterable[int] | None = None) -> Iterator[Sample]:
    """The frames, or those of them with the given indices, in their order.

    Raises:
        UsageError: As `LabelledFrames.read`.
    """
    wanted = set(range(len(frames)) if indices is None else indices)
    if isinstance(frames, LabelledFrames):
        for index in sorted(wanted):
            yield Sample(str(frames.pairs[index][0]), *frames.read(index))
        return
    for index, one in enumerate(frames):
        if index in wanted:
            yield Sample(one.name, one.frame, None)


def answered(first: Session, second: Session, frames: Iterable[Sample]) -> Iterator[Answered]:
    """Each frame with both answers at its own size, as `measure_agreement` compares them.

    Args:
        first, second: Opened for class maps.
        frames: At most a batch of them is held at once.
    """
    shown, one, other = tee(frames, 3)
    for sample, a, b in zip(shown, _restored(first, one), _restored(second, other), strict=True):
        yield Answered(*sample, a, b)


def _restored(session: Session, frames: Iterable[Sample]) -> Iterator[UInt8]:
    """Class maps at the frames' size; `class_maps` has cut the padding of a letterbox, so that the rest fills it."""
    resize = session.card.preprocess.resize
    if resize.mode == "letterbox":
        resize = Resize("stretch", resize.interpolation)
    shown, seen = tee(frames)
    for sample, answer in zip(shown, class_maps(session, (one.frame for one in seen)), strict=True):
        yield restore_class_map(answer, (sample.frame.shape[0], sample.frame.shape[1]), resize)


def changes(label: UInt8, a: UInt8, b: UInt8) -> Changes:
    """Where B answers otherwise than A, by who is right.

    Args:
        label, a, b: `(H, W)` uint8 class indices; pixels with 255 in any of them do not count.
    """
    scored = (label != VOID) & (a != VOID) & (b != VOID)
    differs, right_a, right_b = scored & (a != b), a == label, b == label
    return Changes(scored, differs & right_a, differs & right_b, differs & ~right_a & ~right_b)


def frame_figures(label: UInt8 | None, a: UInt8, b: UInt8) -> FrameFigures:
    """The figures of one frame; see `changes` for the arguments."""
    seen = (a != VOID) & (b != VOID)
    equal = _share(seen & (a == b), seen)
    if label is None or not (found := changes(label, a, b)).scored.any():
        return FrameFigures(equal=equal, right_a=None, right_b=None, lost=None, gained=None, both_wrong=None)
    return FrameFigures(
        equal=equal,
        right_a=_share(found.scored & (a == label), found.scored),
        right_b=_share(found.scored & (b == label), found.scored),
        lost=_share(found.lost, found.scored),
        gained=_share(found.gained, found.scored),
        both_wrong=_share(found.both_wrong, found.scored),
    )


def _share(part: Bool, whole: Bool) -> float | None:
    pixels = int(np.count_nonzero(whole))
    return int(np.count_nonzero(part)) / pixels if pixels else None
