"""Scores of class maps in the order of time."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

from edgeseg.backends.fake import FakeSession
from edgeseg.card import Card, Preprocess, Resize
from edgeseg.evaluate import evaluate_session
from edgeseg.evaluate.sequence import SequenceScore, evaluate_sequence
from edgeseg.labels import VOID, voc_palette

UInt8 = np.ndarray


def session(batch: int, mode: str = "stretch") -> FakeSession:
    """A session whose class is the quarter of the brightness scale that a pixel's green lies in."""
    preprocess = Preprocess(resize=Resize(mode, "nearest"))
    card = Card(
        kind="engine", model="bands", classes=("a", "b", "c", "d"), palette=voc_palette(5)[1:], size_hw=(24, 32),
        batch=batch, preprocess=preprocess,
    )  # fmt: skip
    return FakeSession(card, "class_map")


def sequence(size_hw: tuple[int, int]) -> list[tuple[UInt8, UInt8]]:
    """Frames of one brightness, that change between two classes, and labels that do not."""
    label = np.zeros(size_hw, np.uint8)
    label[0] = VOID
    return [(np.full((*size_hw, 3), 30 + 60 * (number % 2), np.uint8), label) for number in range(7)]


@pytest.mark.parametrize("mode", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("batch", [1, 3])
def test_what_is_not_treated_scores_as_single_frames_do(batch: int, mode: str) -> None:
    frames = sequence((30, 50))
    with session(batch, mode) as engine:
        score = SequenceScore(engine.card)
        labels = list(evaluate_sequence(engine, frames, [score]))
        assert (score.matrix.counts == evaluate_session(engine, frames).counts).all()
    assert len(labels) == 7 and labels[3] is frames[3][1]
    assert score.flicker.score() == 1, "every pixel goes back in every frame"


def test_each_treatment_gets_class_maps_that_no_other_changed() -> None:
    frames, seen = sequence((24, 32)), []

    def spoil(class_map: UInt8, frame: UInt8) -> UInt8:
        seen.append((class_map.copy(), frame))
        class_map[:] = 2
        return class_map

    with session(1) as engine:
        scores = [SequenceScore(engine.card, spoil), SequenceScore(engine.card), SequenceScore(engine.card, spoil)]
        for _ in evaluate_sequence(engine, frames, scores):
            pass
    assert [int(class_map[0, 0]) for class_map, _ in seen[::2]] == [0, 1, 0, 1, 0, 1, 0]
    assert all((class_map == again).all() for (class_map, _), (again, _) in zip(seen[::2], seen[1::2], strict=True))
    assert seen[2][1] is frames[1][0]
    assert [score.matrix.miou() for score in scores] == [0, pytest.approx(4 / 7), 0]
    assert [score.flicker.score() for score in scores] == [0, 1, 0]
