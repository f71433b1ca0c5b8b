"""Where two engines differ: confusions that grew, and pixel by pixel."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

import msgspec

from edgeseg.backends import open_backend
from edgeseg.bench.explain import (
    answered,
    changes,
    differences,
    disagreements,
    frame_figures,
    grown_confusions,
    samples,
)
from edgeseg.card import Card, Preprocess, Resize
from edgeseg.data.calibration import NamedFrame, open_frames
from edgeseg.data.labelled import LabelledFrames, open_labelled
from edgeseg.data.resize import frame_for_card, restore_class_map
from edgeseg.evaluate import ConfusionMatrix
from edgeseg.labels import VOID
from tests.engines import TINY_CARD, tiny_engine
from tests.train.scenes import write_scenes

NAMES = ("sky", "road", "car")


def matrix(*rows: tuple[int, ...]) -> ConfusionMatrix:
    return ConfusionMatrix(np.array(rows, np.int64))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(
            matrix((8, 2, 0), (0, 10, 0), (0, 0, 20)),
            matrix((5, 5, 0), (0, 10, 0), (0, 0, 20)),
            [("sky", "road", 2, 5, 3 / 10, 3 / 40)],
            id="shares are of the class's own pixels and of all",
        ),
        pytest.param(
            matrix((10, 0, 0), (2, 8, 0), (0, 1, 19)),
            matrix((10, 0, 0), (0, 10, 0), (0, 5, 15)),
            [("car", "road", 1, 5, 4 / 20, 4 / 40)],
            id="what shrank is not told, and more right pixels are no confusion",
        ),
        pytest.param(
            matrix((10, 0, 0), (0, 10, 0), (0, 0, 20)),
            matrix((9, 1, 0), (0, 7, 3), (0, 1, 19)),
            [
                ("road", "car", 0, 3, 3 / 10, 3 / 40),
                ("sky", "road", 0, 1, 1 / 10, 1 / 40),
                ("car", "road", 0, 1, 1 / 20, 1 / 40),
            ],
            id="by pixels, ties in the order of the classes",
        ),
        pytest.param(
            matrix((9, 1, 0), (0, 7, 3), (0, 0, 0)), matrix((9, 1, 0), (0, 7, 3), (0, 0, 0)), [], id="nothing changed"
        ),
    ],
)
def test_confusions_are_told_by_their_growth(
    first: ConfusionMatrix, second: ConfusionMatrix, expected: list[tuple[object, ...]]
) -> None:
    found = grown_confusions(first, second, NAMES)
    assert [msgspec.structs.astuple(one) for one in found] == expected


def test_ten_confusions_are_told_at_most() -> None:
    grown = ConfusionMatrix(np.arange(36).reshape(6, 6))
    found = grown_confusions(ConfusionMatrix.empty(6), grown, tuple("abcdef"))
    largest = sorted((grown.counts[i, j] for i, j in product(range(6), repeat=2) if i != j), reverse=True)
    assert [one.pixels_b for one in found] == largest[:10]


def test_without_labels_every_other_answer_is_a_confusion_of_a_class() -> None:
    found = disagreements(matrix((6, 3, 1), (0, 10, 0), (5, 0, 15)), NAMES)
    assert [(one.expected, one.found, one.pixels_a, one.pixels_b) for one in found] == [
        ("car", "sky", 0, 5),
        ("sky", "road", 0, 3),
        ("sky", "car", 0, 1),
    ]
    assert found[0].share_of_class == 5 / 20 and found[0].share_of_all == 5 / 40


@pytest.fixture(scope="module")
def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A label and two answers, all with void pixels."""
    return tuple(np.random.default_rng(0).choice([0, 1, 2, VOID], (3, 12, 17), p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8))


def test_each_pixel_is_of_one_kind(maps: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    found = changes(*maps)
    for at in np.ndindex(maps[0].shape):
        label, a, b = (int(one[at]) for one in maps)
        scored = VOID not in (label, a, b)
        kinds = (scored, a == label != b, b == label != a, len({label, a, b}) == 3)
        assert tuple(bool(mask[at]) for mask in found) == tuple(scored and kind for kind in kinds)


def test_figures_are_shares_of_labelled_pixels_that_both_saw(
    maps: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    pixels = [p for p in zip(*(one.ravel().tolist() for one in maps), strict=True) if VOID not in p[1:]]
    scored = [p for p in pixels if p[0] != VOID]
    found = frame_figures(*maps)
    assert found.equal == sum(a == b for _, a, b in pixels) / len(pixels)
    assert found.right_a == sum(a == label for label, a, _ in scored) / len(scored)
    assert found.right_b == sum(b == label for label, _, b in scored) / len(scored)
    assert found.lost == sum(a == label != b for label, a, b in scored) / len(scored)
    assert found.gained == sum(b == label != a for label, a, b in scored) / len(scored)
    assert found.both_wrong == sum(len({*one}) == 3 for one in scored) / len(scored)
    assert found.right_a - found.right_b == pytest.approx(found.lost - found.gained)


@pytest.mark.parametrize(
    ("label", "a", "equal"),
    [
        pytest.param(None, 1, 1.0, id="without a label"),
        pytest.param(VOID, 1, 1.0, id="where all of the label is void"),
        pytest.param(1, VOID, None, id="where one engine saw nothing"),
    ],
)
def test_there_is_no_accuracy(label: int | None, a: int, equal: float | None) -> None:
    shape = (3, 4)
    labels = None if label is None else np.full(shape, label, np.uint8)
    found = frame_figures(labels, np.full(shape, a, np.uint8), np.ones(shape, np.uint8))
    assert msgspec.to_builtins(found) == {
        "equal": equal, "right_a": None, "right_b": None, "lost": None, "gained": None, "both_wrong": None,
    }  # fmt: skip


def test_samples_of_a_data_set_have_labels_and_only_those_wanted_are_read(tmp_path: Path) -> None:
    labelled = open_labelled(write_scenes(tmp_path, 3, seed=0), 4)
    labelled.pairs[1][0].write_bytes(b"no image")
    found = list(samples(labelled, [2, 0]))
    assert [one.name for one in found] == [str(labelled.pairs[index][0]) for index in (0, 2)]
    for one, index in zip(found, (0, 2), strict=True):
        frame, label = labelled.read(index)
        assert np.array_equal(one.frame, frame)
        assert one.label is not None and np.array_equal(one.label, label)


def test_samples_of_frames_have_names_and_no_label() -> None:
    frames = open_frames("synthetic://?width=64&height=48&frames=3")
    assert [(one.name, one.label) for one in samples(frames)] == [(f"synthetic#{i}", None) for i in range(3)]
    assert [one.name for one in samples(frames, [1])] == ["synthetic#1"]


@pytest.mark.parametrize("mode", ["stretch", "letterbox", "crop"])
def test_answers_come_back_at_the_size_of_each_frame(mode: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    resize = Resize(mode)
    one = tiny_engine(tmp_path, "fake", name="one", preprocess=Preprocess(resize=resize))
    pair = tiny_engine(tmp_path, "fake", name="pair", batch=2, preprocess=Preprocess(resize=resize))
    rng = np.random.default_rng(0)
    sizes = [(48, 64), (70, 29), (32, 48)]
    frames = [NamedFrame(str(size), rng.integers(0, 256, (*size, 3)).astype(np.uint8)) for size in sizes]
    with open_backend("fake").load(one) as first, open_backend("fake").load(pair) as second:
        found = list(answered(first, second, samples(frames)))
        for answer, (name, frame) in zip(found, frames, strict=True):
            buffer = frame_for_card(frame, one.card.preprocess, np.empty((32, 48, 3), np.uint8))
            expected = restore_class_map(first.infer(buffer[None])[0], frame.shape[:2], resize)
            assert answer.name == name and np.array_equal(answer.frame, frame)
            assert np.array_equal(answer.a, expected) and np.array_equal(answer.b, expected)
    assert (found[0].a == VOID).any() == (mode == "crop")


def changed(**fields: object) -> Card:
    return msgspec.structs.replace(TINY_CARD, **fields)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        pytest.param(changed(), [], id="the same"),
        pytest.param(changed(precision="int8", dialect="u8-asym", backend="fake"), [], id="the precision alone"),
        pytest.param(changed(upsample="none"), ["upsample (half and none)"], id="where the best class is picked"),
        pytest.param(changed(size_hw=(64, 48)), ["input size (32x48 and 64x48)"], id="the input's size"),
        pytest.param(changed(upsampling="align_corners"), ["last resize (half_pixel and align"], id="coordinates"),
        pytest.param(changed(threshold=0.5), ["threshold (0 and 0.5)"], id="the threshold of a single channel"),
        pytest.param(
            changed(preprocess=Preprocess(std=(1.0, 1.0, 1.0), mean=(0.0, 0.0, 0.0), resize=Resize("crop"))),
            ["mean (128,128,128 and 0,0,0)", "resize of frames (stretch, linear and crop, linear)"],
            id="how frames get in",
        ),
        pytest.param(changed(made_from={"weights": "1" * 64}), [f"weights ({'0' * 12} and {'1' * 12})"], id="weights"),
        pytest.param(changed(made_from={"graph": "1" * 64}), [], id="hashes of different things tell nothing"),
    ],
)
def test_what_else_sets_two_engines_apart_is_said(other: Card, said: list[str]) -> None:
    found = differences(TINY_CARD, other)
    assert len(found) == len(said)
    for sentence, part in zip(found, said, strict=True):
        assert part in sentence and "not the precision's alone" in sentence


def test_frames_may_be_a_data_set_or_a_list() -> None:
    assert list(samples(LabelledFrames((), 3))) == list(samples([])) == []
