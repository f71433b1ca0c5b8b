"""Segmentation graphs as other toolkits export them: one small network in all the shapes that occur."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, version_converter

from tests.graphs import GraphMaker

HEIGHT, WIDTH, CLASSES = 24, 32, 3


@dataclass
class Shape:
    """How a graph is written.

    Attributes:
        end: `logits` full size, `softmax`, `labels`, `labels_keepdims`, `small` (decoder's size), `sigmoid`, `raw`
            (one channel), `greater` (one channel, compared), `nearest` (label map grown by nearest neighbour),
            `sigmoid_first` and `softmax_first` (resized after the activation), `clip` (one channel cut to 0 and 1).
        computed_pad: Padding whose widths are computed from ConstantOfShape, as the older exporter of torch writes it.
        free: Names of free dimensions of the input.
        minus_one: Free dimensions, in the middle of the graph too, are -1 instead, as older exporters of Paddle write.
        batch_norm: BatchNormalization is left unfolded.
        shape_nodes: The upsampling's size is computed by nodes from the input's shape.
    """

    end: str = "logits"
    channels_last: bool = False
    free: tuple[str, ...] = ()
    batch: int = 1
    batch_norm: bool = False
    shape_nodes: bool = False
    auxiliary: bool = False
    coordinates: str = "half_pixel"
    opset: int = 17
    pad: bool = False
    computed_pad: bool = False
    minus_one: bool = False


def foreign(shape: Shape, seed: int = 13) -> ir.Model:
    """A network trained on normalized RGB, written in that shape."""
    m = GraphMaker(seed)
    channels = 1 if shape.end in ("sigmoid", "sigmoid_first", "clip", "raw", "greater") else CLASSES
    x = m.node("Transpose", "image", perm=[0, 3, 1, 2]) if shape.channels_last else "image"
    if shape.computed_pad:
        x = _computed_pad(m, x)
        y = m.node("Relu", _unpadded(m, x))
    elif shape.pad:
        x = m.node("Pad", x, m.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)))
        y = m.node("Relu", _unpadded(m, x))
    else:
        y = m.conv(x, 3, 8, 3, stride=2, act="relu")
    if shape.batch_norm:
        y = _batch_norm(m, m.conv(y, 8, 8, 3), 8)
    y = m.node("Add", m.conv(y, 8, 8, 3, groups=8, act="relu6"), y)
    pooled = m.node("ReduceMean", y, axes=[2, 3], keepdims=1)
    y = m.node("Mul", y, m.node("Sigmoid", pooled))
    y = m.conv(y, 8, 8, 3, act="relu")
    weight = m.rng.normal(0, 1, (channels, 8, 1, 1)).astype(np.float32)
    logits = m.node("Conv", y, m.constant(weight), m.constant(m.rng.normal(0, 0.5, channels).astype(np.float32)))
    outputs = [_end(m, logits, shape, channels)]
    if shape.auxiliary:
        outputs.append(_grow(m, m.conv(y, 8, channels), shape, channels))
    return ir.from_proto(_model(m, shape, outputs))


def _computed_pad(m: GraphMaker, x: str) -> str:
    """Zero padding by one: widths [1, 1, 1, 1] and zeros up to eight, reversed in pairs and laid out for Pad."""
    zeros = m.node("ConstantOfShape", m.constant(np.array([4], np.int64)), value=helper.make_tensor("v", 7, [1], [0]))
    widths = m.node("Concat", m.constant(np.ones(4, np.int64)), zeros, axis=0)
    pairs = m.node("Reshape", widths, m.constant(np.array([-1, 2], np.int64)))
    steps = [m.constant(np.array([number], np.int64)) for number in (-1, -(2**62), 0, -1)]
    turned = m.node("Transpose", m.node("Slice", pairs, *steps), perm=[1, 0])
    flat = m.node("Reshape", turned, m.constant(np.array([-1], np.int64)))
    return m.node("Pad", x, m.node("Cast", flat, to=TensorProto.INT64))


def _unpadded(m: GraphMaker, x: str) -> str:
    weight = m.rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32)
    return m.node(
        "Conv", x, m.constant(weight), m.constant(np.zeros(8, np.float32)), kernel_shape=[3, 3], strides=[2, 2]
    )


def _batch_norm(m: GraphMaker, x: str, channels: int) -> str:
    values = [m.rng.uniform(0.5, 1.5, channels), m.rng.normal(0, 0.1, channels)]
    values += [m.rng.normal(0, 0.1, channels), m.rng.uniform(0.5, 1.5, channels)]
    return m.node("BatchNormalization", x, *(m.constant(value.astype(np.float32)) for value in values))


def _grow(m: GraphMaker, x: str, shape: Shape, channels: int) -> str:
    mode = {"mode": "linear", "coordinate_transformation_mode": shape.coordinates}
    roi = m.constant(np.zeros(0, np.float32))
    if not shape.shape_nodes:
        return m.node("Resize", x, roi, m.constant(np.array([1, 1, 2, 2], np.float32)), **mode)
    whole = m.node("Shape", "image")
    dims = m.node("Gather", whole, m.constant(np.array([1, 2] if shape.channels_last else [2, 3], np.int64)), axis=0)
    batch = m.node("Gather", whole, m.constant(np.array([0], np.int64)), axis=0)
    sizes = m.node("Concat", batch, m.constant(np.array([channels], np.int64)), dims, axis=0)
    return m.node("Resize", x, roi, m.constant(np.zeros(0, np.float32)), sizes, **mode)


def _end(m: GraphMaker, logits: str, shape: Shape, channels: int) -> str:
    if shape.end == "small":
        return logits
    if shape.end == "nearest":
        labels = m.node("Cast", m.node("ArgMax", logits, axis=1, keepdims=1), to=TensorProto.FLOAT)
        return m.node("Resize", labels, "", m.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    if shape.end in ("sigmoid_first", "softmax_first"):
        sigmoid = shape.end == "sigmoid_first"
        logits = m.node("Sigmoid", logits) if sigmoid else m.node("Softmax", logits, axis=1)
    y = _grow(m, logits, shape, channels)
    if shape.end == "clip":
        return m.node("Clip", y, m.constant(np.float32(0)), m.constant(np.float32(1)))
    if shape.channels_last:
        y = m.node("Transpose", y, perm=[0, 2, 3, 1])
    axis = 3 if shape.channels_last else 1
    if shape.end == "softmax":
        return m.node("Softmax", y, axis=axis)
    if shape.end in ("labels", "labels_keepdims"):
        return m.node("ArgMax", y, axis=axis, keepdims=int(shape.end == "labels_keepdims"))
    if shape.end == "sigmoid":
        return m.node("Sigmoid", y)
    if shape.end == "greater":
        return m.node(
            "Cast", m.node("Greater", m.node("Sigmoid", y), m.constant(np.float32(0.3))), to=TensorProto.UINT8
        )
    return y


def _model(m: GraphMaker, shape: Shape, outputs: list[str]) -> onnx.ModelProto:
    size: list[int | str] = [shape.batch, 3, HEIGHT, WIDTH]
    for index, name in ((0, "N"), (2, "H"), (3, "W")):
        size[index] = name if name in shape.free else size[index]
    if shape.channels_last:
        size = [size[0], size[2], size[3], size[1]]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, size)
    graph = helper.make_graph(
        m.nodes, "foreign", [image], [onnx.ValueInfoProto(name=name) for name in outputs], m.weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", min(shape.opset, 17))], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    known = {value.name: value for value in model.graph.value_info} | {
        value.name: value for value in model.graph.output
    }
    typed = [known[name] for name in outputs]
    model.graph.ClearField("output")
    model.graph.output.extend(typed)
    model = model if shape.opset <= 17 else version_converter.convert_version(model, shape.opset)
    if shape.minus_one:
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
            for dim in value.type.tensor_type.shape.dim:
                dim.dim_value = dim.dim_value or -1
    return model


def classifier() -> ir.Model:
    """A network that gives one score per class for the whole image."""
    m = GraphMaker()
    y = m.node("Flatten", m.node("GlobalAveragePool", m.conv("image", 3, 10)))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    scores = helper.make_tensor_value_info(y, TensorProto.FLOAT, [1, 10])
    return ir.from_proto(m.model([image], [scores]))
