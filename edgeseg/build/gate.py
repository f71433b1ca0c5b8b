"""The gate: whether an engine is as good as the float graph, on frames that calibration did not see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg.backends import Session
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import Gate, GateKind, Verdict
from edgeseg.card import Card
from edgeseg.data.calibration import FrameSet, open_frames
from edgeseg.data.labelled import find_data_set, open_labelled
from edgeseg.data.resize import frame_for_card, restore_class_map
from edgeseg.data.scene import Scene
from edgeseg.errors import UsageError
from edgeseg.evaluate import Agreement, ConfusionMatrix, confidence_margin, paired_drop

__all__ = ["GateFrames", "Judge", "gate_frames", "golden_frame"]

UInt8 = npt.NDArray[np.uint8]
MAX_DROP, MAX_CLASS_DROP = 0.5, 2.0
#: Classes below this share of the pixels are reported and do not gate.
RARE = 0.01
GOLDEN_FRAMES = 8


@dataclass(frozen=True)
class GateFrames:
    """Frames to judge on, each `(1, h, w, channels)` as the engine takes it, and their labels where there are any."""

    kind: GateKind
    inputs: tuple[UInt8, ...]
    labels: tuple[UInt8, ...] = ()


def gate_frames(recipe: BuildRecipe, card: Card, *, shipped: bool, held_out: tuple[UInt8, ...]) -> GateFrames:
    """The best evidence at hand: labelled frames, frames, those held out from calibration, or rendered scenes.

    Args:
        recipe: Names the sources and how many frames to take.
        card: Of the prepared graph.
        shipped: The model is edgeseg's own, which may be checked on rendered scenes.
        held_out: BGR frames that calibration did not see.

    Raises:
        UsageError: A source is missing or empty, or limits on labels were given without labels.
    """
    if not recipe.data and (recipe.max_drop is not None or recipe.max_class_drop is not None):
        raise UsageError("--max-drop and --max-class-drop need labels.", hint="Give labelled frames: --data DIR")
    if recipe.data:
        root = Path(recipe.data) if Path(recipe.data).is_dir() else find_data_set(recipe.data)
        root = root if (root / "images").is_dir() else root / "val"
        pairs = open_labelled(root, card.num_classes)
        chosen = np.linspace(0, len(pairs) - 1, min(len(pairs), recipe.gate_frames)).round().astype(int)
        both = [pairs.read(int(index)) for index in chosen]
        return GateFrames("labels", tuple(_fit(frame, card) for frame, _ in both), tuple(label for _, label in both))
    if recipe.frames:
        frames: FrameSet = open_frames(recipe.frames, limit=recipe.gate_frames)
        return GateFrames("agreement", tuple(_fit(frame, card) for _, frame in frames))
    if held_out:
        return GateFrames("agreement", tuple(_fit(frame, card) for frame in held_out))
    if shipped:
        scene = Scene(_size(card), seed=1)
        return GateFrames("golden", tuple(_fit(scene.render(40 * index), card) for index in range(GOLDEN_FRAMES)))
    return GateFrames("none", ())


def golden_frame(card: Card) -> UInt8:
    """The rendered frame `(1, h, w, channels)` by which an engine is known again."""
    return _fit(Scene(_size(card), seed=0).render(0), card)


class Judge:
    """Compares engines with the float one, whose answers are taken once.

    Args:
        frames: To judge on.
        float_session: Class maps of the float graph, with the same tail.
        float_logits: Its logits.
    """

    def __init__(self, frames: GateFrames, float_session: Session, float_logits: Session) -> None:
        self.frames, self.card = frames, float_session.card
        self.maps = tuple(_answer(float_session, frame) for frame in frames.inputs)
        self.margins: tuple[npt.NDArray[np.float32], ...] = ()
        if frames.kind in ("agreement", "golden"):
            size = _size(self.card)
            self.margins = tuple(
                confidence_margin(float_logits.infer(frame)[0].astype(np.float32), size, self.card.upsampling)
                for frame in frames.inputs
            )
        self.float_matrices = self._matrices(self.maps)

    def gate(self, session: Session) -> Gate:
        """How one engine compares with float on all frames."""
        if self.frames.kind == "none":
            return Gate(kind="none", frames=0)
        maps = tuple(_answer(session, frame) for frame in self.frames.inputs)
        if self.frames.kind == "labels":
            return self._on_labels(self._matrices(maps))
        agreement = Agreement.empty(self.card.num_classes)
        for expected, found, margin in zip(self.maps, maps, self.margins, strict=True):
            agreement.update(expected, found, margin)
        counting = agreement.counting_classes()
        return Gate(
            kind=self.frames.kind,
            frames=len(maps),
            agreement=agreement.confident_share(),
            class_agreement={self.card.classes[i]: float(agreement.class_iou()[i]) for i in counting},
        )

    def _on_labels(self, matrices: tuple[ConfusionMatrix, ...]) -> Gate:
        drop, interval = paired_drop(self.float_matrices, matrices)
        before, after = _total(self.float_matrices), _total(matrices)
        lost = before.class_iou() - after.class_iou()
        counting = np.flatnonzero((before.class_share() > RARE) & np.isfinite(lost))
        return Gate(
            kind="labels",
            frames=len(matrices),
            float_miou=before.miou(),
            miou=after.miou(),
            drop=drop,
            drop_ci95=interval,
            class_drop={self.card.classes[i]: float(lost[i]) for i in counting},
        )

    def _matrices(self, maps: tuple[UInt8, ...]) -> tuple[ConfusionMatrix, ...]:
        matrices = []
        for class_map, label in zip(maps, self.frames.labels, strict=False):
            matrix = ConfusionMatrix.empty(self.card.num_classes)
            height, width = label.shape
            matrix.update(restore_class_map(class_map, (height, width), self.card.preprocess.resize), label)
            matrices.append(matrix)
        return tuple(matrices)


def verdict_of(gate: Gate, recipe: BuildRecipe) -> tuple[Verdict, str]:
    """The verdict on a gate's figures, and a sentence that gives the reason."""
    if gate.kind == "none":
        return "unmeasured", "there were no frames to judge on"
    if gate.kind == "labels":
        return _verdict_on_labels(gate, recipe)
    share = gate.agreement if gate.agreement is not None else 0.0
    worst = min(gate.class_agreement.items(), key=lambda item: item[1], default=("", 1.0))
    if share < Agreement.LEAST_SHARE:
        return "fail", f"{100 * share:.2f} % of confident pixels agree, {100 * Agreement.LEAST_SHARE:g} % are needed"
    if worst[1] < Agreement.LEAST_IOU:
        return "fail", f"'{worst[0]}' has IoU {worst[1]:.3f} against float, {Agreement.LEAST_IOU:g} is needed"
    return "pass", f"{100 * share:.2f} % of confident pixels agree"


def _verdict_on_labels(gate: Gate, recipe: BuildRecipe) -> tuple[Verdict, str]:
    limit = MAX_DROP if recipe.max_drop is None else recipe.max_drop
    class_limit = MAX_CLASS_DROP if recipe.max_class_drop is None else recipe.max_class_drop
    drop = 100 * (gate.drop if gate.drop is not None else float("inf"))
    name, lost = max(gate.class_drop.items(), key=lambda item: item[1], default=("", float("-inf")))
    if not drop <= limit:
        return "fail", f"mIoU drops by {drop:.2f} points, {limit:g} are allowed"
    if 100 * lost > class_limit:
        return "fail", f"'{name}' drops by {100 * lost:.2f} points, {class_limit:g} are allowed"
    return "pass", f"mIoU drops by {drop:.2f} points"


def _answer(session: Session, frame: UInt8) -> UInt8:
    return session.infer(frame)[0].astype(np.uint8, copy=False)


def _total(matrices: tuple[ConfusionMatrix, ...]) -> ConfusionMatrix:
    total = matrices[0]
    for matrix in matrices[1:]:
        total = total + matrix
    return total


def _fit(frame: UInt8, card: Card) -> UInt8:
    channels = len(card.preprocess.pixel_format)
    out = np.empty((1, *_size(card), channels), np.uint8)
    frame_for_card(frame, card.preprocess, out[0])
    return out


def _size(card: Card) -> tuple[int, int]:
    if card.size_hw is None:
        raise UsageError("The graph's size is not fixed.")
    return card.size_hw
