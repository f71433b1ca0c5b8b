"""Which frames are worst, and what is shown of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("onnx")

from edgeseg.backends import open_backend
from edgeseg.bench.explain import answered, frame_figures, samples
from edgeseg.bench.strips import draw_strip
from edgeseg.bench.worst import disagreement, label_loss, precision_words, show_frames, worst_first
from edgeseg.data.labelled import open_labelled
from edgeseg.evaluate import ConfusionMatrix, evaluate_frames
from edgeseg.labels import LabelSet
from tests.engines import TINY_CARD, tiny_engine
from tests.train.scenes import write_scenes


@pytest.mark.parametrize(
    ("loss", "most", "expected"),
    [
        pytest.param([0.1, 0.3, 0.2], 2, [1, 2], id="the largest first, and no more than asked for"),
        pytest.param([0.2, 0.3, 0.2, 0.3], 9, [1, 3, 0, 2], id="ties in the frames' order"),
        pytest.param([None, -0.1, 0.0], 3, [2, 1, 0], id="a frame without any label comes last, behind gains"),
        pytest.param([], 3, [], id="no frame"),
    ],
)
def test_frames_are_ordered_by_their_loss(loss: list[float | None], most: int, expected: list[int]) -> None:
    assert worst_first(loss, most) == expected


def test_the_loss_is_of_right_pixels_over_labelled_ones() -> None:
    first = [ConfusionMatrix(np.array(rows)) for rows in ([[8, 2], [0, 10]], [[5, 5], [0, 0]], [[0, 0], [0, 0]])]
    second = [ConfusionMatrix(np.array(rows)) for rows in ([[4, 6], [0, 10]], [[9, 1], [0, 0]], [[0, 0], [0, 0]])]
    assert label_loss(first, second) == [(18 - 14) / 20, (5 - 9) / 10, None]


@pytest.mark.parametrize("labelled", [True, False], ids=["labelled", "without labels"])
def test_frames_are_shown_in_the_order_asked_for_with_their_strips(labelled: bool, tmp_path: Path) -> None:
    """Engines of other sizes answer otherwise along edges."""
    engines = [tiny_engine(tmp_path, "fake", name=str(hw), size_hw=hw) for hw in ((32, 48), (20, 24))]
    data = open_labelled(write_scenes(tmp_path / "data", 4, seed=1), 4)
    frames = data if labelled else [one._replace(label=None) for one in samples(data)]
    drawn: dict[str, bytes] = {}
    with open_backend("fake").load(engines[0]) as first, open_backend("fake").load(engines[1]) as second:
        found = show_frames(first, second, frames, [3, 0, 2], drawn.__setitem__)
        silent = show_frames(first, second, frames, [3, 0, 2], None)
        expected = dict(enumerate(answered(first, second, samples(frames))))
        if labelled:
            loss = label_loss(*(list(evaluate_frames(one, data)) for one in (first, second)))
        else:
            loss = disagreement(first, second, samples(frames))
    assert [(one.index, one.picture) for one in found] == [
        (3, "worst-01.png"),
        (0, "worst-02.png"),
        (2, "worst-03.png"),
    ]
    assert [(one.index, one.picture) for one in silent] == [(3, None), (0, None), (2, None)]
    assert sorted(drawn) == [one.picture for one in found]
    for one in found:
        shown = expected[one.index]
        assert one.name == str(data.pairs[one.index][0])
        assert one.figures == frame_figures(shown.label, shown.a, shown.b)
        strip = cv2.imdecode(np.frombuffer(drawn[one.picture or ""], np.uint8), cv2.IMREAD_COLOR)
        labels = LabelSet(TINY_CARD.classes, TINY_CARD.palette)
        assert np.array_equal(strip, draw_strip(shown, one.figures, labels, ("fake fp32", "fake fp32")))
        figures = one.figures
        lost = figures.lost - figures.gained if labelled else 1 - figures.equal  # type: ignore[operator]
        assert loss[one.index] == pytest.approx(lost)
        assert figures.equal is not None and figures.equal < 1


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        pytest.param("float", "bf16", id="a float engine has no dialect"),
        pytest.param("s8-sym", "bf16 s8-sym", id="others name it"),
    ],
)
def test_precision_is_said_with_its_dialect(dialect: str, expected: str) -> None:
    assert precision_words("bf16", dialect) == expected  # type: ignore[arg-type]
