"""Networks that eight bits harm: channels of one tensor differ by orders of magnitude, and all of them matter."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper

from tests.graphs import GraphMaker

HEIGHT, WIDTH, CHANNELS, CLASSES = 24, 32, 16, 3


def fragile(activation: str, *, spread: float, seed: int = 4) -> ir.Model:
    """Five convolutions; between the second and the third the channels' magnitudes span `spread`.

    Args:
        activation: Behind that tensor: `relu`, which a factor passes through, or `relu6`, which pins it. The values
            stay below 6 either way.
        spread: Largest magnitude over the smallest; 1 gives the same function with like channels.
    """
    m = GraphMaker(seed)
    factors = np.geomspace(1, spread, CHANNELS).astype(np.float32)
    y = m.conv("image", 3, CHANNELS, 3, stride=2, act="relu")
    weight = m.rng.normal(0, 0.05, (CHANNELS, CHANNELS, 1, 1)).astype(np.float32) / factors[:, None, None, None]
    y = m.node("Conv", y, m.constant(weight), m.constant(np.zeros(CHANNELS, np.float32)))
    y = (
        m.node("Relu", y)
        if activation == "relu"
        else m.node("Clip", y, m.constant(np.float32(0)), m.constant(np.float32(6)))
    )
    weight = m.rng.normal(0, 0.6, (CHANNELS, CHANNELS, 1, 1)).astype(np.float32) * factors[None, :, None, None]
    y = m.node("Relu", m.node("Conv", y, m.constant(weight), m.constant(np.zeros(CHANNELS, np.float32))))
    y = m.conv(y, CHANNELS, CHANNELS, 3, act="relu")
    weight = m.rng.normal(0, 2, (CLASSES, CHANNELS, 1, 1)).astype(np.float32)
    logits = m.node("Conv", y, m.constant(weight), m.constant(np.zeros(CLASSES, np.float32)), out="logits")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    output = helper.make_tensor_value_info(logits, TensorProto.FLOAT, [1, CLASSES, HEIGHT // 2, WIDTH // 2])
    return ir.from_proto(m.model([image], [output]))
