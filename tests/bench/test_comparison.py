"""Two engines side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.backends import Engine, open_backend
from edgeseg.bench import compare_engines
from edgeseg.data.labelled import open_labelled
from edgeseg.errors import UsageError
from edgeseg.evaluate import evaluate_frames, miou_drop
from tests.engines import NAMES, tiny_engine
from tests.train.scenes import write_scenes


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Engine]:
    """A real network, and the fake one, which answers otherwise."""
    folder = tmp_path_factory.mktemp("engines")
    return tiny_engine(folder), tiny_engine(folder, "fake")


def test_labels_give_scores_and_their_drop(pair: tuple[Engine, Engine], tmp_path: Path) -> None:
    labelled = open_labelled(write_scenes(tmp_path, 4, seed=3), 4)
    a, b = pair
    found = compare_engines(("a", a), ("b", b), (frame for frame, _ in labelled), labelled=labelled, seconds=0)
    scores = []
    for engine in pair:
        with open_backend(engine.card.backend).load(engine) as session:
            scores.append(list(evaluate_frames(session, labelled)))
    expected = miou_drop(*scores)
    assert found.frames == 4
    assert (found.a.miou, found.b.miou) == (expected.float_miou, expected.miou)
    assert found.drop is not None
    assert (found.drop.drop, found.drop.drop_ci95) == (expected.drop, expected.drop_ci95)
    assert set(found.a.class_iou) == set(NAMES)
    assert found.speed_ratio == pytest.approx(
        (found.a.speed.percentiles_ms["50"] or 0) / (found.b.speed.percentiles_ms["50"] or 1)
    )


def test_without_labels_there_is_agreement_and_no_accuracy(pair: tuple[Engine, Engine]) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3)).astype(np.uint8))
    found = compare_engines(("a", pair[0]), ("b", pair[1]), frames, seconds=0)
    assert (found.a.miou, found.a.class_iou, found.drop) == (None, {}, None)
    assert found.agreement.share is not None
    assert found.agreement.share < 0.9
    assert not found.agreement.passes


def test_an_engine_compared_with_itself_agrees(pair: tuple[Engine, Engine]) -> None:
    frames = [np.full((40, 60, 3), value, np.uint8) for value in (0, 90, 255)]
    found = compare_engines(("a", pair[0]), ("b", pair[0]), frames, seconds=0)
    assert found.agreement.share == found.agreement.confident_share == 1
    assert found.agreement.passes


@pytest.mark.parametrize("empty", [[], ()])
def test_no_frames_are_refused(pair: tuple[Engine, Engine], empty: list[np.ndarray]) -> None:
    with pytest.raises(UsageError, match="no frames to compare on"):
        compare_engines(("a", pair[0]), ("b", pair[1]), empty, seconds=0)
