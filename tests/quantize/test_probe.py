"""What is told of a graph that was changed: decibels, agreement, and mIoU on labels."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.card import Resize
from edgeseg.data.scene import Scene
from edgeseg.errors import UsageError
from edgeseg.graph.attach import CLASS_MAP, FRAME, attach_head_and_tail
from edgeseg.graph.io import require_card, set_card
from edgeseg.graph.passes.cut_tail import LOGITS
from edgeseg.graph.runtime import open_graph
from edgeseg.labels import VOID
from edgeseg.quantize.probe import Probe
from edgeseg.quantize.sensitivity import comparable_db
from tests.graphs import CLASSES
from tests.quantize.tiny import SIZE_HW, constant, node, prepared, quantized

FRAMES = [Scene(SIZE_HW, seed=5).render(10 * index) for index in range(3)]
UNLABELLED = [(frame, None) for frame in FRAMES]


def shifted(by: float, favoured: int = 0) -> ir.Model:
    """The tiny network with that added to the logits of one class."""
    model = prepared()
    bias = node(model, "classifier").inputs[2]
    assert bias is not None
    bias.const_value = ir.Tensor(constant(bias) + np.eye(CLASSES, dtype=np.float32)[favoured] * np.float32(by))
    return model


def float_answers(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits and class map of the tiny network on one frame of its own size."""
    session = open_graph(attach_head_and_tail(prepared(), head="cast", upsample="half"), [LOGITS, CLASS_MAP])
    logits, classes = session.run([LOGITS, CLASS_MAP], {FRAME: frame[None]})
    return logits[0], classes[0]


def test_a_graph_that_equals_float_differs_in_nothing() -> None:
    probe = Probe(prepared(), UNLABELLED)
    score = probe.score(prepared())
    assert (score.snr_db, score.agreement, score.miou, score.drop) == (None, 1.0, 1.0, 0.0)
    assert (probe.labelled, probe.float_miou) == (False, 1.0)


@pytest.mark.parametrize("by", [0.01, 0.5, -3.0])
def test_decibels_are_the_power_of_the_logits_over_that_of_the_difference(by: float) -> None:
    logits = [float_answers(frame)[0].astype(np.float64) for frame in FRAMES]
    signal, noise = sum(np.sum(one**2) for one in logits), sum(by**2 * one[0].size for one in logits)
    score = Probe(prepared(), UNLABELLED).score(shifted(by))
    assert score.snr_db == pytest.approx(10 * np.log10(signal / noise), abs=0.01)


def test_some_of_the_frames_tell_what_they_alone_would() -> None:
    every, two = Probe(prepared(), UNLABELLED), Probe(prepared(), UNLABELLED[1:])
    graph = quantized("u8-asym")
    assert every.snr_db(every.answer(graph), [1, 2]) == pytest.approx(two.score(graph).snr_db)
    assert every.snr_db(every.answer(graph), [0]) != pytest.approx(two.score(graph).snr_db)


def test_without_labels_the_float_classes_are_what_is_compared_with() -> None:
    """So far shifted, all pixels are of one class."""
    own = np.concatenate([float_answers(frame)[1].ravel() for frame in FRAMES])
    often = int(np.bincount(own).argmax())
    share = float(np.mean(own == often))
    score = Probe(prepared(), UNLABELLED).score(shifted(1e6, often))
    assert 0 < share < 1
    assert score.agreement == pytest.approx(share)
    assert score.miou == pytest.approx(share / len(np.unique(own))), "only that class has pixels in common"
    assert score.drop == pytest.approx(1 - score.miou)


def test_labels_are_what_is_compared_with_and_void_is_left_out() -> None:
    """Right in the left half for the network, void in the right one: any class there counts for nothing."""
    labels = []
    for frame in FRAMES:
        label = float_answers(frame)[1]
        label[:, SIZE_HW[1] // 2 :] = VOID
        labels.append(label)
    truth = np.concatenate([label.ravel() for label in labels])
    probe = Probe(prepared(), list(zip(FRAMES, labels, strict=True)))
    assert (probe.labelled, probe.float_miou) == (True, 1.0)
    scored = truth[truth != VOID]
    often = int(np.bincount(scored).argmax())
    score = probe.score(shifted(1e6, often))
    assert score.miou == pytest.approx(np.mean(scored == often) / len(np.unique(scored)))
    assert score.drop == pytest.approx(1 - score.miou)


def test_a_graph_may_be_better_than_float() -> None:
    labels = [np.zeros(SIZE_HW, np.uint8) for _ in FRAMES]
    probe = Probe(prepared(), list(zip(FRAMES, labels, strict=True)))
    score = probe.score(shifted(1e6))
    assert (score.miou, score.drop) == (1.0, probe.float_miou - 1)
    assert score.drop < 0


def test_what_a_cropping_network_never_sees_does_not_agree() -> None:
    """A frame three times as wide is cut to its middle, where every pixel of the most frequent class changes."""
    wide = np.concatenate(FRAMES, axis=1)
    own = float_answers(FRAMES[1])[1]
    often = int(np.bincount(own.ravel()).argmax())
    model, changed = prepared(), shifted(-1e6, often)
    for one in (model, changed):
        card = require_card(one)
        preprocess = msgspec.structs.replace(card.preprocess, resize=Resize("crop"))
        set_card(one, msgspec.structs.replace(card, preprocess=preprocess))
    probe = Probe(model, [(wide, None)])
    assert probe.score(changed).agreement == pytest.approx(np.mean(own != often))
    label = np.pad(own, ((0, 0), (SIZE_HW[1], SIZE_HW[1])), constant_values=CLASSES - 1)
    assert Probe(model, [(wide, label)]).float_miou == 1.0, "labels at the sides count for nothing"


def test_quantized_graphs_are_scored_too() -> None:
    score = Probe(prepared(), UNLABELLED).score(quantized("u8-asym"))
    assert score.snr_db is not None
    assert 15 < score.snr_db < 60
    assert 0.9 < score.agreement < 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("frames", [[1], range(3)], ids=["that frame", "all of them"])
def test_what_is_no_number_is_worse_than_any_noise(value: float, frames: Sequence[int]) -> None:
    probe = Probe(prepared(), UNLABELLED)
    answers = probe.answer(prepared())
    answers.logits[1][0, 0, 0] = value
    assert probe.snr_db(answers, frames) == -np.inf
    assert comparable_db(probe.snr_db(answers, frames)) < comparable_db(probe.score(shifted(1e9)).snr_db)
    assert probe.snr_db(answers, [0, 2]) is None
    assert probe.compare(answers).snr_db == -np.inf


def test_noise_on_logits_that_are_all_zero_is_worse_than_any() -> None:
    silent = prepared()
    for value in node(silent, "classifier").inputs[1:]:
        assert value is not None
        value.const_value = ir.Tensor(np.zeros_like(constant(value)))
    probe = Probe(silent, UNLABELLED)
    assert probe.score(prepared()).snr_db == -np.inf
    assert probe.score(silent).snr_db is None


def test_there_must_be_frames() -> None:
    with pytest.raises(UsageError, match="no frames"):
        Probe(prepared(), [])


def test_frames_of_any_size_are_taken() -> None:
    score = Probe(prepared(), [(Scene((70, 50), seed=1).render(0), None)]).score(quantized("u8-asym"))
    assert score.snr_db is not None
