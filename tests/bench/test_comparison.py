"""Two engines side by side."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.backends import Engine, open_backend
from edgeseg.bench import compare_engines
from edgeseg.bench.comparison_report import comparison_markdown
from edgeseg.data.calibration import NamedFrame
from edgeseg.data.labelled import LabelledFrames, open_labelled
from edgeseg.errors import UsageError
from edgeseg.evaluate import ConfusionMatrix, evaluate_frames, miou_drop
from edgeseg.evaluate.drop import COUNTING_SHARE
from edgeseg.labels import VOID
from tests.engines import NAMES, tiny_engine
from tests.half_right import engine_labels
from tests.train.scenes import write_scenes


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Engine]:
    """A real network, and the fake one, which answers otherwise."""
    folder = tmp_path_factory.mktemp("engines")
    return tiny_engine(folder), tiny_engine(folder, "fake")


@pytest.fixture(scope="module")
def labelled(pair: tuple[Engine, Engine], tmp_path_factory: pytest.TempPathFactory) -> LabelledFrames:
    """Scenes of three large classes, and a few pixels of the fourth in one of them."""
    folder = write_scenes(tmp_path_factory.mktemp("data"), 4, seed=3)
    engine_labels(folder, pair[0])
    path = folder / "masks" / "002.png"
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    mask[40:43, 60:63] = 3
    cv2.imwrite(str(path), mask)
    return open_labelled(folder, len(NAMES))


@pytest.fixture(scope="module")
def scores(pair: tuple[Engine, Engine], labelled: LabelledFrames) -> list[list[ConfusionMatrix]]:
    """One confusion matrix per frame, of both engines."""
    found = []
    for engine in pair:
        with open_backend(engine.card.backend).load(engine) as session:
            found.append(list(evaluate_frames(session, labelled)))
    return found


def test_labels_give_scores_and_their_drop(
    pair: tuple[Engine, Engine], labelled: LabelledFrames, scores: list[list[ConfusionMatrix]]
) -> None:
    found = compare_engines(("a", pair[0]), ("b", pair[1]), labelled, seconds=0)
    expected = miou_drop(*scores)
    assert found.frames == 4
    assert (found.a.miou, found.b.miou) == (expected.float_miou, expected.miou)
    assert found.drop is not None
    assert (found.drop.drop, found.drop.drop_ci95) == (expected.drop, expected.drop_ci95)
    assert set(found.a.class_iou) == set(NAMES)
    assert found.speed_ratio == pytest.approx(
        (found.a.speed.percentiles_ms["50"] or 0) / (found.b.speed.percentiles_ms["50"] or 1)
    )


def test_every_class_has_its_share_and_its_drop_and_rare_ones_stand_apart(
    pair: tuple[Engine, Engine], labelled: LabelledFrames
) -> None:
    found = compare_engines(("a", pair[0]), ("b", pair[1]), labelled, seconds=0)
    labels = np.concatenate([label.ravel() for _, label in labelled])
    shares = {name: np.mean(labels[labels != VOID] == index) for index, name in enumerate(NAMES)}
    assert found.drop is not None
    assert found.drop.class_share == pytest.approx(shares)
    assert {name: share > COUNTING_SHARE for name, share in shares.items()} == {
        **dict.fromkeys(found.drop.class_drop, True),
        **dict.fromkeys(found.drop.small_class_drop, False),
    }
    assert "sky" in found.drop.small_class_drop and found.drop.class_drop
    for name, drop in {**found.drop.class_drop, **found.drop.small_class_drop}.items():
        assert drop == (found.a.class_iou[name] or 0) - (found.b.class_iou[name] or 0)


def test_the_confusions_that_grew_are_those_of_the_summed_matrices(
    pair: tuple[Engine, Engine], labelled: LabelledFrames, scores: list[list[ConfusionMatrix]]
) -> None:
    found = compare_engines(("a", pair[0]), ("b", pair[1]), labelled, seconds=0)
    first, second = (sum(one.counts for one in matrices) for matrices in scores)
    grown = {(i, j): int(second[i, j] - first[i, j]) for i, j in product(range(4), repeat=2) if i != j}
    assert found.reference == "labels"
    assert {(one.expected, one.found): one.pixels_b - one.pixels_a for one in found.confusions} == {
        (NAMES[i], NAMES[j]): growth for (i, j), growth in grown.items() if growth > 0
    }
    for one in found.confusions:
        growth, of_class = one.pixels_b - one.pixels_a, first[NAMES.index(one.expected)].sum()
        assert (one.share_of_class, one.share_of_all) == (growth / of_class, growth / first.sum())


def test_the_worst_frames_are_those_with_the_largest_loss(
    pair: tuple[Engine, Engine], labelled: LabelledFrames, scores: list[list[ConfusionMatrix]]
) -> None:
    strips: dict[str, bytes] = {}
    found = compare_engines(("a", pair[0]), ("b", pair[1]), labelled, seconds=0, worst=3, on_picture=strips.__setitem__)
    right = [[one.pixel_accuracy() for one in matrices] for matrices in scores]
    order = sorted(range(4), key=lambda index: right[1][index] - right[0][index])
    assert [one.index for one in found.worst] == order[:3]
    for one in found.worst:
        assert one.name == str(labelled.pairs[one.index][0])
        assert (one.figures.right_a, one.figures.right_b) == (right[0][one.index], right[1][one.index])
    assert sorted(strips) == [one.picture for one in found.worst]


def test_without_labels_there_is_agreement_and_no_accuracy(pair: tuple[Engine, Engine]) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3)).astype(np.uint8)
    frames = [NamedFrame(f"frame {index}", picture) for index, picture in enumerate(pictures)]
    found = compare_engines(("a", pair[0]), ("b", pair[1]), frames, seconds=0)
    assert (found.a.miou, found.a.class_iou, found.drop) == (None, {}, None)
    assert found.agreement.share is not None
    assert found.agreement.share < 0.9
    assert not found.agreement.passes
    assert found.reference == "a"
    assert sum(one.share_of_all for one in found.confusions) <= 1 - found.agreement.share + 1e-9
    assert all(one.pixels_a == 0 < one.pixels_b for one in found.confusions)
    equal = [one.figures.equal or 0.0 for one in found.worst]
    assert equal == sorted(equal) and np.mean(equal) == pytest.approx(found.agreement.share)
    assert all(one.figures.lost is one.picture is None for one in found.worst)


def test_an_engine_compared_with_itself_agrees(pair: tuple[Engine, Engine]) -> None:
    frames = [NamedFrame(str(value), np.full((40, 60, 3), value, np.uint8)) for value in (0, 90, 255)]
    found = compare_engines(("a", pair[0]), ("b", pair[0]), frames, seconds=0)
    assert found.agreement.share == found.agreement.confident_share == 1
    assert found.agreement.passes
    assert (found.confusions, found.warnings) == ((), ())


def test_engines_that_differ_in_more_than_precision_are_warned_of(pair: tuple[Engine, Engine], tmp_path: Path) -> None:
    other = tiny_engine(tmp_path, size_hw=(48, 64))
    frames = [NamedFrame("one", np.full((40, 60, 3), 90, np.uint8))]
    (warning,) = compare_engines(("a", pair[0]), ("b", other), frames, seconds=0).warnings
    assert "input size (32x48 and 48x64)" in warning


def test_names_cannot_break_the_tables(tmp_path: Path, labelled: LabelledFrames) -> None:
    engine = tiny_engine(tmp_path, classes=("a|b", *NAMES[1:]))
    text = comparison_markdown(compare_engines(("one\n|", engine), ("two", engine), labelled, seconds=0))
    assert "A: one \\|" in text and "\n| a\\|b |" in text


def test_progress_rises_to_the_end(pair: tuple[Engine, Engine], labelled: LabelledFrames) -> None:
    told: list[float] = []
    compare_engines(
        ("a", pair[0]), ("b", pair[1]), labelled, seconds=0, on_progress=lambda share, _: told.append(share)
    )
    assert told == sorted(told) and told[0] == 0 and told[-1] <= 1 and len(set(told)) > 2 * len(labelled)


@pytest.mark.parametrize("empty", [[], LabelledFrames((), 4)], ids=["frames", "labelled frames"])
def test_no_frames_are_refused(pair: tuple[Engine, Engine], empty: list[NamedFrame] | LabelledFrames) -> None:
    with pytest.raises(UsageError, match="no frames to compare on"):
        compare_engines(("a", pair[0]), ("b", pair[1]), empty, seconds=0)
