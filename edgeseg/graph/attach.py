"""Frames in, class maps out: what stands before and behind a prepared or quantized graph in an engine."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, RemoveUnusedNodesPass, ShapeInferencePass

from edgeseg.card import Card, Head, TailLayout, Upsample, tail_size
from edgeseg.errors import ModelFileError
from edgeseg.graph.io import graph_card, set_card
from edgeseg.graph.passes.adopt_frames import PIXELS
from edgeseg.graph.passes.cut_tail import LOGITS
from edgeseg.graph.values import add_constant, named_node

__all__ = ["CLASS_MAP", "FRAME", "HEAD_LARGEST", "PICKED", "attach_head_and_tail"]

FRAME, CLASS_MAP = "frame", "class_map"
#: Largest magnitudes of the tensors that the head by Cast makes, by name.
HEAD_LARGEST = {
    **{f"edgeseg.head.{name}.value": 255.0 for name in ("cast", "slice", "transpose")},
    "edgeseg.head.subtract.value": 127.0,
}
#: The classes before they grow to the frame's size, `(N, h, w)`.
PICKED = "edgeseg.tail.cast.value"


def attach_head_and_tail(
    model: ir.Model, *, head: Head, upsample: Upsample, tail: TailLayout = "channels_first"
) -> ir.Model:
    """A graph that takes camera frames and gives class maps.

    Args:
        model: Prepared or quantized, with its card; left as it is.
        head: `dequantize` moves bytes about and dequantizes them once, the fastest on CPUs; `cast` keeps bytes to
            the first and the last operator, a Cast from and to float, which is all that TensorRT accepts.
        tail: Where the best class is sought: `channels_first` as the logits lie; `channels_last` after a transposition
            behind their resize, or `channels_last_early` before it. The fastest differs by library. `outside` leaves
            the logits as the output, for a backend with a tail of its own.
        upsample: Size at which the best class is picked: `full`, `half`, or `none` for the logits' own; from
            there the class map grows by nearest neighbour.

    Returns:
        A new graph with the input `frame` `(N, H, W, 3)` uint8 (4 channels for `bgrx`) and the output
        `class_map` `(N, H, W)` uint8, unless the tail is outside. The tensor `logits` stays inside.

    Raises:
        ModelFileError: The graph is neither prepared nor quantized.
    """
    card = graph_card(model)
    if card is None or card.kind not in ("prepared", "quantized"):
        raise ModelFileError(f"Only prepared and quantized graphs get a head and a tail, not {card and card.kind}.")
    whole = model.clone()
    by_cast = head == "cast"
    _attach_head(whole.graph, card, card.fixed_size_hw, by_cast=by_cast)
    if tail != "outside":
        _attach_tail(whole.graph, card, card.fixed_size_hw, upsample, by_cast=by_cast, tail=tail)
    for tidy in (RemoveUnusedNodesPass(), NameFixPass(), ShapeInferencePass()):
        tidy(whole)
    set_card(whole, msgspec.structs.replace(card, upsample=upsample))
    return whole


class _Chain:
    """Nodes one behind the other. `value` is the output of the last."""

    def __init__(self, graph: ir.Graph, begin: ir.Value) -> None:
        self.graph, self.value = graph, begin
        self.nodes: list[ir.Node] = []

    def then(self, op: str, name: str, *inputs: ir.Value | None, **attributes: Any) -> None:
        """Append a node that reads the chain's value, and `inputs` behind it."""
        node = named_node(op, f"edgeseg.{name}", self.value, *inputs, **attributes)
        self.nodes.append(node)
        self.value = node.outputs[0]

    def constant(self, name: str, array: Any) -> ir.Value:
        """A constant of the graph."""
        return add_constant(self.graph, f"edgeseg.{name}", array)


def _attach_head(graph: ir.Graph, card: Card, size_hw: tuple[int, int], *, by_cast: bool) -> None:
    pixels = graph.inputs[0]
    if pixels.name != PIXELS:
        raise ModelFileError(f"The graph's input is '{pixels.name}'; '{PIXELS}' was expected.")
    channels = len(card.preprocess.pixel_format)
    shape = ir.Shape([card.batch, *size_hw, channels])
    frame = ir.Value(name=FRAME, shape=shape, type=ir.TensorType(ir.DataType.UINT8))
    chain, replaced = _Chain(graph, frame), pixels
    if by_cast:
        chain.then("Cast", "head.cast", to=ir.DataType.FLOAT)
    if channels == 4:
        limits = [chain.constant(f"head.{name}", [number]) for name, number in (("from", 0), ("to", 3), ("axis", 3))]
        chain.then("Slice", "head.slice", *limits)
    chain.then("Transpose", "head.transpose", perm=[0, 3, 1, 2])
    quantized = _lossless_quantizer(pixels)
    if by_cast:
        chain.then("Sub", "head.subtract", chain.constant("head.middle", np.float32(128)))
    elif quantized is not None:
        replaced = quantized
    else:
        scale, zero = chain.constant("head.scale", np.float32(1)), chain.constant("head.zero", np.uint8(128))
        chain.then("DequantizeLinear", "head.dequantize", scale, zero)
    first = graph[0]
    ir.convenience.replace_all_uses_with(replaced, chain.value)
    graph.inputs[0] = frame
    graph.insert_before(first, chain.nodes)


def _lossless_quantizer(pixels: ir.Value) -> ir.Value | None:
    """The output of the only QuantizeLinear on `pixels`, if it gives back the frame's bytes."""
    readers = [usage.node for usage in pixels.uses()]
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear" or len(readers[0].inputs) < 3:
        return None
    scale, zero = (ir.convenience.get_const_tensor(v) if v is not None else None for v in readers[0].inputs[1:3])
    if scale is None or zero is None or zero.dtype is not ir.DataType.UINT8:
        return None
    same = float(scale.numpy().reshape(())) == 1.0 and int(zero.numpy().reshape(())) == 128
    return readers[0].outputs[0] if same else None


def _attach_tail(
    graph: ir.Graph, card: Card, size_hw: tuple[int, int], upsample: Upsample, *, by_cast: bool, tail: TailLayout
) -> None:
    logits = graph.outputs[0]
    if logits.name != LOGITS or logits.shape is None:
        raise ModelFileError(f"The graph's output is '{logits.name}'; '{LOGITS}' was expected.")
    batch, channels, height, width = logits.shape.numpy()
    at = tail_size(size_hw, (height, width), upsample)
    chain, coordinates = _Chain(graph, logits), card.upsampling
    if card.logit == "threshold":
        if at != (height, width):
            _resize(chain, "tail.resize", (batch, channels, *at), mode="linear", coordinates=coordinates)
        chain.then("Greater", "tail.greater", chain.constant("tail.threshold", np.float32(card.threshold)))
        chain.then("Squeeze", "tail.one", chain.constant("tail.one.axis", [1]))
    else:
        _pick_best(chain, (batch, channels, *at), grows=at != (height, width), coordinates=coordinates, tail=tail)
    chain.then("Cast", "tail.cast", to=ir.DataType.FLOAT if by_cast else ir.DataType.UINT8)
    if at != size_hw:
        axis = chain.constant("tail.axis", [1])
        chain.then("Unsqueeze", "tail.unsqueeze", axis)
        _resize(chain, "tail.grow", (batch, 1, *size_hw), mode="nearest", coordinates=coordinates)
        chain.then("Squeeze", "tail.squeeze", axis)
    if by_cast:
        chain.then("Cast", "tail.bytes", to=ir.DataType.UINT8)
    class_map = chain.value
    class_map.name, class_map.type = CLASS_MAP, ir.TensorType(ir.DataType.UINT8)
    class_map.shape = ir.Shape([batch, *size_hw])
    graph.extend(chain.nodes)
    graph.outputs[:] = [class_map]


def _pick_best(chain: _Chain, shape: tuple[int, ...], *, grows: bool, coordinates: str, tail: TailLayout) -> None:
    """The best class, `(N, h, w)`, of logits that are resized to `shape`, `(N, C, h, w)`, where it `grows`."""
    batch, channels, height, width = shape
    if tail == "channels_last_early":
        chain.then("Transpose", "tail.transpose", perm=[0, 2, 3, 1])
        shape = (batch, height, width, channels)
    if grows:
        _resize(chain, "tail.resize", shape, mode="linear", coordinates=coordinates)
    if tail == "channels_last":
        chain.then("Transpose", "tail.transpose", perm=[0, 2, 3, 1])
    chain.then("ArgMax", "tail.argmax", axis=1 if tail == "channels_first" else 3, keepdims=0)


def _resize(chain: _Chain, name: str, shape: tuple[int, ...], *, mode: str, coordinates: str) -> None:
    sizes = chain.constant(f"{name}.sizes", np.array(shape, np.int64))
    chain.then("Resize", name, None, None, sizes, mode=mode, coordinate_transformation_mode=coordinates)
