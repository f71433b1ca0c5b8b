"""A prepared graph is compared with the graph that it was made from, before anything is built on it."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.card import Card
from edgeseg.errors import ModelFileError
from edgeseg.graph.attach import CLASS_MAP, FRAME, PICKED, attach_head_and_tail
from edgeseg.graph.batch import set_batch
from edgeseg.graph.io import require_card
from edgeseg.graph.passes.adopt_frames import PIXELS
from edgeseg.graph.passes.cut_tail import LOGITS, gives_probabilities
from edgeseg.graph.prepare import Foreign
from edgeseg.graph.runtime import open_graph

__all__ = ["LEAST_EQUAL", "plain_class_map", "verify_batch", "verify_prepared"]

logger = logging.getLogger(__name__)

UInt8 = npt.NDArray[np.uint8]
#: Share of pixels that must have the same class.
LEAST_EQUAL = 0.999


def verify_prepared(original: ir.Model, about: Card | Foreign, prepared: ir.Model, frame: UInt8) -> float:
    """Compare class maps: numpy preprocessing and the original graph, against the prepared one with head and tail.

    Args:
        original: The float graph.
        about: As `prepare_graph` was given it.
        prepared: What that gave.
        frame: `(N, h, w, channels)` uint8 as the card says.

    Returns:
        The share of equal pixels, 0 to 1.

    Raises:
        ModelFileError: Fewer than 99.9 % are equal, or ONNX Runtime can't run the graph.
    """
    card = require_card(prepared)
    expected = plain_class_map(original, about, card, frame)
    full = expected.shape[1:] == frame.shape[1:3]
    whole = attach_head_and_tail(prepared, head="cast", upsample="full" if full else "none")
    name = CLASS_MAP if full else PICKED
    found = run_graph(whole, {FRAME: frame}, name)
    if found.shape != expected.shape:
        raise ModelFileError(
            f"The graph's output is {expected.shape[1]}x{expected.shape[2]}, its logits are {found.shape[1]}x"
            f"{found.shape[2]}, and its image {frame.shape[1]}x{frame.shape[2]}: a map of another size is made of it.",
            hint="Name the tensor with one channel per class: --output NAME",
        )
    equal = float((found == expected).mean())
    logger.info("Prepared against original: %.3f %% of the pixels equal", 100 * equal)
    if equal < LEAST_EQUAL:
        raise ModelFileError(
            f"The prepared graph does not compute what the original does: {100 * equal:.2f} % of the pixels of a "
            f"rendered frame are equal, {100 * LEAST_EQUAL:g} % are needed.",
            hint="If its one channel is a probability, say so: --threshold 0.5"
            if card.logit == "threshold"
            else "Please report this with the model. Naming its logits may help: --output NAME",
        )
    return equal


def verify_batch(prepared: ir.Model, frame: UInt8) -> None:
    """Compare a frame and its mirror image computed at once with both computed alone.

    Args:
        prepared: For one frame.
        frame: `(1, h, w, channels)` uint8 as the card says.

    Raises:
        ModelFileError: They differ, or the batch can't be changed.
    """
    pixels = frame[..., :3].transpose(0, 3, 1, 2).astype(np.float32) - np.float32(128)
    pair = np.concatenate([pixels, pixels[..., ::-1]])
    both = run_graph(set_batch(prepared, None), {PIXELS: pair}, LOGITS)
    alone = np.concatenate([run_graph(prepared, {PIXELS: pair[index : index + 1]}, LOGITS) for index in range(2)])
    if both.shape != alone.shape or not np.allclose(both, alone, rtol=1e-3, atol=1e-3 * float(np.abs(alone).max())):
        raise ModelFileError(
            "The graph does not compute several frames at once as it computes each alone.",
            hint="Build it for one frame at a time: leave out --batch.",
        )


def plain_class_map(original: ir.Model, about: Card | Foreign, card: Card, frame: UInt8) -> UInt8:
    """The class map by the plain pipeline: preprocessing in numpy, the float graph as it is, argmax.

    Args:
        original: The float graph.
        about: Its card, or what its user says of it.
        card: Of the prepared graph.
        frame: `(N, h, w, channels)` uint8 in the card's pixel format.

    Returns:
        `(N, H, W)` uint8, at the size of the graph's own output.
    """
    order = [card.preprocess.pixel_format.index(channel) for channel in card.preprocess.channels]
    mean, std = (np.asarray(values, np.float32) for values in (card.preprocess.mean, card.preprocess.std))
    image = (frame[..., order].astype(np.float32) - mean) / std
    value = original.graph.inputs[0]
    channels_last = value.shape is not None and value.shape[1] != 3
    image = image if channels_last else np.ascontiguousarray(image.transpose(0, 3, 1, 2))
    output = about.output if isinstance(about, Foreign) else None
    half = value.dtype is ir.DataType.FLOAT16
    answer = run_graph(original, {value.name or "": image.astype(np.float16) if half else image}, output)
    asked = about.threshold if isinstance(about, Foreign) else None
    probable = gives_probabilities(_output(original, output))
    return _classes(answer, card, asked if asked is not None else 0.5 if probable else 0.0)


def _output(model: ir.Model, name: str | None) -> ir.Value:
    inside = {value.name: value for node in model.graph for value in node.outputs}
    return model.graph.outputs[0] if name is None else inside[name]


def _classes(answer: Any, card: Card, limit: float) -> UInt8:
    if answer.dtype.kind in "iub":
        found = _without_channel(answer)
    elif card.logit == "softmax":
        found = answer.argmax(1 if answer.shape[1] == card.num_classes else 3)
    else:
        found = _without_channel(answer) > limit
    return np.asarray(found, np.uint8)


def _without_channel(answer: Any) -> Any:
    """`(N, 1, H, W)` and `(N, H, W, 1)` as `(N, H, W)`."""
    return answer if answer.ndim == 3 else answer.squeeze(1 if answer.shape[1] == 1 else 3)


def run_graph(model: ir.Model, feed: dict[str, Any], output: str | None) -> Any:
    """One tensor of a graph, its first output or any other by name, computed on ONNX Runtime.

    Raises:
        ModelFileError: ONNX Runtime refuses the graph.
    """
    name = output or model.graph.outputs[0].name or ""
    session = open_graph(model, [name])
    try:
        return session.run([name], feed)[0]
    except Exception as error:
        raise ModelFileError(f"ONNX Runtime can't run the graph: {str(error).splitlines()[0]}") from error
