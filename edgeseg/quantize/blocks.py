"""Blocks: the parts of a graph that are quantized, or left in float, together."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import onnx_ir as ir

from edgeseg.quantize.rules import WEIGHTED, float_nodes

__all__ = ["Block", "find_blocks"]

#: Operators with weights in one block at most: expansion, depthwise and projection of an inverted residual.
MOST = 3


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A run of operators, each the only reader of the one before.

    Attributes:
        name: Of its first operator with weights.
        label: For people: what its author called that operator, where its weights tell, else the name.
        nodes: Names of its operators.
        weighted: Names of those with weights.
        parameters: Values in their weights.
    """

    name: str
    label: str
    nodes: tuple[str, ...]
    weighted: tuple[str, ...]
    parameters: int


def find_blocks(prepared: ir.Model) -> list[Block]:
    """The blocks of a prepared graph, in its order.

    1. A run of operators ends where a tensor has several readers, where an operator reads several tensors, and before
       a fourth operator with weights.
    2. Operators without weights between runs belong to none; they follow their neighbours.
    3. What stays in float in every dialect, such as the classifier, is in no block.
    """
    always_float = float_nodes(prepared.graph)
    return [
        Block(
            name=weighted[0].name or "",
            label=_label(weighted[0]),
            nodes=tuple(node.name or "" for node in run),
            weighted=tuple(node.name or "" for node in weighted),
            parameters=sum(_parameters(node) for node in weighted),
        )
        for run in _runs(prepared.graph)
        if (weighted := [node for node in run if node.op_type in WEIGHTED and node.name not in always_float])
    ]


def _runs(graph: ir.Graph) -> Iterator[list[ir.Node]]:
    """The graph's nodes cut into runs, in the order of their first nodes."""
    taken: set[ir.Node] = set()
    for first in graph:
        if first in taken:
            continue
        run, node = [first], _only_reader(first)
        while node is not None and node not in taken and sum(one.op_type in WEIGHTED for one in [*run, node]) <= MOST:
            run.append(node)
            node = _only_reader(node)
        taken.update(run)
        yield run


def _only_reader(node: ir.Node) -> ir.Node | None:
    """The node that alone reads `node` and reads nothing else that is computed."""
    uses = [usage.node for value in node.outputs for usage in value.uses()]
    if len(uses) != 1 or any(value.is_graph_output() for value in node.outputs):
        return None
    computed = [value for value in uses[0].inputs if value is not None and value.const_value is None]
    return uses[0] if len(computed) == 1 else None


def _label(node: ir.Node) -> str:
    """`blocks.3.conv` where the weights are `blocks.3.conv.weight`, as PyTorch names them."""
    weights = node.inputs[1].name if len(node.inputs) > 1 and node.inputs[1] is not None else None
    module, dot, rest = (weights or "").rpartition(".weight")
    return module if dot and (not rest or rest.startswith(".")) and module else node.name or ""


def _parameters(node: ir.Node) -> int:
    weights = node.inputs[1] if len(node.inputs) > 1 else None
    return 0 if weights is None or weights.const_value is None else int(weights.const_value.size)
