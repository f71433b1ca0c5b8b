"""Bring the graph to the opset that every engine library reads."""

from __future__ import annotations

import logging

import onnx
import onnx_ir as ir
from onnx import version_converter
from onnx_ir.passes.common import InlinePass, RemoveUnusedOpsetsPass

from edgeseg.errors import ModelFileError

__all__ = ["OPSET", "SetOpset"]

logger = logging.getLogger(__name__)

#: TensorRT 8.6 stops here, and per-channel Q/DQ needs 13.
OPSET = 17
#: The quantizer of ONNX Runtime stops here.
LAST = 20
IR_VERSION = 10


class SetOpset(ir.passes.FunctionalPass):
    """Inline functions and convert to opset 17 and IR 10.

    1. Older graphs are raised to 17, newer ones lowered where ONNX's converter can.
    2. A graph of opset 18 to 20 that can't be lowered stays as it is; only TensorRT 8.6 minds.
    3. Anything else is refused.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        model = model.clone()
        InlinePass()(model)
        RemoveUnusedOpsetsPass()(model)
        foreign = sorted(domain for domain in model.opset_imports if domain not in ("", "ai.onnx"))
        if foreign:
            raise ModelFileError(
                f"The graph uses operators of {', '.join(foreign)}, which only some libraries know.",
                hint="Export it with the standard operators of ONNX.",
            )
        opset = model.opset_imports.get("", 0)
        if opset != OPSET:
            model = self._convert(model, opset)
        model.ir_version = IR_VERSION
        return ir.passes.PassResult(model, modified=True)

    def _convert(self, model: ir.Model, opset: int) -> ir.Model:
        try:
            converted = ir.from_proto(version_converter.convert_version(ir.to_proto(model), OPSET))
            _drop_leftovers(converted)
            onnx.checker.check_model(ir.to_proto(converted))
            return converted
        except (RuntimeError, onnx.checker.ValidationError, ValueError) as error:
            reason = str(error).strip().split("\n")[0]
            if OPSET < opset <= LAST:
                logger.info("Opset %d is kept: %s", opset, reason)
                return model
            raise ModelFileError(
                f"The graph has opset {opset} and can't be converted to {OPSET}: {reason}",
                hint=f"Export it with opset {OPSET}.",
            ) from error


def _drop_leftovers(model: ir.Model) -> None:
    """ONNX's converter turns the axes of reductions back into an attribute, but leaves one that came with 18."""
    for node in model.graph:
        if node.op_type.startswith("Reduce") and "axes" in node.attributes:
            node.attributes.pop("noop_with_empty_axes", None)
