"""What each layer of a graph costs: multiply-adds, and bytes that come from memory and go there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from edgeseg.card import Precision
from edgeseg.graph.cost import node_macs, static_shape

__all__ = ["LayerCost", "layer_costs"]

#: Operators that work on each value by itself, or move none: they are computed with what makes their input.
POINTWISE = frozenset(
    {"Abs", "Add", "BatchNormalization", "Cast", "Clip", "Div", "Elu", "Exp", "Flatten", "Gelu", "Greater"}
    | {"HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow"}
    | {"Relu", "Reshape", "Selu", "Sigmoid", "Softplus", "Sqrt", "Squeeze", "Sub", "Tanh", "Unsqueeze"}
)
SCALED = ("QuantizeLinear", "DequantizeLinear")
#: Bytes of what is float32 in the graph, by the precision that an engine computes it in.
FLOAT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
EIGHT_BITS = (ir.DataType.INT8, ir.DataType.UINT8)


@dataclass(frozen=True)
class LayerCost:
    """One layer: an operator, and those behind it that are computed with it.

    Attributes:
        name: Of the operator's node.
        op: Operator, kernel and kind: `Conv 3x3 depthwise`, `MatMul`.
        precision: That the graph lets it compute in: `int8` where all that it reads is of eight bits.
        macs: Multiply-adds.
        bytes_read, bytes_written: From memory and to it, at least.
        aliases: Names of all its nodes, and of the tensors that they make.
    """

    name: str
    op: str
    precision: Precision
    macs: int
    bytes_read: int
    bytes_written: int
    aliases: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.bytes_read + self.bytes_written


def layer_costs(
    model: ir.Model, floats: Precision = "fp32", together: Mapping[str, str] = MappingProxyType({})
) -> tuple[LayerCost, ...]:
    """The layers of a graph of static shapes, in its order.

    An activation, a sum, a QuantizeLinear or the like that alone reads what a layer makes is computed with that layer
    and costs no bytes of its own. Counted is what crosses a layer's border, each tensor once: what it reads of other
    layers, its weights as they are stored, and what others read of it. Behind QuantizeLinear that is a byte a value; a
    DequantizeLinear costs nothing, who reads it reads the bytes. Scales, sizes and single numbers are left out.

    Args:
        model: Left as it is.
        floats: Precision of what the graph leaves in float: `fp32`, `bf16` or `fp16`.
        together: Names of nodes, and of those before them with which a library computes them.

    Raises:
        ModelFileError: A shape can't be told.
    """
    fixed = model.clone()
    ShapeInferencePass()(fixed)
    layers: list[list[ir.Node]] = []
    place: dict[ir.Value, int] = {}
    named: dict[str, int] = {}
    for node in fixed.graph:
        index = named.get(together.get(node.name or "", ""), _joined(node, place))
        if index is None:
            index = len(layers)
            layers.append([])
        layers[index].append(node)
        named[node.name or ""] = index
        place.update(dict.fromkeys(node.outputs, index))
    return tuple(_cost(nodes, FLOAT_BYTES[floats], floats) for nodes in layers if not _prepares_constants(nodes))


def _joined(node: ir.Node, place: dict[ir.Value, int]) -> int | None:
    """The layer that a node is computed with, of several the last; None where it begins one."""
    if node.op_type in SCALED:
        return place.get(node.inputs[0]) if node.inputs[0] is not None else None
    if node.op_type not in POINTWISE:
        return None
    made = [value for value in node.inputs if value is not None and value in place]
    return max((place[value] for value in made if _has_one_reader(value)), default=None)


def _has_one_reader(value: ir.Value) -> bool:
    """Whether one node alone reads a tensor, and in eight bits too where it was quantized between."""
    chain = {value, _stored(value)}
    return all(len(one.uses()) == 1 and not one.is_graph_output() for one in chain)


def _prepares_constants(nodes: list[ir.Node]) -> bool:
    """Whether nodes do nothing when the engine runs."""
    first = nodes[0]
    if first.op_type == "Constant" or all(node.op_type == "DequantizeLinear" for node in nodes):
        return True
    return all(node.op_type in SCALED for node in nodes) and _is_constant(first.inputs[0])


def _cost(nodes: list[ir.Node], float_bytes: int, floats: Precision) -> LayerCost:
    inside = {value for node in nodes for value in node.outputs}
    read = {_stored(value) for node in nodes for value in _data(node)} - inside
    written = {_stored(value) for value in inside if _is_read_outside(value, nodes)}
    first = next((node for node in nodes if node_macs(node)), nodes[0])
    by_eight_bits = all(_stored(value).dtype in EIGHT_BITS for value in _data(first)[:2])
    return LayerCost(
        name=first.name or first.outputs[0].name or "",
        op=_described(first),
        precision="int8" if by_eight_bits else floats,
        macs=sum(map(node_macs, nodes)),
        bytes_read=_bytes(read, float_bytes),
        bytes_written=_bytes(written, float_bytes),
        aliases=tuple(name for node in nodes for name in (node.name, *(out.name for out in node.outputs)) if name),
    )


def _data(node: ir.Node) -> list[ir.Value]:
    """What a node reads, but for scales, sizes and single numbers."""
    given = [value for value in node.inputs[: 1 if node.op_type in SCALED else None] if value is not None]
    return [value for value in given if not (_is_constant(value) and _is_setting(value))]


def _is_setting(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.INT64 or math.prod(static_shape(value)) <= 1


def _is_constant(value: ir.Value | None) -> bool:
    if value is None or value.const_value is not None:
        return True
    node = value.producer()
    return node is not None and node.op_type == "Constant"


def _is_read_outside(value: ir.Value, nodes: list[ir.Node]) -> bool:
    return value.is_graph_output() or any(usage.node not in nodes for usage in value.uses())


def _stored(value: ir.Value) -> ir.Value:
    """The tensor that lies in memory: in eight bits, where a DequantizeLinear gives it back in float."""
    node = value.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.inputs[0] is None:
        return value
    return node.inputs[0]


def _bytes(values: Iterable[ir.Value], float_bytes: int) -> int:
    return sum(math.prod(static_shape(value)) * _width(value, float_bytes) for value in values)


def _width(value: ir.Value, float_bytes: int) -> int:
    if value.dtype is None or value.dtype == ir.DataType.FLOAT:
        return float_bytes
    return max(1, round(value.dtype.itemsize))


def _described(node: ir.Node) -> str:
    if node.op_type not in ("Conv", "ConvTranspose"):
        return node.op_type
    made, (_, per_group, *kernel) = static_shape(node.outputs[0])[1], static_shape(node.inputs[1])
    groups = node.attributes.get_int("group", 1)
    words = [node.op_type, "x".join(map(str, kernel))]
    if groups > 1:
        words.append("depthwise" if per_group == 1 and groups <= made else f"in {groups} groups")
    return " ".join(words)
