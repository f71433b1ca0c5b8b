"""Head and tail: the class map that leaves an engine, against numpy's."""

from __future__ import annotations

import msgspec
import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("onnxruntime")

from edgeseg.card import Card, PixelFormat, Preprocess, Upsample, tail_size
from edgeseg.errors import ModelFileError
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.io import graph_sha256, set_card
from edgeseg.graph.values import add_constant, named_node
from edgeseg.graph.verify import run_graph
from edgeseg.labels import voc_palette
from tests.graphs import CLASSES, tiny_prepared

SIZE = (32, 48)
CARD = Card(
    kind="prepared",
    model="tiny",
    classes=tuple("abcd"),
    palette=voc_palette(CLASSES),
    size_hw=SIZE,
    preprocess=Preprocess(std=(1.0, 1.0, 1.0)),
)


def prepared(card: Card = CARD, batch: int = 1) -> ir.Model:
    model = ir.from_proto(tiny_prepared(*SIZE, seed=27, batch=batch))
    set_card(model, msgspec.structs.replace(card, batch=batch))
    return model


def frames(pixel_format: str = "bgr", batch: int = 1) -> np.ndarray:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (batch, 4, 6, len(pixel_format)))
    return np.repeat(np.repeat(coarse, 8, 1), 8, 2).astype(np.uint8)


def plain_logits(model: ir.Model, frame: np.ndarray) -> np.ndarray:
    pixels = frame[..., :3].astype(np.float32).transpose(0, 3, 1, 2) - 128
    return np.asarray(run_graph(model, {"pixels": np.ascontiguousarray(pixels)}, None))


@pytest.mark.parametrize("head", ["dequantize", "cast"])
@pytest.mark.parametrize("pixel_format", ["bgr", "rgb", "bgrx"])
@pytest.mark.parametrize("batch", [1, 3])
def test_frames_reach_the_graph_unharmed(head: str, pixel_format: PixelFormat, batch: int) -> None:
    card = msgspec.structs.replace(CARD, preprocess=Preprocess(pixel_format=pixel_format))
    model = prepared(card, batch)
    whole = attach_head_and_tail(model, head=head, upsample="none")
    frame = frames(pixel_format, batch)
    np.testing.assert_allclose(
        run_graph(whole, {"frame": frame}, "logits"), plain_logits(model, frame), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("upsampling", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("upsample", ["full", "half", "none"])
@pytest.mark.parametrize("tail", ["channels_first", "channels_last", "channels_last_early"])
def test_the_class_map_is_that_of_upsampled_logits(upsampling: str, upsample: Upsample, tail: str) -> None:
    model = prepared(msgspec.structs.replace(CARD, upsampling=upsampling))
    whole = attach_head_and_tail(model, head="cast", upsample=upsample, tail=tail)
    frame = frames()
    logits = plain_logits(model, frame)[0]
    size = tail_size(SIZE, (logits.shape[1], logits.shape[2]), upsample)
    picked = bilinear(logits, size, upsampling).argmax(0)
    rows, columns = (_nearest(new, old, upsampling) for new, old in zip(SIZE, size, strict=True))
    expected = picked[rows][:, columns]
    found = run_graph(whole, {"frame": frame}, None)
    assert (found.dtype, found.shape) == (np.uint8, (1, *SIZE))
    assert len(np.unique(expected)) > 2
    assert (found[0] == expected).mean() >= 0.999


def places(new: int, old: int, upsampling: str) -> np.ndarray:
    """Where each pixel of a grown map lies in the small one."""
    place = np.arange(new, dtype=np.float64)
    if upsampling == "align_corners":
        return place * (old - 1) / (new - 1)
    return (place + 0.5) * old / new - 0.5 if upsampling == "half_pixel" else place * old / new


def bilinear(logits: np.ndarray, size: tuple[int, int], upsampling: str) -> np.ndarray:
    """`(C, h, w)` to `(C, *size)`, one axis after the other."""
    for axis, new in ((1, size[0]), (2, size[1])):
        old = logits.shape[axis]
        at = places(new, old, upsampling)
        logits = np.apply_along_axis(lambda line, at=at, old=old: np.interp(at, np.arange(old), line), axis, logits)
    return logits


def _nearest(new: int, old: int, upsampling: str) -> np.ndarray:
    """For each place of the grown map, the place of the small one; of two equally near ones the first."""
    return np.clip(np.ceil(places(new, old, upsampling) - 0.5), 0, old - 1).astype(int)


@pytest.mark.parametrize(
    ("logits_hw", "upsample", "expected"),
    [
        pytest.param((90, 120), "full", (360, 480), id="full is the frame's size"),
        pytest.param((90, 120), "half", (180, 240), id="half of it"),
        pytest.param((90, 120), "none", (90, 120), id="none is the decoder's"),
        pytest.param((360, 480), "half", (360, 480), id="never below the decoder's"),
        pytest.param((180, 240), "half", (180, 240), id="half of a decoder at half size"),
    ],
)
def test_where_the_best_class_is_picked(
    logits_hw: tuple[int, int], upsample: Upsample, expected: tuple[int, int]
) -> None:
    assert tail_size((360, 480), logits_hw, upsample) == expected


def test_one_channel_is_compared_with_the_threshold() -> None:
    model = prepared()
    whole = model.clone()
    zero = add_constant(whole.graph, "zero", np.array([0]))
    first = named_node("Gather", "first", whole.graph.outputs[0], zero, axis=1)
    whole.graph.append(first)
    whole.graph.outputs[0].name = "all"
    first.outputs[0].name = "logits"
    first.outputs[0].shape, first.outputs[0].type = ir.Shape([1, 1, 8, 12]), whole.graph.outputs[0].type
    whole.graph.outputs[:] = [first.outputs[0]]
    frame = frames()
    logits = np.asarray(plain_logits(model, frame))[0, 0]
    threshold = float(np.median(logits))
    set_card(whole, msgspec.structs.replace(CARD, classes=("no", "yes"), logit="threshold", threshold=threshold))
    found = run_graph(attach_head_and_tail(whole, head="cast", upsample="none"), {"frame": frame}, None)
    np.testing.assert_array_equal(found[0, ::4, ::4], logits > threshold)


def test_writing_a_card_changes_no_hash() -> None:
    model = prepared()
    before = graph_sha256(model)
    set_card(model, msgspec.structs.replace(CARD, measured={"anything": 1}))
    assert graph_sha256(model) == before
    next(iter(model.graph)).name = "renamed"
    assert graph_sha256(model) != before


def test_only_prepared_graphs_get_a_head() -> None:
    model = prepared()
    set_card(model, msgspec.structs.replace(CARD, kind="graph"))
    with pytest.raises(ModelFileError, match="Only prepared and quantized"):
        attach_head_and_tail(model, head="cast", upsample="none")
