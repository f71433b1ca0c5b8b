"""Class maps out of logits: equal to the engine's own, with the confidence that the logits give."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx_ir as ir

from edgeseg.backends import Engine, EngineOptions, open_backend
from edgeseg.card import Card, Upsample, Upsampling
from edgeseg.data.scene import Scene
from edgeseg.errors import UsageError
from edgeseg.evaluate import confidence_margin
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.io import save_graph
from edgeseg.labels import VOID
from edgeseg.stream.confidence import ConfidentAnswers
from tests.engines import TINY_CARD, tiny_model

UPSAMPLINGS: tuple[Upsampling, ...] = ("half_pixel", "align_corners", "asymmetric")
UPSAMPLES: tuple[Upsample, ...] = ("full", "half", "none")


def engine_of(folder: Path, model: ir.Model, upsample: Upsample) -> Engine:
    save_graph(attach_head_and_tail(model, head="dequantize", upsample=upsample), folder / "graph.onnx")
    return open_backend("onnxruntime").build(folder / "graph.onnx", folder / "engine.onnx", EngineOptions())


def card(**fields: object) -> Card:
    return msgspec.structs.replace(TINY_CARD, **{"size_hw": (8, 12), "upsample": "full", **fields})


def answers(engine: Engine, frames: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Class map and logits of each frame, by the engine's two kinds of session."""
    backend = open_backend("onnxruntime")
    with backend.load(engine) as class_maps, backend.load(engine, "logits") as logits:
        return [(class_maps.infer(frame[None])[0], logits.infer(frame[None])[0]) for frame in frames]


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("upsample", UPSAMPLES)
@pytest.mark.parametrize("size_hw", [(64, 96), (50, 70)], ids=["sizes that divide", "sizes that do not"])
def test_the_class_map_is_the_engines_own(
    tmp_path: Path, size_hw: tuple[int, int], upsample: Upsample, upsampling: Upsampling
) -> None:
    engine = engine_of(tmp_path, tiny_model(size_hw, upsampling=upsampling), upsample)
    rng, scene = np.random.default_rng(0), Scene(size_hw)
    frames = [*(scene.render(index) for index in range(3)), rng.integers(0, 256, (*size_hw, 3), np.uint8)]
    given = answers(engine, frames)
    confident = ConfidentAnswers(engine.card, given[0][1].shape)
    for expected, logits in given:
        found, margin = confident.class_map(logits)
        assert found.shape == expected.shape
        assert (found == expected).mean() > 0.999, "all but ties"
        assert 0 <= margin <= 1
    assert len(np.unique(given[-1][0])) > 1, "there is something to tell apart"


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("probabilities", [False, True], ids=["logits", "probabilities"])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_the_margin_is_that_of_agreement(channels: int, probabilities: bool, upsampling: Upsampling) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (channels, 5, 7)).astype(np.float32)
    if probabilities:
        logits = np.exp(logits) / np.exp(logits).sum(0) if channels > 1 else 1 / (1 + np.exp(-logits))
    threshold = 0.4 if channels == 1 else 0.0
    made = card(
        logit="threshold" if channels == 1 else "softmax",
        threshold=threshold,
        probabilities=probabilities,
        upsampling=upsampling,
    )
    expected = confidence_margin(logits, (8, 12), upsampling, threshold=threshold, probabilities=probabilities)
    confident = ConfidentAnswers(made, logits.shape)
    _, mean = confident.class_map(logits)
    assert confident.margin == pytest.approx(np.minimum(expected, 1), abs=1e-5)
    assert mean == pytest.approx(float(confident.margin.mean()))
    if channels == 2:
        assert confident.confidence == pytest.approx((1 + confident.margin) / 2, abs=1e-5)


@pytest.mark.parametrize(
    ("logits", "index", "confidence"),
    [
        pytest.param([0.0, 0.0, 0.0, 0.0], 0, 0.25, id="four equal classes: the first"),
        pytest.param([1.0, 3.0, 3.0, 0.0], 1, 0.4576, id="of two best the first"),
        pytest.param([-50.0, -49.0, -90.0, 100.0], 3, 1.0, id="one for certain"),
        pytest.param([-1e4, -1e4, -1e4, -1e4], 0, 0.25, id="very small all"),
    ],
)
def test_the_confidence_is_the_softmax_of_the_best(logits: list[float], index: int, confidence: float) -> None:
    confident = ConfidentAnswers(card(), (4, 8, 12))
    planes = np.broadcast_to(np.array(logits, np.float32)[:, None, None], (4, 8, 12)).copy()
    found, _ = confident.class_map(planes)
    assert (found == index).all()
    assert confident.confidence == pytest.approx(np.full((8, 12), confidence), abs=1e-3)


@pytest.mark.parametrize(
    ("logit", "index", "confidence"),
    [
        pytest.param(0.3, 0, 0.525, id="below the threshold"),
        pytest.param(0.4, 0, 0.5, id="at the threshold"),
        pytest.param(2.4, 1, 0.881, id="above it"),
        pytest.param(-99.0, 0, 1.0, id="far below it"),
    ],
)
def test_a_single_channel_is_a_sigmoid_around_its_threshold(logit: float, index: int, confidence: float) -> None:
    made = card(classes=("ground", "car"), palette=TINY_CARD.palette[:2], logit="threshold", threshold=0.4)
    confident = ConfidentAnswers(made, (1, 8, 12))
    found, _ = confident.class_map(np.full((1, 8, 12), logit, np.float32))
    assert (found == index).all()
    assert confident.confidence == pytest.approx(np.full((8, 12), confidence), abs=1e-3)


@pytest.mark.parametrize("below", [None, 0.0, 0.4, 0.7, 1.0])
def test_unknown_is_what_has_less_confidence(below: float | None) -> None:
    logits = np.random.default_rng(0).normal(0, 2, (4, 8, 12)).astype(np.float32)
    every, _ = ConfidentAnswers(card(), logits.shape).class_map(logits)
    confident = ConfidentAnswers(card(), logits.shape, below)
    found, _ = confident.class_map(logits)
    unsure = confident.confidence < (below or 0)
    assert (found[unsure] == VOID).all()
    assert (found[~unsure] == every[~unsure]).all()
    assert unsure.any() == (below not in (None, 0.0))


def test_the_result_is_written_where_it_is_wanted_and_buffers_are_used_again() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.normal(0, 2, (4, 4, 6)).astype(np.float32) for _ in range(2))
    confident, out = ConfidentAnswers(card(upsample="half"), first.shape), np.empty((8, 12), np.uint8)
    given, _ = confident.class_map(first, out)
    assert given is out
    kept = confident.class_map(first)[0]
    assert (kept == out).all()
    assert confident.class_map(second)[0] is kept
    assert (confident.class_map(first)[0] == out).all(), "nothing of the frame before is left"


def test_a_batch_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\(C, h, w\)"):
        ConfidentAnswers(card(), (1, 4, 8, 12))


@pytest.mark.slow
@pytest.mark.parametrize("upsample", UPSAMPLES)
def test_the_shipped_model_is_answered_alike(tmp_path: Path, upsample: Upsample) -> None:
    from edgeseg.build.graphs import find_or_build
    from edgeseg.catalog import DEFAULT_MODEL

    engine = find_or_build(DEFAULT_MODEL, tmp_path, upsample=upsample)
    scene = Scene(engine.card.fixed_size_hw)
    given = answers(engine, [scene.render(index) for index in range(5)])
    confident = ConfidentAnswers(engine.card, given[0][1].shape)
    assert np.mean([(confident.class_map(logits)[0] == expected).mean() for expected, logits in given]) > 0.999
