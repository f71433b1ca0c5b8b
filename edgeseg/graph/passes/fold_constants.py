"""Compute what does not depend on the frame."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    IdentityEliminationPass,
    LiftConstantsToInitializersPass,
    LiftSubgraphInitializersToMainGraphPass,
    RemoveUnusedNodesPass,
)
from onnxscript.optimizer import optimize
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.rules.common import no_op_transpose_rule, transpose_transpose_rule

__all__ = ["FoldConstants"]


class FoldConstants(ir.passes.InPlacePass):
    """Fold constants and shapes, drop identities and pairs of transpositions, lift constants to initializers.

    On a graph with a frozen shape, all that computes shapes goes.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        before = model.graph.num_nodes()
        optimize(model)
        rewrite(model, [no_op_transpose_rule, transpose_transpose_rule])
        for tidy in (
            IdentityEliminationPass(),
            LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
            LiftSubgraphInitializersToMainGraphPass(),
            CommonSubexpressionEliminationPass(),
            RemoveUnusedNodesPass(),
        ):
            tidy(model)
        return ir.passes.PassResult(model, modified=model.graph.num_nodes() != before)
