"""The drop between two engines: its value, its interval, and the verdict."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2")

from edgeseg.errors import UsageError
from edgeseg.evaluate import ConfusionMatrix, miou_drop

CLASSES = 3


def frames(count: int, errors: float, *, seed: int = 0, rare: float = 0.3) -> list[ConfusionMatrix]:
    """Matrices of frames of 10 000 pixels, of which a share is wrong; the last class has a share of `rare`."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        shares = np.array([(1 - rare) / 2, (1 - rare) / 2, rare])
        totals = rng.multinomial(10_000, shares)
        counts = np.diag(totals)
        for index, total in enumerate(totals):
            wrong = rng.binomial(total, errors)
            counts[index, index] -= wrong
            counts[index, (index + 1) % CLASSES] += wrong
        made.append(ConfusionMatrix(counts.astype(np.int64)))
    return made


def test_the_drop_is_the_difference_of_the_scores_of_the_whole_set() -> None:
    reference, other = frames(20, 0.05), frames(20, 0.10, seed=1)
    drop = miou_drop(reference, other)
    first, second = (sum(each, ConfusionMatrix.empty(CLASSES)) for each in (reference, other))
    assert (drop.float_miou, drop.miou) == (first.miou(), second.miou())
    assert drop.drop == first.miou() - second.miou()
    assert drop.class_drop == pytest.approx(first.class_iou() - second.class_iou())
    assert drop.frames == 20


def test_the_interval_holds_the_drop_and_narrows_with_more_frames() -> None:
    widths = []
    for count in (9, 144):
        drop = miou_drop(frames(count, 0.05), frames(count, 0.10, seed=1))
        assert drop.drop_ci95 is not None
        low, high = drop.drop_ci95
        assert low < drop.drop < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_interval_covers_the_true_drop_as_often_as_it_says() -> None:
    """Of 200 data sets drawn from one law, about 95 % have an interval that holds the drop of the law."""
    truth = miou_drop(frames(4000, 0.05), frames(4000, 0.08, seed=1), resamples=1).drop
    held = 0
    for seed in range(200):
        found = miou_drop(frames(40, 0.05, seed=seed), frames(40, 0.08, seed=seed + 1000), resamples=200)
        assert found.drop_ci95 is not None
        held += found.drop_ci95[0] <= truth <= found.drop_ci95[1]
    assert held >= 170


def test_equal_engines_have_no_drop_and_no_width() -> None:
    same = frames(10, 0.05)
    drop = miou_drop(same, same)
    assert drop.drop == 0
    assert drop.drop_ci95 == (0, 0)


def test_the_interval_is_the_same_each_time() -> None:
    reference, other = frames(12, 0.05), frames(12, 0.10, seed=1)
    assert miou_drop(reference, other).drop_ci95 == miou_drop(reference, other).drop_ci95
    assert miou_drop(reference, other, seed=1).drop_ci95 != miou_drop(reference, other).drop_ci95


def test_pairing_cancels_what_both_engines_find_hard() -> None:
    """Frames differ far more than the engines do; the interval is that of the engines' difference."""
    rng = np.random.default_rng(0)
    reference, other = [], []
    for index in range(30):
        share = rng.uniform(0.05, 0.4)
        reference += frames(1, share, seed=index)
        other += [ConfusionMatrix(reference[-1].counts + 0)]
        moved = other[-1].counts[0, 0] // 50
        other[-1].counts[0, 0] -= moved
        other[-1].counts[0, 1] += moved
    paired = miou_drop(reference, other).drop_ci95
    unpaired = miou_drop(reference, other[1:] + other[:1]).drop_ci95
    assert paired is not None
    assert unpaired is not None
    assert paired[0] > 0
    assert paired[1] - paired[0] < (unpaired[1] - unpaired[0]) / 2


def test_one_frame_has_no_interval() -> None:
    assert miou_drop(frames(1, 0.1), frames(1, 0.2)).drop_ci95 is None


def test_a_class_of_one_percent_or_less_does_not_count() -> None:
    reference, other = frames(5, 0.0, rare=0.005), frames(5, 0.0, rare=0.005)
    for matrix in other:
        matrix.counts[2] = [matrix.counts[2].sum(), 0, 0]
    drop = miou_drop(reference, other)
    assert np.isnan(drop.class_drop[2])
    assert drop.class_drop[:2] == pytest.approx([0.0, 0.0], abs=0.02)
    assert drop.drop > 0.3


@pytest.mark.parametrize(
    ("reference", "other", "said"),
    [
        pytest.param([], [], "0 and 0 frames", id="no frames"),
        pytest.param(frames(3, 0.1), frames(2, 0.1), "3 and 2 frames", id="not the same frames"),
        pytest.param([ConfusionMatrix.empty(2)], [ConfusionMatrix.empty(2)], "all are void", id="no labelled pixel"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    reference: list[ConfusionMatrix], other: list[ConfusionMatrix], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        miou_drop(reference, other)


@pytest.mark.parametrize(
    ("share", "counts"),
    [(0.01, False), (0.001, True), (0.0, True)],
    ids=["below one per cent it is told apart", "with a lower limit it counts", "with none every class counts"],
)
def test_a_small_class_is_reported_either_way(share: float, counts: bool) -> None:
    rare = 0.005
    drop = miou_drop(frames(9, 0.05, rare=rare), frames(9, 0.3, seed=1, rare=rare), counting_share=share)
    assert np.isfinite(drop.class_drop).tolist() == [True, True, counts]
    assert np.isfinite(drop.small_class_drop).tolist() == [False, False, not counts]
    told = drop.class_drop[2] if counts else drop.small_class_drop[2]
    assert told > 0.1


@pytest.mark.parametrize("stray", ["reference", "other"])
def test_a_stray_pixel_of_a_class_without_labels_changes_next_to_nothing(stray: str) -> None:
    """Partial labels: two classes are labelled, and one engine once answers a third."""
    reference, other = frames(9, 0.02, rare=0), frames(9, 0.04, seed=1, rare=0)
    plain = miou_drop(reference, other)
    for matrix in reference if stray == "reference" else other:
        matrix.counts[0, 0] -= 1
        matrix.counts[0, 2] += 1
    drop = miou_drop(reference, other)
    assert drop.drop == pytest.approx(plain.drop, abs=1e-3)
    assert drop.drop_ci95 == pytest.approx(plain.drop_ci95, abs=2e-3)
