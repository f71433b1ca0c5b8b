"""Frames in, class maps out: what stands before and behind a prepared or quantized graph in an engine."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, RemoveUnusedNodesPass, ShapeInferencePass

from edgeseg.card import Upsample
from edgeseg.errors import ModelFileError
from edgeseg.graph.io import graph_card, set_card
from edgeseg.graph.passes.adopt_frames import PIXELS
from edgeseg.graph.passes.cut_tail import LOGITS
from edgeseg.graph.values import add_constant, named_node

__all__ = ["CLASS_MAP", "FRAME", "PICKED", "attach_head_and_tail", "tail_size"]

FRAME, CLASS_MAP = "frame", "class_map"
#: The class map before it grows to the frame's size, `(N, 1, h, w)` uint8.
PICKED = "edgeseg.tail.cast.value"


def attach_head_and_tail(model: ir.Model, *, head: str, upsample: Upsample) -> ir.Model:
    """A graph that takes camera frames and gives class maps.

    Args:
        model: Prepared or quantized, with its card; left as it is.
        head: `dequantize` transposes the bytes and dequantizes them once; `cast` casts first, which is all
            that TensorRT accepts.
        upsample: Size at which the best class is picked: `full`, `half`, or `none` for the logits' own; from
            there the class map grows by nearest neighbour.

    Returns:
        A new graph with the input `frame` `(N, H, W, 3)` uint8 (4 channels for `bgrx`) and the output
        `class_map` `(N, H, W)` uint8. The tensor `logits` stays inside.

    Raises:
        ModelFileError: The graph is neither prepared nor quantized.
    """
    card = graph_card(model)
    if card is None or card.kind not in ("prepared", "quantized") or card.size_hw is None:
        raise ModelFileError(f"Only prepared and quantized graphs get a head and a tail, not {card and card.kind}.")
    whole = model.clone()
    maker = _Maker(whole)
    (_head_by_cast if head == "cast" else _head_by_dequantize)(
        maker, card.batch, card.size_hw, card.preprocess.pixel_format
    )
    if card.logit == "threshold":
        _tail(maker, card.size_hw, upsample, card.upsampling, threshold=card.threshold)
    else:
        _tail(maker, card.size_hw, upsample, card.upsampling, threshold=None)
    for tidy in (RemoveUnusedNodesPass(), NameFixPass(), ShapeInferencePass()):
        tidy(whole)
    set_card(whole, msgspec.structs.replace(card, upsample=upsample))
    return whole


def tail_size(size_hw: tuple[int, int], logits_hw: tuple[int, int], upsample: Upsample) -> tuple[int, int]:
    """Height and width at which the best class is picked; never below the logits' own size."""
    if upsample == "full":
        return size_hw
    if upsample == "none":
        return logits_hw
    half = (-(-size_hw[0] // 2), -(-size_hw[1] // 2))
    return half if half[0] > logits_hw[0] and half[1] > logits_hw[1] else logits_hw


class _Maker:
    """Adds nodes to a graph, each with a name and an output of that name."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph

    def node(self, op: str, name: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Node:
        return named_node(op, f"edgeseg.{name}", *inputs, **attributes)

    def constant(self, name: str, array: Any) -> ir.Value:
        return add_constant(self.graph, f"edgeseg.{name}", array)


def _frame_input(
    maker: _Maker, batch: int, size_hw: tuple[int, int], pixel_format: str
) -> tuple[ir.Value, list[ir.Node]]:
    shape = ir.Shape([batch, *size_hw, len(pixel_format)])
    frame = ir.Value(name=FRAME, shape=shape, type=ir.TensorType(ir.DataType.UINT8))
    return frame, []


def _drop_fourth(maker: _Maker, value: ir.Value, pixel_format: str, nodes: list[ir.Node]) -> ir.Value:
    if len(pixel_format) == 3:
        return value
    limits = [
        maker.constant(f"head.{name}", np.array([n], np.int64)) for name, n in (("from", 0), ("to", 3), ("axis", 3))
    ]
    nodes.append(maker.node("Slice", "head.slice", value, *limits))
    return nodes[-1].outputs[0]


def _head_by_dequantize(maker: _Maker, batch: int, size_hw: tuple[int, int], pixel_format: str) -> None:
    frame, nodes = _frame_input(maker, batch, size_hw, pixel_format)
    value = _drop_fourth(maker, frame, pixel_format, nodes)
    nodes.append(maker.node("Transpose", "head.transpose", value, perm=[0, 3, 1, 2]))
    bytes_nchw = nodes[-1].outputs[0]
    quantized = _lossless_quantizer(maker.graph.inputs[0])
    if quantized is not None:
        _replace_input(maker.graph, frame, nodes, quantized, bytes_nchw)
        return
    scale, zero = maker.constant("head.scale", np.float32(1)), maker.constant("head.zero", np.uint8(128))
    nodes.append(maker.node("DequantizeLinear", "head.dequantize", bytes_nchw, scale, zero))
    _replace_input(maker.graph, frame, nodes, maker.graph.inputs[0], nodes[-1].outputs[0])


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


def _head_by_cast(maker: _Maker, batch: int, size_hw: tuple[int, int], pixel_format: str) -> None:
    frame, nodes = _frame_input(maker, batch, size_hw, pixel_format)
    nodes.append(maker.node("Cast", "head.cast", frame, to=ir.DataType.FLOAT))
    value = _drop_fourth(maker, nodes[-1].outputs[0], pixel_format, nodes)
    nodes.append(maker.node("Transpose", "head.transpose", value, perm=[0, 3, 1, 2]))
    middle = maker.constant("head.middle", np.float32(128))
    nodes.append(maker.node("Sub", "head.subtract", nodes[-1].outputs[0], middle))
    _replace_input(maker.graph, frame, nodes, maker.graph.inputs[0], nodes[-1].outputs[0])


def _replace_input(graph: ir.Graph, frame: ir.Value, nodes: list[ir.Node], old: ir.Value, new: ir.Value) -> None:
    if graph.inputs[0].name != PIXELS:
        raise ModelFileError(f"The graph's input is '{graph.inputs[0].name}'; '{PIXELS}' was expected.")
    first = graph[0]
    ir.convenience.replace_all_uses_with(old, new)
    graph.inputs[0] = frame
    graph.insert_before(first, nodes)


def _tail(
    maker: _Maker, size_hw: tuple[int, int], upsample: Upsample, coordinates: str, *, threshold: float | None
) -> None:
    graph = maker.graph
    logits = graph.outputs[0]
    if logits.name != LOGITS or logits.shape is None:
        raise ModelFileError(f"The graph's output is '{logits.name}'; '{LOGITS}' was expected.")
    batch, channels, height, width = logits.shape.numpy()
    at = tail_size(size_hw, (height, width), upsample)
    nodes: list[ir.Node] = []
    value = logits
    if at != (height, width):
        sizes = maker.constant("tail.sizes", np.array([batch, channels, *at], np.int64))
        mode = {"mode": "linear", "coordinate_transformation_mode": coordinates}
        nodes.append(maker.node("Resize", "tail.resize", value, None, None, sizes, **mode))
        value = nodes[-1].outputs[0]
    if threshold is None:
        nodes.append(maker.node("ArgMax", "tail.argmax", value, axis=1, keepdims=1))
    else:
        nodes.append(
            maker.node("Greater", "tail.greater", value, maker.constant("tail.threshold", np.float32(threshold)))
        )
    nodes.append(maker.node("Cast", "tail.cast", nodes[-1].outputs[0], to=ir.DataType.UINT8))
    if at != size_hw:
        sizes = maker.constant("tail.full", np.array([batch, 1, *size_hw], np.int64))
        mode = {"mode": "nearest", "coordinate_transformation_mode": coordinates}
        nodes.append(maker.node("Resize", "tail.grow", nodes[-1].outputs[0], None, None, sizes, **mode))
    axis = maker.constant("tail.axis", np.array([1], np.int64))
    nodes.append(maker.node("Squeeze", "tail.squeeze", nodes[-1].outputs[0], axis))
    class_map = nodes[-1].outputs[0]
    class_map.name, class_map.type = CLASS_MAP, ir.TensorType(ir.DataType.UINT8)
    class_map.shape = ir.Shape([batch, *size_hw])
    graph.extend(nodes)
    graph.outputs[:] = [class_map]
