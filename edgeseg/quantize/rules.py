"""What the dialects ask of a graph beyond the placing of Q/DQ nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeseg.graph.values import cuts_edge
from edgeseg.quantize.calibrators import Threshold

__all__ = ["WEIGHTED", "FloatResidual", "constant_operands", "float_nodes", "share_concat_limits", "with_parts"]

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
POINTWISE = ("Add", "Sub", "Mul", "Div", "Gather", "Transpose", "Cast")


def float_nodes(graph: ir.Graph) -> set[str]:
    """Names of the nodes that stay in float in every dialect.

    1. The classifier: the last operator with weights before the logits, and whatever follows.
    2. What turns pixels into a normalized image before the first convolution.
    3. Clip where its bounds leave out zero: the quantizer would drop it, and eight bits always reach to zero.
    """
    found = {*_tail(graph), *_head(graph)}
    found |= {node.name or "" for node in graph if node.op_type == "Clip" and not _clips_around_zero(node)}
    return found


def constant_operands(graph: ir.Graph, op_type: str) -> set[str]:
    """Names of the nodes of that type with a constant among their operands."""
    nodes = (node for node in graph if node.op_type == op_type)
    return {node.name or "" for node in nodes if any(v is not None and v.const_value is not None for v in node.inputs)}


def with_parts(graph: ir.Graph, limits: Mapping[str, Threshold]) -> dict[str, Threshold]:
    """Limits of tensors that are parts of others, too: those of the whole, so that no input size asks for its own."""
    whole = dict(limits)
    for node in graph:
        source = node.inputs[0].name if cuts_edge(node) and node.inputs[0] is not None else None
        if source in whole:
            whole[node.outputs[0].name or ""] = whole[source]
    return whole


def share_concat_limits(graph: ir.Graph, limits: Mapping[str, Threshold]) -> dict[str, Threshold]:
    """Give the inputs and the output of each Concat their widest range; Concats that share a tensor get one range."""
    shared = dict(limits)
    groups: list[set[str]] = []
    for node in graph:
        if node.op_type == "Concat":
            names = (value.name for value in (*node.inputs, *node.outputs) if value is not None)
            group = {name for name in names if name is not None and name in limits}
            touching = [other for other in groups if other & group]
            groups = [other for other in groups if not other & group] + [group.union(*touching)]
    for group in groups:
        widest = min(limits[name][0] for name in group), max(limits[name][1] for name in group)
        shared.update(dict.fromkeys(group, widest))
    return shared


class FloatResidual(ir.passes.InPlacePass):
    """A residual Add reads the branch that comes straight from a Conv in float, so that both become one kernel.

    1. The skip branch keeps its Q/DQ.
    2. Where both branches come from a Conv, the later one is read in float.
    3. Q/DQ nodes that nobody reads any more are removed.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        order = {node: index for index, node in enumerate(model.graph)}
        changed = False
        for add in (node for node in model.graph if node.op_type == "Add"):
            sources = [_before_qdq(value) for value in add.inputs]
            made = [source.producer() if source is not None else None for source in sources]
            convs = [index for index, node in enumerate(made) if node is not None and node.op_type == "Conv"]
            if convs:
                main = max(convs, key=lambda index: order[made[index]])  # type: ignore[index]
                add.replace_input_with(main, sources[main])
                changed = True
        RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, modified=changed)


def _before_qdq(value: ir.Value | None) -> ir.Value | None:
    """The tensor that a Q/DQ pair passes on, None where `value` comes from no such pair."""
    dequantize = value.producer() if value is not None else None
    if dequantize is None or dequantize.op_type != "DequantizeLinear" or dequantize.inputs[0] is None:
        return None
    quantize = dequantize.inputs[0].producer()
    return quantize.inputs[0] if quantize is not None and quantize.op_type == "QuantizeLinear" else None


def _tail(graph: ir.Graph) -> Iterator[str]:
    waiting = [value.producer() for value in graph.outputs]
    while waiting:
        node = waiting.pop()
        if node is not None:
            yield node.name or ""
            if node.op_type not in WEIGHTED:
                waiting += [value.producer() for value in node.inputs if value is not None]


def _head(graph: ir.Graph) -> Iterator[str]:
    waiting = [usage.node for value in graph.inputs for usage in value.uses()]
    while waiting:
        node = waiting.pop()
        if node.op_type in POINTWISE:
            yield node.name or ""
            waiting += [usage.node for value in node.outputs for usage in value.uses()]


def _clips_around_zero(clip: ir.Node) -> bool:
    bounds = []
    for index, default in ((1, float("-inf")), (2, float("inf"))):
        value = clip.inputs[index] if len(clip.inputs) > index else None
        if value is not None and value.const_value is None:
            return False
        bounds.append(default if value is None or value.const_value is None else float(value.const_value.numpy()))
    return bounds[0] <= 0 <= bounds[1]
