"""Fold batch normalization into the convolution before it."""

from __future__ import annotations

import onnx_ir as ir
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_pad_into_conv_rule,
)

__all__ = ["FoldBatchNorm"]


class FoldBatchNorm(ir.passes.InPlacePass):
    """Fold BatchNormalization, and zero padding by a Pad node, into the convolutions beside them.

    Unfolded, both stay between the quantized convolutions as float islands.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        before = model.graph.num_nodes()
        rules = [
            fuse_batchnorm_into_conv_rule,
            fuse_batchnorm_into_conv_transpose_rule,
            fuse_pad_into_conv_rule,
        ]
        RewritePass(rules)(model)
        return ir.passes.PassResult(model, modified=model.graph.num_nodes() != before)
