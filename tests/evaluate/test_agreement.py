"""Agreement: the margin against the engines' own resize, and the verdict's thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cv2")
onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from edgeseg.card import Upsampling
from edgeseg.evaluate import Agreement, confidence_margin

MODES: tuple[Upsampling, ...] = ("align_corners", "half_pixel", "asymmetric")


def upsampled(logits: np.ndarray, size_hw: tuple[int, int], mode: str) -> np.ndarray:
    """Bilinear resize of `(C, h, w)` by ONNX Runtime."""
    helper, shape = onnx.helper, [1, *logits.shape]
    sizes = onnx.numpy_helper.from_array(np.array([1, logits.shape[0], *size_hw], np.int64), "sizes")
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", coordinate_transformation_mode=mode)
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, s) for name, s in (("x", shape), ("y", None))]
    graph = helper.make_graph([node], "resize", ends[:1], ends[1:], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"x": logits[None]})[0][0]
    return result


def margin_by_sorting(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(0))
    ordered = np.sort(powers / powers.sum(0), axis=0)
    margin: np.ndarray = ordered[-1] - ordered[-2]
    return margin


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "size_hw"),
    [
        pytest.param((3, 5, 7), (20, 28), id="four times as large"),
        pytest.param((11, 12, 16), (90, 121), id="an odd size, more rows than one band"),
        pytest.param((2, 1, 1), (8, 8), id="from a single pixel"),
        pytest.param((4, 6, 6), (6, 6), id="the same size"),
        pytest.param((4, 1, 9), (130, 9), id="three bands of rows"),
    ],
)
def test_the_margin_is_that_of_logits_resized_by_the_engine(
    shape: tuple[int, int, int], size_hw: tuple[int, int], mode: Upsampling
) -> None:
    logits = np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)
    expected = margin_by_sorting(upsampled(logits, size_hw, mode))
    margin = confidence_margin(logits, size_hw, mode)
    assert margin.shape == size_hw
    assert margin.dtype == np.float32
    assert margin == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_a_single_channel_is_two_classes_by_a_sigmoid(threshold: float) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (1, 4, 5)).astype(np.float32)
    both = np.concatenate([np.full_like(logits, threshold), logits])
    assert confidence_margin(logits, (16, 20), "half_pixel", threshold=threshold) == pytest.approx(
        confidence_margin(both, (16, 20), "half_pixel"), abs=1e-6
    )


@given(st.integers(1, 6), st.floats(0.01, 1e4), st.integers(0, 100))
def test_the_margin_lies_between_0_and_1_for_any_logits(channels: int, spread: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, spread, (channels, 3, 3)).astype(np.float32)
    margin = confidence_margin(logits, (7, 7), "half_pixel")
    assert ((margin >= 0) & (margin <= 1)).all()


def test_equal_classes_have_no_margin_and_sure_ones_all() -> None:
    logits = np.zeros((3, 1, 2), np.float32)
    logits[1, 0, 1] = 100
    assert confidence_margin(logits, (1, 2), "half_pixel").tolist() == [[0, 1]]


def agreement(confusion: list[list[int]], unsure: int = 0) -> Agreement:
    """Confident pixels by float's class (rows) and the other's, and unsure ones that all differ."""
    counts = np.array(confusion)
    pairs = [(a, b) for a, row in enumerate(counts) for b, count in enumerate(row) for _ in range(count)]
    pairs += [(0, 1)] * unsure
    reference, other = (np.array(side, np.uint8)[None] for side in zip(*pairs, strict=True))
    confident = np.arange(len(pairs))[None] < len(pairs) - unsure
    made = Agreement.empty(len(counts))
    made.update(reference, other, confident)
    return made


def test_shares_count_all_pixels_and_the_confident_ones() -> None:
    found = agreement([[90, 10], [0, 100]], unsure=100)
    assert found.share() == pytest.approx(190 / 300)
    assert found.confident_share() == pytest.approx(0.95)
    assert found.class_iou() == pytest.approx([90 / 100, 100 / 110])
    assert found.frames == 1


@pytest.mark.parametrize(
    ("confusion", "unsure", "passes"),
    [
        pytest.param([[96, 4], [0, 100]], 0, True, id="98 % are equal"),
        pytest.param([[100, 0], [8, 92]], 0, True, id="96 % are equal, just enough"),
        pytest.param([[100, 0], [9, 91]], 0, False, id="95.5 % are equal"),
        pytest.param([[960, 0], [9, 31]], 0, False, id="a class of 4 % has an IoU of 0.775"),
        pytest.param([[960, 0], [8, 32]], 0, True, id="a class of 4 % has an IoU of 0.8, just enough"),
        pytest.param([[990, 0], [10, 0]], 0, True, id="a class of 1 % is lost and does not count"),
        pytest.param([[989, 0], [11, 0]], 0, False, id="a class of 1.1 % is lost"),
        pytest.param([[96, 4], [0, 100]], 1000, True, id="unsure pixels all differ and do not count"),
        pytest.param([[0, 0], [0, 0]], 10, False, id="no pixel is confident"),
    ],
)
def test_the_verdict(confusion: list[list[int]], unsure: int, passes: bool) -> None:
    assert agreement(confusion, unsure).passes() is passes


def test_probabilities_are_taken_as_they_are() -> None:
    three = np.array([0.7, 0.2, 0.1], np.float32).reshape(3, 1, 1)
    assert confidence_margin(three, (1, 1), "half_pixel", probabilities=True) == pytest.approx(0.5)
    one = np.array([0.9], np.float32).reshape(1, 1, 1)
    assert confidence_margin(one, (1, 1), "half_pixel", threshold=0.5, probabilities=True) == pytest.approx(0.8)
