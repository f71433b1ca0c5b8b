"""Small prepared graphs with cards and ranges, shared by the tests of this room."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx_ir.passes.common import ShapeInferencePass

from edgeseg.card import Card, Dialect, Int8Recipe
from edgeseg.graph.io import set_card
from edgeseg.labels import voc_palette
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.measure import measure_ranges
from edgeseg.quantize.ranges import Ranges
from tests.graphs import CLASSES, GraphMaker, tiny_prepared

SIZE_HW = (32, 48)
CARD = Card(
    kind="prepared",
    model="tiny",
    classes=tuple(f"class {i}" for i in range(CLASSES)),
    palette=voc_palette(CLASSES),
    size_hw=SIZE_HW,
    made_from={"graph": "0" * 64},
)


def as_prepared(proto: onnx.ModelProto) -> ir.Model:
    """A graph with shapes and a card, as `prepare_graph` gives it."""
    model: ir.Model = ir.from_proto(proto)
    ShapeInferencePass()(model)
    set_card(model, CARD)
    return model


def prepared() -> ir.Model:
    """A fresh copy of the tiny network."""
    return as_prepared(tiny_prepared(*SIZE_HW))


def frames(count: int, *, seed: int = 1, size_hw: tuple[int, int] = SIZE_HW) -> list[np.ndarray]:
    """Smooth random pixels, whole numbers from -128 to 127."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    coarse = rng.uniform(-128, 127, (count, 1, 3, -(-height // 8), -(-width // 8)))
    blocks = coarse.repeat(8, 3).repeat(8, 4)[..., :height, :width]
    smooth = blocks + rng.normal(0, 12, (count, 1, 3, height, width))
    return list(np.clip(np.rint(smooth), -128, 127).astype(np.float32))


@functools.cache
def ranges() -> Ranges:
    """Of the tiny network on four frames."""
    return ranges_of(prepared())


def ranges_of(model: ir.Model) -> Ranges:
    """Of any graph with the tiny network's input, on four frames."""
    return measure_ranges(model, frames(4), calibration_sha256="c" * 64, threads=1)


def run(model: ir.Model, pixels: np.ndarray) -> np.ndarray:
    """The logits of one frame on ONNX Runtime, Q/DQ nodes as they are written, so that all processors answer alike."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    content = ir.to_proto(model).SerializeToString()
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(["logits"], {"pixels": pixels})[0]
    return logits


def snr_db(model: ir.Model, reference: ir.Model) -> float:
    """Signal to noise of the logits over frames that calibration did not see, in decibels."""
    pairs = [(run(reference, pixels), run(model, pixels)) for pixels in frames(4, seed=2)]
    signal = sum(float(np.sum(wanted**2)) for wanted, _ in pairs)
    noise = sum(float(np.sum((wanted - got) ** 2)) for wanted, got in pairs)
    return 10 * float(np.log10(signal / noise))


def finished(maker: GraphMaker, last: str, channels: int, size_hw: tuple[int, int] = SIZE_HW) -> ir.Model:
    """A prepared graph that ends in a 1x1 classifier on the tensor `last` of that many channels."""
    weight = maker.constant(maker.rng.normal(0, 0.3, (CLASSES, channels, 1, 1)).astype(np.float32))
    maker.node("Conv", last, weight, out="logits", kernel_shape=[1, 1])
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, *SIZE_HW])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES, *size_hw])
    return as_prepared(maker.model([pixels], [logits]))


def node(model: ir.Model, name: str) -> ir.Node:
    """The node of that name."""
    return next(node for node in model.graph if node.name == name)


def constant(value: ir.Value | None) -> np.ndarray:
    """The content of a constant tensor."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def quantizer_of(value: ir.Value | None) -> ir.Node | None:
    """The QuantizeLinear behind a DequantizeLinear that makes `value`, None where it comes from elsewhere."""
    dequantize = value.producer() if value is not None else None
    if dequantize is None or dequantize.op_type != "DequantizeLinear" or dequantize.inputs[0] is None:
        return None
    return dequantize.inputs[0].producer()


@functools.cache
def quantized(dialect: Dialect, **options: object) -> ir.Model:
    """The tiny network in that dialect; not to be changed."""
    return quantize_onnx(prepared(), ranges(), dialect=dialect, recipe=Int8Recipe(**options))  # type: ignore[arg-type]


def pairs(model: ir.Model, op_type: str = "QuantizeLinear") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scale and zero point by the tensor that a Q node reads, or a DQ node if asked for."""
    found = (one for one in model.graph if one.op_type == op_type)
    return {
        one.inputs[0].name or "": (constant(one.inputs[1]), constant(one.inputs[2])) for one in found if one.inputs[0]
    }
