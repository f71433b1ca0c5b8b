"""The quantizer of ONNX Runtime, fed with thresholds, without its files, its log lines and its traps."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass, TopologicalSortPass
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import add_infer_metadata
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from edgeseg.quantize.calibrators import Threshold

__all__ = ["ALL_OPERATORS", "Form", "insert_qdq"]

logger = logging.getLogger(__name__)

#: All that ONNX Runtime has eight-bit kernels or rules for.
ALL_OPERATORS = tuple(sorted({*QLinearOpsRegistry, *QDQRegistry}))
#: Largest magnitude told for a channel whose weights are all zero, so that its bias is still met finely.
DEAD_CHANNEL = 2.0**-10


@dataclass(frozen=True)
class Form:
    """How ONNX Runtime's quantizer is to place Q/DQ nodes.

    Attributes:
        activations: Type of activations; weights are always signed and symmetric.
        operators: Types of operators to quantize.
        reduce_range: 7 bits for weights.
        inputs_only: No Q/DQ behind an operator, unless the next one wants it.
        options: Further options of `QDQQuantizer`.
    """

    activations: QuantType
    operators: tuple[str, ...]
    reduce_range: bool = False
    inputs_only: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def insert_qdq(
    model: ir.Model,
    limits: Mapping[str, Threshold],
    form: Form,
    keep_float: Collection[str],
    *,
    per_tensor: bool = False,
) -> ir.Model:
    """A new graph with Q/DQ nodes, sorted, every tensor and node named after what it was made from.

    Args:
        model: Shapes inferred, nodes named.
        limits: Of every float tensor.
        form: Where Q/DQ nodes go and what they are.
        keep_float: Names of nodes that are not quantized.
        per_tensor: One scale for all weights of an operator.
    """
    proto = ir.to_proto(model)
    # Else the quantizer writes the model to a temporary folder to infer its shapes.
    add_infer_metadata(proto)
    limits32 = {name: np.array(limit, np.float32) for name, limit in limits.items()}
    bare_outputs = sorted({node.op_type for node in model.graph}) if form.inputs_only else []
    options = {
        "WeightSymmetric": True,
        "TensorQuantOverrides": _overrides(model, form, per_tensor=per_tensor),
        "OpTypesToExcludeOutputQuantization": bare_outputs,
        **form.options,
    }
    with _quiet():
        quantizer = QDQQuantizer(
            proto,
            per_channel=not per_tensor,
            reduce_range=form.reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=form.activations,
            tensors_range={name: TensorData(lowest=low, highest=high) for name, (low, high) in limits32.items()},
            nodes_to_quantize=[],
            nodes_to_exclude=sorted(keep_float),
            op_types_to_quantize=list(form.operators),
            extra_options=options,
        )
        quantized: ir.Model = ir.from_proto(quantizer.quantize_model())
    quantized.metadata_props.clear()
    quantized.metadata_props.update(model.metadata_props)
    quantized.producer_name, quantized.producer_version = model.producer_name, model.producer_version
    TopologicalSortPass()(quantized)
    ShapeInferencePass()(quantized)
    return quantized


def _overrides(model: ir.Model, form: Form, *, per_tensor: bool) -> dict[str, list[dict[str, Any]]]:
    """What the quantizer is told of single weights, by their names.

    1. A range for channels whose weights are all zero; else their scale becomes 1, and their bias a multiple of that.
    2. One scale for a transposed convolution in groups whose bias is quantized: with one scale for each place in a
       group, the bias would need as many as it has channels.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    limit = {"rmin": np.float32(-DEAD_CHANNEL), "rmax": np.float32(DEAD_CHANNEL)}
    for node in model.graph:
        weight = node.inputs[1] if node.op_type in ("Conv", "ConvTranspose") else None
        if weight is None or weight.const_value is None or weight.name is None:
            continue
        axis = 0 if node.op_type == "Conv" else 1
        channels = np.moveaxis(weight.const_value.numpy(), axis, 0)
        dead = np.abs(channels.reshape(len(channels), -1)).max(1) < np.finfo(np.float32).tiny
        grouped = node.op_type == "ConvTranspose" and node.attributes.get_int("group", 1) > 1
        if per_tensor or (grouped and form.options.get("QuantizeBias", True)):
            found[weight.name] = [limit if dead.all() else {}]
        elif dead.any():
            found[weight.name] = [{"axis": axis, **(limit if one else {})} for one in dead]
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Take what onnxruntime writes to the root logger into this module's, as debug messages."""
    root, stand_in = logging.getLogger(), logging.NullHandler()

    def own(record: logging.LogRecord) -> bool:
        if "onnxruntime" not in record.pathname:
            return True
        logger.debug("onnxruntime: %s", record.getMessage())
        return False

    root.addFilter(own)
    # Without any handler, logging.warning() would install one for good.
    root.addHandler(stand_in)
    try:
        yield
    finally:
        root.removeHandler(stand_in)
        root.removeFilter(own)
