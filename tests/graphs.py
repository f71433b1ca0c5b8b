"""Small networks as ONNX, with the structures of real ones, made without torch."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 4


class GraphMaker:
    """Collects nodes and weights; every method returns the name of the tensor it made."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, *inputs: str, out: str = "", **attributes: object) -> str:
        name = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def conv(
        self, x: str, cin: int, cout: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, act: str = ""
    ) -> str:
        shape = (cout, cin // groups, kernel, kernel)
        weight = self.rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
        bias = self.rng.normal(0, 0.1, cout).astype(np.float32)
        pad = kernel // 2
        y = self.node(
            "Conv", x, self.constant(weight), self.constant(bias),
            kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=groups,
        )  # fmt: skip
        if act == "relu6":
            limits = (self.constant(np.float32(0)), self.constant(np.float32(6)))
            return self.node("Clip", y, *limits)
        return self.node("Relu", y) if act == "relu" else y

    def model(
        self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto], opset: int = 17
    ) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "tiny", inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def tiny_prepared(height: int = 32, width: int = 48, *, seed: int = 0, batch: int = 1) -> onnx.ModelProto:
    """A prepared graph: `pixels` (frame - 128, float) in, `logits` at stride 4 out, static shape.

    Inverted residual with depthwise convolution, residual Add, GlobalAveragePool branch, Concat, and a classifier.
    """
    m = GraphMaker(seed)
    x = m.conv("pixels", 3, 8, 3, stride=2, act="relu6")
    low = m.conv(x, 8, 16, 3, stride=2, act="relu6")
    y = m.conv(low, 16, 32, act="relu6")
    y = m.conv(y, 32, 32, 3, groups=32, act="relu6")
    y = m.conv(y, 32, 16)
    y = m.node("Add", low, y)
    deep = m.conv(y, 16, 24, 3, stride=2, act="relu")
    pooled = m.conv(m.node("GlobalAveragePool", deep), 24, 8, act="relu")
    h, w = -(-height // 8), -(-width // 8)
    sizes = m.constant(np.array([batch, 8, h, w], np.int64))
    grown = m.node("Resize", pooled, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")
    y = m.conv(m.node("Concat", deep, grown, axis=1), 32, 16, act="relu")
    sizes = m.constant(np.array([batch, 16, -(-height // 4), -(-width // 4)], np.int64))
    y = m.node("Resize", y, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")
    y = m.conv(m.node("Concat", y, low, axis=1), 32, 16, 3, act="relu")
    m.nodes.append(
        helper.make_node(
            "Conv",
            [
                y,
                m.constant(m.rng.normal(0, 0.3, (CLASSES, 16, 1, 1)).astype(np.float32)),
                m.constant(np.zeros(CLASSES, np.float32)),
            ],
            ["logits"],
            name="classifier",
            kernel_shape=[1, 1],
        )
    )
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, height, width])
    logits = helper.make_tensor_value_info(
        "logits", TensorProto.FLOAT, [batch, CLASSES, -(-height // 4), -(-width // 4)]
    )
    return m.model([pixels], [logits])
