"""The judge: float32's answers to the gate's frames, taken once, and how an engine's compare with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.backends import Backend, Engine, Session
from edgeseg.build.gate import GateFrames, LabelledPairs, golden_scene
from edgeseg.build.report import Gate
from edgeseg.card import Card
from edgeseg.errors import MissingDependency
from edgeseg.evaluate import (
    Agreement,
    ConfusionMatrix,
    class_maps,
    confident_pixels,
    evaluate_frames,
    labels_fit,
    miou_drop,
)
from edgeseg.labels import VOID

__all__ = ["FloatAnswers", "Judge", "ask_float", "golden_answer"]

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FloatAnswers:
    """What float32 answers to the frames of a gate.

    Attributes:
        golden: Class map of the golden scene, `(h, w)`, void where float is not confident.
        matrices: Of each labelled frame; empty where there are no labels.
        maps: Class map of each other frame, `(h, w)`, void where only padding is.
        confident: Where float is confident in them, as `np.packbits` packs it.
    """

    golden: UInt8
    matrices: tuple[ConfusionMatrix, ...] = ()
    maps: tuple[UInt8, ...] = ()
    confident: tuple[UInt8, ...] = ()


def ask_float(backend: Backend, engine: Engine, frames: GateFrames) -> FloatAnswers:
    """The answers of a float32 engine.

    Raises:
        MissingDependency: It can't run here.
    """
    if obstacle := backend.obstacle():
        raise MissingDependency(
            f"Engines are judged by float32, and {backend.name} can't run here: {obstacle}.",
            hint="Install ONNX Runtime: pip install 'edgeseg[onnxruntime]'",
        )
    with backend.load(engine) as session, backend.load(engine, "logits") as logits:
        golden = golden_answer(session, logits)
        if frames.labelled is not None:
            return FloatAnswers(golden, matrices=tuple(evaluate_frames(session, frames.labelled)))
        maps = tuple(class_maps(session, frames.frames()))
        sure = confident_pixels(logits, frames.frames())
        return FloatAnswers(golden, maps=maps, confident=tuple(np.packbits(one, axis=None) for one in sure))


def golden_answer(session: Session, logits: Session) -> UInt8:
    """A float engine's class map of the golden scene, void where it is not confident.

    Args:
        session: The engine, opened for class maps.
        logits: The same, opened for logits.
    """
    scene = golden_scene(session.card)
    (answer,), (sure,) = class_maps(session, [scene]), confident_pixels(logits, [scene])
    return np.where(sure, answer, np.uint8(VOID))


class Judge:
    """Compares engines with the float one.

    Raises:
        UsageError: The labels are of another class set.

    Args:
        frames: To judge on.
        answers: Float's to them.
        card: Has the classes.
        counting_share: A class gates by itself with more than this share of the pixels, 0 to 1.
    """

    def __init__(self, frames: GateFrames, answers: FloatAnswers, card: Card, *, counting_share: float) -> None:
        self.frames, self.answers, self.card, self._counting_share = frames, answers, card, counting_share
        if frames.labelled is not None:
            labels_fit(sum(answers.matrices, ConfusionMatrix.empty(card.num_classes)), card.classes)

    def gate(self, session: Session) -> Gate:
        """How one engine compares with float on all frames."""
        if self.frames.labelled is not None:
            return self._on_labels(session, self.frames.labelled)
        if self.frames.kind == "none":
            return Gate(kind="none", frames=0)
        agreement = Agreement.empty(self.card.num_classes)
        for expected, found, confident in zip(
            self.answers.maps, class_maps(session, self.frames.frames()), self.answers.confident, strict=True
        ):
            sure = np.unpackbits(confident, count=expected.size).reshape(expected.shape)
            agreement.update(expected, found, sure.astype(np.bool_))
        counting = agreement.class_iou(self._counting_share)
        return Gate(
            kind=self.frames.kind,
            frames=agreement.frames,
            agreement=agreement.confident_share() if agreement.confident.counts.any() else None,
            agreement_ci95=agreement.confident_ci95(),
            confident=agreement.confident_part(),
            class_agreement=self._by_class(counting),
            small_class_agreement=self._by_class(np.where(np.isnan(counting), agreement.class_iou(0), np.nan)),
        )

    def _on_labels(self, session: Session, labelled: LabelledPairs) -> Gate:
        found = miou_drop(
            self.answers.matrices, tuple(evaluate_frames(session, labelled)), counting_share=self._counting_share
        )
        return Gate(
            kind="labels",
            frames=found.frames,
            float_miou=found.float_miou,
            miou=found.miou,
            drop=found.drop,
            drop_ci95=found.drop_ci95,
            class_drop=self._by_class(found.class_drop),
            small_class_drop=self._by_class(found.small_class_drop),
        )

    def _by_class(self, values: npt.NDArray[np.float64]) -> dict[str, float]:
        return {name: float(value) for name, value in zip(self.card.classes, values, strict=True) if np.isfinite(value)}
