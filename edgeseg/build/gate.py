"""The gate: whether an engine is as good as the float graph, on frames that calibration did not see."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import Gate, GateKind, Verdict
from edgeseg.card import Card
from edgeseg.data.calibration import FrameSet, image_key, open_frames
from edgeseg.data.frame_watch import FrameWatch, refuse_blank
from edgeseg.data.labelled import LabelledFrames, open_validation
from edgeseg.data.resize import frame_for_card
from edgeseg.data.scene import Scene
from edgeseg.errors import UsageError
from edgeseg.evaluate.agreement import MIN_CONFIDENT

if TYPE_CHECKING:
    from edgeseg.build.calibration import Calibration

__all__ = [
    "GateFrames",
    "LabelledPairs",
    "check_limits",
    "excess",
    "gate_frames",
    "golden_frame",
    "golden_scene",
    "verdict_of",
]

UInt8 = npt.NDArray[np.uint8]
#: Points, where nothing else is asked for.
MAX_DROP, MAX_CLASS_DROP = 0.5, 2.0
GOLDEN_FRAMES, GATE_FRAMES = 8, 100
#: With fewer frames to judge on there is a warning.
ENOUGH_FRAMES = 20


class LabelledPairs(Protocol):
    """Frames `(H, W, 3)` uint8 BGR, each with its label `(H, W)` uint8, 255 where void."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[UInt8, UInt8]]: ...


class PlainFrames(Protocol):
    """Frames `(H, W, 3)` uint8 BGR, each after its name."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[str, UInt8]]: ...


@dataclass(frozen=True)
class GateFrames:
    """What an engine is judged on. `frames` has labels where `kind` is `labels`, and is decoded anew at each use."""

    kind: GateKind
    labelled: LabelledPairs | None = None
    plain: PlainFrames | None = None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labelled or ()) + len(self.plain or ())

    def frames(self) -> Iterator[UInt8]:
        """The frames, `(H, W, 3)` uint8 BGR."""
        if self.labelled is not None:
            yield from (frame for frame, _ in self.labelled)
        if self.plain is not None:
            yield from (frame for _, frame in self.plain)

    def first(self, card: Card) -> UInt8:
        """The first frame as the engine takes it, `(N, h, w, channels)`; a rendered one where there is none."""
        frame = next(self.frames(), None)
        return golden_frame(card) if frame is None else fit(frame, card)


def check_limits(recipe: BuildRecipe) -> None:
    """Refuse limits that can't be measured.

    Raises:
        UsageError: Limits on accuracy were given without labels or are no numbers, or there are two kinds of frames.
    """
    if recipe.data and recipe.frames:
        raise UsageError("--data and --frames were given; a gate judges on one of them.", hint="Leave one out.")
    limits = {"--max-drop": recipe.max_drop, "--max-class-drop": recipe.max_class_drop}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if given and not recipe.data:
        raise UsageError(
            f"{' and '.join(given)} need labels.",
            hint="Give labelled frames: --data DIR. Without labels the limits are --min-agreement and --min-class-iou.",
        )
    for name, limit in given.items():
        if not math.isfinite(limit):
            raise UsageError(f"{name} is {limit}; a number of points is needed.", hint="As in --max-drop 0.5")


def gate_frames(recipe: BuildRecipe, card: Card, calibration: Calibration, *, shipped: bool) -> GateFrames:
    """The best evidence at hand: labelled frames, frames, those held out from calibration, or rendered scenes.

    Args:
        recipe: Names the sources and how many frames to take.
        card: Of the prepared graph.
        calibration: Frames that it saw are left out.
        shipped: The model is edgeseg's own, which with its own ranges may be checked on rendered scenes.

    Raises:
        UsageError: A source is missing, empty, blank or was calibrated on.
    """
    if recipe.data:
        return _labelled(recipe, card, calibration)
    if recipe.frames:
        return _plain(open_frames(recipe.frames, limit=recipe.gate_frames or GATE_FRAMES), calibration)
    if calibration.held_out is not None:
        return GateFrames("agreement", plain=calibration.held_out, warnings=_few(len(calibration.held_out)))
    if shipped and calibration.frames is None:
        height, width = card.fixed_size_hw
        return GateFrames(
            "golden", plain=open_frames(f"synthetic://?width={width}&height={height}&frames={GOLDEN_FRAMES}")
        )
    return GateFrames("none")


def _labelled(recipe: BuildRecipe, card: Card, calibration: Calibration) -> GateFrames:
    every = open_validation(recipe.data, card.num_classes)
    seen = _seen(calibration)
    left = tuple(pair for pair in every.pairs if not seen or image_key(pair[0]) not in seen)
    warnings = _left_out(len(every) - len(left), len(every), "--data")
    chosen = np.linspace(0, len(left) - 1, min(len(left), recipe.gate_frames or len(left))).round().astype(int)
    pairs = tuple(left[index] for index in chosen)
    warnings += _few(len(pairs))
    return GateFrames("labels", labelled=LabelledFrames(pairs, every.num_classes), warnings=warnings)


def _plain(frames: FrameSet, calibration: Calibration) -> GateFrames:
    left = frames.without(_seen(calibration))
    warnings = _left_out(len(frames) - len(left), len(frames), "--frames")
    watch = FrameWatch()
    for frame in left:
        watch.add(frame)
    refuse_blank(watch, frames.source)
    return GateFrames("agreement", plain=left, warnings=warnings + _few(len(left)))


def _seen(calibration: Calibration) -> frozenset[str]:
    """Keys of the frames that ranges were measured on, be it when the model was shipped, or choices are made by."""
    measured = calibration.ranges.frame_keys if calibration.ranges is not None else ()
    searched = calibration.search.keys if calibration.search is not None else ()
    return frozenset((*measured, *searched, *calibration.chosen_by))


def _left_out(seen: int, frames: int, option: str) -> tuple[str, ...]:
    if seen == frames:
        raise UsageError(
            f"All frames of {option} were calibrated on; they prove nothing.", hint=f"Give others: {option}"
        )
    return (f"{seen} of the {frames} frames were calibrated on and are left out of the gate.",) if seen else ()


def _few(frames: int) -> tuple[str, ...]:
    if frames >= ENOUGH_FRAMES:
        return ()
    what = "one frame is" if frames == 1 else f"{frames} frames are"
    return (f"Only {what} judged on, which proves little; a hundred are better.",)


def golden_frame(card: Card) -> UInt8:
    """The rendered frame `(N, h, w, channels)` by which an engine is known again."""
    return fit(golden_scene(card), card)


def golden_scene(card: Card) -> UInt8:
    """The same as a camera would give it, `(h, w, 3)` BGR."""
    return Scene(card.fixed_size_hw, seed=0).render(0)


def fit(frame: UInt8, card: Card) -> UInt8:
    """A BGR frame as the engine takes it, `(N, h, w, channels)`, repeated for every slot of a batch."""
    out = np.empty((card.batch, *card.fixed_size_hw, len(card.preprocess.pixel_format)), np.uint8)
    for slot in out:
        frame_for_card(frame, card.preprocess, slot)
    return out


def verdict_of(gate: Gate, recipe: BuildRecipe) -> tuple[Verdict, str]:
    """The verdict on a gate's figures, and a sentence that gives the reason."""
    if gate.kind == "none":
        return "unmeasured", "there were no frames to judge on (give --frames or --data)"
    if gate.kind == "labels":
        return _verdict_on_labels(gate, recipe)
    if gate.confident is not None and gate.confident < MIN_CONFIDENT:
        part = f"float is confident of {100 * gate.confident:.2f} % of the pixels"
        return "unmeasured", f"{part}, too few to judge by (is the network trained, and --mean right?)"
    share = gate.agreement if gate.agreement is not None else 0.0
    name, iou = min(gate.class_agreement.items(), key=lambda item: item[1], default=("", 1.0))
    if not 100 * share >= recipe.min_agreement:
        return "fail", f"{100 * share:.2f} % of confident pixels agree, {recipe.min_agreement:g} % are needed"
    if 100 * iou < recipe.min_class_iou:
        return "fail", f"'{name}' has IoU {100 * iou:.2f} against float, {recipe.min_class_iou:g} is needed"
    return "pass", f"{100 * share:.2f} % of confident pixels agree"


def _verdict_on_labels(gate: Gate, recipe: BuildRecipe) -> tuple[Verdict, str]:
    limit, class_limit = _limits(recipe)
    drop, (name, lost) = _points(gate.drop), _worst_class(gate)
    if not drop <= limit:
        return "fail", f"{_change(drop)}, a drop of {limit:g} is allowed"
    if lost > class_limit:
        return "fail", f"'{name}' drops by {lost:.2f} points, {class_limit:g} are allowed"
    return "pass", _change(drop)


def _change(drop: float) -> str:
    return f"mIoU {'drops' if drop >= 0 else 'rises'} by {abs(drop):.2f} points"


def excess(gate: Gate, recipe: BuildRecipe) -> float:
    """By how much a gate's worst figure is beyond its limit, in points; at most 0 where it passes."""
    if gate.kind == "labels":
        limit, class_limit = _limits(recipe)
        return max(_points(gate.drop) - limit, _worst_class(gate)[1] - class_limit)
    iou = min(gate.class_agreement.values(), default=1.0)
    return max(recipe.min_agreement - 100 * (gate.agreement or 0.0), recipe.min_class_iou - 100 * iou)


def _limits(recipe: BuildRecipe) -> tuple[float, float]:
    """Largest drop of mIoU and of one class's IoU, points."""
    return (
        MAX_DROP if recipe.max_drop is None else recipe.max_drop,
        MAX_CLASS_DROP if recipe.max_class_drop is None else recipe.max_class_drop,
    )


def _points(drop: float | None) -> float:
    return 100 * drop if drop is not None else float("inf")


def _worst_class(gate: Gate) -> tuple[str, float]:
    """The class that counts and loses most, and its drop in points."""
    name, lost = max(gate.class_drop.items(), key=lambda item: item[1], default=("", float("-inf")))
    return name, 100 * lost
