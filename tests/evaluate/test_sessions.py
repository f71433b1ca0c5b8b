"""Sessions on frames of any size, scored at the label's resolution, one by one and in batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.backends import Engine, open_backend
from edgeseg.card import Preprocess, Resize
from edgeseg.data.resize import resize_frame, restore_class_map
from edgeseg.errors import UsageError
from edgeseg.evaluate import (
    ConfusionMatrix,
    class_maps,
    confident_pixels,
    evaluate_frames,
    evaluate_session,
    measure_agreement,
)
from edgeseg.labels import VOID
from tests.engines import tiny_engine
from tests.graphs import CLASSES

SIZES = ((32, 48), (61, 90), (40, 40))


def frames(count: int = 3) -> list[np.ndarray]:
    """Smooth random frames of several sizes, BGR."""
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 256, (5, 7, 3)).astype(np.uint8) for _ in range(count)]
    return [cv2.resize(image, SIZES[index % 3][::-1]) for index, image in enumerate(small)]


def labelled(count: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    choice = np.array([0, 1, 2, 3, VOID], np.uint8)
    return [(frame, choice[rng.integers(0, 5, frame.shape[:2])]) for frame in frames(count)]


def opened(engine: Engine, output: Any = "class_map") -> Any:
    return open_backend(engine.card.backend).load(engine, output)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return tiny_engine(tmp_path_factory.mktemp("engine"))


def test_the_score_is_that_of_restored_class_maps(engine: Engine) -> None:
    expected = ConfusionMatrix.empty(CLASSES)
    with opened(engine) as session:
        for frame, label in labelled():
            answer = session.infer(resize_frame(frame, (32, 48), Resize())[None])[0]
            expected.update(restore_class_map(answer, label.shape, Resize()), label)
        found = evaluate_session(session, labelled())
        per_frame = list(evaluate_frames(session, labelled()))
    assert (found.counts == expected.counts).all()
    assert len(per_frame) == 3
    assert sum(matrix.counts.sum() for matrix in per_frame) == sum((label != VOID).sum() for _, label in labelled())


@pytest.mark.parametrize("batch", [2, 4])
def test_a_batch_engine_gives_the_same_score(engine: Engine, tmp_path: Path, batch: int) -> None:
    with opened(engine) as one, opened(tiny_engine(tmp_path, batch=batch)) as many:
        single, grouped = evaluate_session(one, labelled(5)), evaluate_session(many, labelled(5))
    assert (single.counts == grouped.counts).all()


def test_pixels_that_a_crop_cuts_off_are_left_out(tmp_path: Path) -> None:
    cropping = tiny_engine(tmp_path, preprocess=Preprocess(std=(1.0, 1.0, 1.0), resize=Resize("crop")))
    frame, label = np.zeros((32, 96, 3), np.uint8), np.zeros((32, 96), np.uint8)
    with opened(cropping) as session:
        assert evaluate_session(session, [(frame, label)]).counts.sum() == 32 * 48


def test_letterbox_padding_is_no_answer(tmp_path: Path) -> None:
    padding = tiny_engine(tmp_path, preprocess=Preprocess(std=(1.0, 1.0, 1.0), resize=Resize("letterbox")))
    wide = np.zeros((32, 96, 3), np.uint8)
    with opened(padding) as session, opened(padding, "logits") as logits:
        assert next(class_maps(session, [wide])).shape == (16, 48)
        assert next(confident_pixels(logits, [wide])).shape == (16, 48)


def test_labels_of_another_size_than_classes_are_refused(engine: Engine) -> None:
    with opened(engine) as session, pytest.raises(UsageError, match="class 9"):
        evaluate_session(session, [(frames()[0], np.full((32, 48), 9, np.uint8))])


def test_an_engine_agrees_with_itself(engine: Engine) -> None:
    with opened(engine) as one, opened(engine, "logits") as logits, opened(engine) as other:
        found = measure_agreement(one, logits, other, frames())
    assert found.share() == 1
    assert found.every.counts.sum() == sum(height * width for height, width in SIZES)
    assert 0 < found.confident.counts.sum() < found.every.counts.sum()
    assert found.passes()


def test_other_weights_do_not_agree(engine: Engine, tmp_path: Path) -> None:
    with opened(engine) as one, opened(engine, "logits") as logits, opened(tiny_engine(tmp_path, seed=5)) as other:
        found = measure_agreement(one, logits, other, iter(frames()))
    assert found.confident_share() < 0.9
    assert not found.passes()


def test_engines_of_another_size_are_compared_on_what_both_saw(tmp_path: Path) -> None:
    """The fake backend gives bands of the green channel, so that engines of any size agree on plain frames."""
    pytest.importorskip("onnx")
    square = tiny_engine(
        tmp_path, "fake", size_hw=(40, 40), name="square", preprocess=Preprocess(resize=Resize("crop"))
    )
    wide = tiny_engine(tmp_path, "fake", name="wide")
    frame = np.zeros((60, 90, 3), np.uint8)
    frame[:, 45:, 1] = 255
    with opened(square) as one, opened(square, "logits") as logits, opened(wide) as other:
        found = measure_agreement(one, logits, other, [frame])
    assert found.every.counts.sum() == 60 * 60
    assert found.every.counts[0, 0] == found.every.counts[3, 3] == 60 * 30


def test_engines_of_other_classes_are_not_compared(engine: Engine, tmp_path: Path) -> None:
    renamed = tiny_engine(tmp_path, classes=("a", "b", "c", "d"))
    with opened(engine) as one, opened(renamed) as other, pytest.raises(UsageError, match="classes differ: ground"):
        measure_agreement(one, one, other, frames())


def test_confident_pixels_are_where_the_two_best_softmax_values_differ_by_03(engine: Engine) -> None:
    with opened(engine, "logits") as session:
        for frame, confident in zip(frames(), confident_pixels(session, frames()), strict=True):
            logits = session.infer(resize_frame(frame, (32, 48), Resize())[None])[0]
            powers = np.exp(np.stack([cv2.resize(channel, (48, 32)) for channel in logits]).astype(np.float64))
            ordered = np.sort(powers / powers.sum(0), axis=0)
            assert (confident == (ordered[-1] - ordered[-2] >= 0.3)).mean() > 0.999
