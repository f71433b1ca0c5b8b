"""Confusion matrices against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("cv2")

from edgeseg.errors import UsageError
from edgeseg.evaluate import ConfusionMatrix
from edgeseg.labels import VOID

CLASSES = 5
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9)


@st.composite
def maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a label of one shape; the label may hold void and may leave classes out."""
    shape = draw(SHAPES)
    prediction = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, CLASSES - 1)))
    label = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, CLASSES - 1, VOID])))
    return prediction, label


def counted(pairs: list[tuple[np.ndarray, np.ndarray]]) -> ConfusionMatrix:
    matrix = ConfusionMatrix.empty(CLASSES)
    for prediction, label in pairs:
        matrix.update(prediction, label)
    return matrix


def iou_by_sets(pairs: list[tuple[np.ndarray, np.ndarray]], index: int) -> float:
    """Intersection over union of one class, pixel by pixel."""
    truth, guess = set(), set()
    for frame, (prediction, label) in enumerate(pairs):
        for place in np.ndindex(label.shape):
            if label[place] != VOID:
                truth |= {(frame, place)} if label[place] == index else set()
                guess |= {(frame, place)} if prediction[place] == index else set()
    return len(truth & guess) / len(truth | guess) if truth | guess else math.nan


@given(st.lists(maps(), max_size=3))
def test_scores_are_those_of_pixel_sets(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    matrix, expected = counted(pairs), [iou_by_sets(pairs, index) for index in range(CLASSES)]
    assert matrix.class_iou() == pytest.approx(expected, nan_ok=True)
    labelled = {int(label) for _, mask in pairs for label in mask.flat if label != VOID}
    mean = sum(expected[index] for index in labelled) / len(labelled) if labelled else math.nan
    assert matrix.miou() == pytest.approx(mean, nan_ok=True)
    scored = [
        (p == t) for prediction, label in pairs for p, t in zip(prediction.flat, label.flat, strict=True) if t != VOID
    ]
    accuracy = sum(scored) / len(scored) if scored else math.nan
    assert matrix.pixel_accuracy() == pytest.approx(accuracy, nan_ok=True)


@given(st.lists(maps(), max_size=4), st.integers(0, 4))
def test_merged_matrices_are_those_of_all_frames(pairs: list[tuple[np.ndarray, np.ndarray]], split: int) -> None:
    merged = counted(pairs[:split]) + counted(pairs[split:])
    assert (merged.counts == counted(pairs).counts).all()


def test_the_score_is_of_the_whole_set_not_a_mean_over_frames() -> None:
    small, large = np.zeros((1, 1), np.uint8), np.zeros((3, 3), np.uint8)
    matrix = counted([(small, small), (large, np.ones((3, 3), np.uint8))])
    assert matrix.class_iou()[0] == pytest.approx(1 / 10)


def test_a_class_that_is_only_predicted_has_no_part_in_the_mean() -> None:
    prediction = np.array([[0, 1]], np.uint8)
    matrix = counted([(prediction, np.zeros((1, 2), np.uint8))])
    assert matrix.class_iou()[:2].tolist() == [0.5, 0.0]
    assert np.isnan(matrix.class_iou()[2:]).all()
    assert matrix.miou() == 0.5


def test_shares_are_of_the_labelled_pixels() -> None:
    label = np.array([[0, 0, 1, VOID]], np.uint8)
    assert counted([(label % CLASSES, label)]).class_share().tolist() == [2 / 3, 1 / 3, 0, 0, 0]


@pytest.mark.parametrize(
    ("prediction", "label", "said"),
    [
        pytest.param(np.zeros((2, 3)), np.zeros((3, 2)), r"\(2, 3\), the label \(3, 2\)", id="other shapes"),
        pytest.param(np.zeros((1, 1)), np.full((1, 1), CLASSES), "class 5, but there are 5", id="a label too high"),
        pytest.param(np.full((1, 1), VOID), np.zeros((1, 1)), "class 255", id="a prediction of void"),
    ],
)
def test_what_cannot_be_counted_is_refused(prediction: np.ndarray, label: np.ndarray, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        counted([(prediction.astype(np.uint8), label.astype(np.uint8))])
