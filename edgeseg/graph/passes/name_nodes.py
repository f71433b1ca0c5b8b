"""Every node and tensor has a name that calibration can hold on to."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, ShapeInferencePass, TopologicalSortPass

__all__ = ["NameNodes"]


class NameNodes(ir.passes.InPlacePass):
    """Name what has no name, make names unique, sort the nodes, and infer all shapes.

    From here on nothing is renamed: ranges refer to these names.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        for index, node in enumerate(model.graph):
            node.name = node.name or f"{node.op_type}_{index}"
        for tidy in (TopologicalSortPass(), NameFixPass(), ShapeInferencePass()):
            tidy(model)
        return ir.passes.PassResult(model, modified=True)
