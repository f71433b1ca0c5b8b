"""Prepared graphs with the structures of networks, one each, around a first convolution of unlike channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper

from tests.graphs import GraphMaker
from tests.quantize.tiny import SIZE_HW, finished

HALF_HW = (SIZE_HW[0] // 2, SIZE_HW[1] // 2)


def weights(m: GraphMaker, *shape: int, spread: float = 1.0) -> str:
    """Of channels that are up to `spread` times as large as others."""
    factors = spread ** m.rng.uniform(0, 1, (shape[0], *[1] * (len(shape) - 1)))
    return m.constant((m.rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape) * factors).astype(np.float32))


def start(m: GraphMaker) -> str:
    """The convolution n0, 8 channels of very different magnitudes, and what Relu leaves of them."""
    kernel = weights(m, 8, 3, 3, 3, spread=30)
    return m.node("Relu", m.node("Conv", "pixels", kernel, pads=[1] * 4))


def through(op: str, size_hw: tuple[int, int] = SIZE_HW, **attributes: object) -> Callable[[], ir.Model]:
    """Two convolutions with one operator between them, behind a Relu."""

    def make() -> ir.Model:
        m = GraphMaker()
        return finished(m, m.conv(m.node(op, start(m), **attributes), 8, 8, act="relu"), 8, size_hw)

    return make


def clipped(*bounds: float | None) -> Callable[[], ir.Model]:
    def make() -> ir.Model:
        m = GraphMaker()
        limits = ["" if bound is None else m.constant(np.float32(bound)) for bound in bounds]
        x = m.node("Clip", m.node("Conv", "pixels", weights(m, 8, 3, 1, 1, spread=30)), *limits)
        return finished(m, m.conv(x, 8, 8, act="relu"), 8)

    return make


def resized(**attributes: object) -> Callable[[], ir.Model]:
    def make() -> ir.Model:
        m = GraphMaker()
        sizes = m.constant(np.array([1, 8, *HALF_HW], np.int64))
        box = m.constant(np.array([0, 0, 0, 0, 1, 1, 2, 2], np.float32)) if "extrapolation_value" in attributes else ""
        return finished(m, m.conv(m.node("Resize", start(m), box, "", sizes, **attributes), 8, 8), 8, HALF_HW)

    return make


def depthwise_and_pointwise() -> ir.Model:
    m = GraphMaker()
    x = m.conv(start(m), 8, 8, 3, groups=8, act="relu")
    return finished(m, m.conv(x, 8, 8, act="relu"), 8)


def in_groups() -> ir.Model:
    m = GraphMaker()
    x = m.node("Relu", m.node("Conv", start(m), weights(m, 12, 4, 3, 3, spread=30), group=2, pads=[1] * 4))
    return finished(m, m.conv(x, 12, 8, groups=4, act="relu"), 8)


def residual() -> ir.Model:
    m = GraphMaker()
    x = start(m)
    x = m.node("Add", x, m.conv(x, 8, 8, 3))
    x = m.node("Add", m.conv(x, 8, 8, 3), x)
    return finished(m, m.conv(m.node("Relu", x), 8, 8, act="relu"), 8)


def added_everywhere() -> ir.Model:
    """A tensor of one place is added to all places."""
    m = GraphMaker()
    x = start(m)
    x = m.node("Add", x, m.conv(m.node("GlobalAveragePool", x), 8, 8))
    return finished(m, m.conv(x, 8, 8, act="relu"), 8)


def concatenated() -> ir.Model:
    m = GraphMaker()
    x = start(m)
    y = m.conv(x, 8, 4, 3, act="relu")
    return finished(m, m.conv(m.node("Concat", x, y, x, axis=1), 20, 8, act="relu"), 8)


def concatenated_rows() -> ir.Model:
    m = GraphMaker()
    x = start(m)
    y = m.node("Concat", x, m.conv(x, 8, 8, act="relu"), axis=2)
    return finished(m, m.conv(y, 8, 8, act="relu"), 8, (2 * SIZE_HW[0], SIZE_HW[1]))


def gated() -> ir.Model:
    """Squeeze and excitation."""
    m = GraphMaker()
    x = start(m)
    gate = m.node("Sigmoid", m.conv(m.conv(m.node("GlobalAveragePool", x), 8, 4, act="relu"), 4, 8))
    return finished(m, m.conv(m.node("Mul", x, gate), 8, 8, act="relu"), 8)


def transposed(groups: int = 1, *, bias: bool = False) -> ir.Model:
    m = GraphMaker()
    biases = [m.constant(m.rng.normal(0, 30, 8).astype(np.float32))] if bias else []
    kernel = weights(m, 8, 8 // groups, 2, 2)
    x = m.node("ConvTranspose", start(m), kernel, *biases, kernel_shape=[2, 2], strides=[2, 2], group=groups)
    return finished(m, m.conv(x, 8, 8, stride=2, act="relu"), 8)


def unpooled() -> ir.Model:
    """Places of maxima are kept and used again, as in SegNet."""
    m = GraphMaker()
    m.nodes.append(
        helper.make_node("MaxPool", [start(m)], ["y", "where"], name="pool", kernel_shape=[2, 2], strides=[2, 2])
    )
    x = m.node("MaxUnpool", m.conv("y", 8, 8, act="relu"), "where", kernel_shape=[2, 2], strides=[2, 2])
    return finished(m, m.conv(x, 8, 8, act="relu"), 8)


def over_channels() -> ir.Model:
    """A gate made by a convolution of one dimension, as in ECA."""
    m = GraphMaker()
    x = start(m)
    line = m.node("Reshape", m.node("GlobalAveragePool", x), m.constant(np.array([1, 1, 8], np.int64)))
    mixed = m.node("Conv", line, weights(m, 1, 1, 3), pads=[1, 1])
    gate = m.node("Sigmoid", m.node("Reshape", mixed, m.constant(np.array([1, 8, 1, 1], np.int64))))
    return finished(m, m.conv(m.node("Mul", x, gate), 8, 8, act="relu"), 8)


def masked() -> ir.Model:
    """A tensor of truth values decides."""
    m = GraphMaker()
    x = start(m)
    y = m.node("Where", m.node("Greater", x, m.constant(np.float32(50))), x, m.conv(x, 8, 8))
    return finished(m, m.conv(y, 8, 8, act="relu"), 8)


def read_inside() -> ir.Model:
    """A graph inside of a node reads a tensor that convolutions read too."""
    m = GraphMaker()
    x = start(m)
    y = m.conv(x, 8, 8, act="relu")
    bright = m.node("Greater", m.node("ReduceMax", "pixels", keepdims=0), m.constant(np.float32(0)))
    parts = []
    for op in ("Relu", "Neg"):
        output = helper.make_tensor_value_info(f"{op}.out", TensorProto.FLOAT, [1, 8, *SIZE_HW])
        inner = helper.make_node(op, [x], [f"{op}.out"], name=f"{op}.inner")
        parts.append(helper.make_graph([inner], op, [], [output]))
    z = m.node("Add", y, m.node("If", bright, then_branch=parts[0], else_branch=parts[1]))
    return finished(m, m.conv(z, 8, 8, act="relu"), 8)


def shared_weights() -> ir.Model:
    """One convolution reads two tensors of different magnitudes."""
    m = GraphMaker()
    x = start(m)
    y = m.conv(x, 8, 8, 3, act="relu")
    kernel, bias = weights(m, 8, 8, 3, 3), m.constant(m.rng.normal(0, 1, 8).astype(np.float32))
    one, other = (m.node("Relu", m.node("Conv", value, kernel, bias, pads=[1] * 4)) for value in (x, y))
    return finished(m, m.node("Concat", one, other, axis=1), 16)


def computed_weights() -> ir.Model:
    """The second convolution has weights that come from the frame, the third one a bias."""
    m = GraphMaker()
    x = start(m)
    kernel = m.node("Reshape", m.conv(m.node("GlobalAveragePool", x), 8, 64), m.constant(np.array([8, 8, 1, 1])))
    bias = m.node("Reshape", m.conv(m.node("GlobalAveragePool", x), 8, 8), m.constant(np.array([8])))
    y = m.node("Relu", m.node("Conv", x, kernel))
    z = m.node("Relu", m.node("Conv", y, weights(m, 8, 8, 1, 1), bias))
    return finished(m, m.conv(z, 8, 8, act="relu"), 8)
