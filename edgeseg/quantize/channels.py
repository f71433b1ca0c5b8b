"""Which channels of a graph must be scaled by the same factor, and which by none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.graph.values import cuts_edge

__all__ = ["Channels", "channel_count"]

Indices = npt.NDArray[np.intp]

#: Operators that a positive factor passes through, channel by channel.
PASSING = ("AveragePool", "Dropout", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LeakyRelu", "MaxPool", "Relu")


@dataclass
class Channels:
    """One factor for each channel of each tensor; those that must be equal are one.

    Attributes:
        parents: Union-find: by factor the one that it is the same as.
        pinned: Factors that stay 1.
        tensors: By tensor the factors of its channels.
        convs: Each convolution with the factors that it reads and makes.
    """

    parents: list[int] = field(default_factory=list)
    pinned: set[int] = field(default_factory=set)
    tensors: dict[str, Indices] = field(default_factory=dict)
    convs: list[tuple[ir.Node, Indices, Indices]] = field(default_factory=list)

    @classmethod
    def of(cls, graph: ir.Graph) -> Channels:
        """The factors of a graph, each replaced by the one that stands for it."""
        found = cls()
        for value in graph.inputs:
            found._pin(found._new(value))
        for node in graph:
            found._visit(node)
        for value in graph.outputs:
            found._pin(found._at(value))
        roots = np.array([found._root(index) for index in range(len(found.parents))], np.intp)
        found.pinned = {int(roots[index]) for index in found.pinned}
        found.tensors = {name: roots[indices] for name, indices in found.tensors.items()}
        found.convs = [(node, roots[read], roots[made]) for node, read, made in found.convs]
        return found

    def _visit(self, node: ir.Node) -> None:
        data = [value for value in node.inputs if value is not None and value.const_value is None]
        made, *others = node.outputs
        if _is_scalable(node):
            self.convs.append((node, self._at(data[0]), self._new(made)))
        elif _passes(node, data):
            self.tensors[made.name or ""] = self._at(data[0])
        elif node.op_type == "Add" and len(data) == 2 and len({channel_count(v) for v in (*data, made)}) == 1:
            self._join(self._at(data[0]), self._at(data[1]))
            self.tensors[made.name or ""] = self._at(data[0])
        elif node.op_type == "Concat" and node.attributes.get_int("axis", 0) == 1 and len(data) == len(node.inputs):
            self.tensors[made.name or ""] = np.concatenate([self._at(value) for value in data])
        else:
            for value in data:
                self._pin(self._at(value))
            self._pin(self._new(made))
        for value in others:
            self._pin(self._new(value))
        for value in node.outputs:
            if any(usage.node.graph is not node.graph for usage in value.uses()):
                self._pin(self._at(value))

    def _new(self, value: ir.Value) -> Indices:
        start = len(self.parents)
        indices = np.arange(start, start + channel_count(value), dtype=np.intp)
        self.parents.extend(indices.tolist())
        self.tensors[value.name or ""] = indices
        return indices

    def _at(self, value: ir.Value) -> Indices:
        return self.tensors[value.name or ""]

    def _pin(self, indices: Indices) -> None:
        self.pinned.update(indices.tolist())

    def _root(self, index: int) -> int:
        while self.parents[index] != index:
            self.parents[index] = index = self.parents[self.parents[index]]
        return index

    def _join(self, first: Indices, second: Indices) -> None:
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            self.parents[self._root(one)] = self._root(other)


def channel_count(value: ir.Value | None) -> int:
    """How many channels a four-dimensional tensor has; 0 for any other."""
    shape = value.shape if value is not None else None
    size = shape[1] if shape is not None and len(shape) == 4 else 0
    return size if isinstance(size, int) else 0


def _is_scalable(node: ir.Node) -> bool:
    """Whether a node is a convolution of images with constant weights."""
    if node.op_type != "Conv" or not (channel_count(node.inputs[0]) and channel_count(node.outputs[0])):
        return False
    image, *constants = (value.const_value for value in node.inputs if value is not None)
    return image is None and None not in constants


def _passes(node: ir.Node, data: list[ir.Value]) -> bool:
    """Whether a positive factor on its input is the same on its output."""
    same = len(data) == 1 and channel_count(data[0]) == channel_count(node.outputs[0])
    if node.op_type == "Resize":
        return same and node.attributes.get_float("extrapolation_value", 0.0) == 0
    return same and (node.op_type in PASSING or _cuts_at_zero(node) or cuts_edge(node))


def _cuts_at_zero(node: ir.Node) -> bool:
    """Whether a node is a Clip that only cuts off what is below zero."""
    if node.op_type != "Clip":
        return False
    bounds = [value.const_value if value is not None else None for value in node.inputs[1:]] + [None, None]
    low, high = bounds[0], bounds[1]
    return low is not None and float(low.numpy()) == 0 and (high is None or bool(np.isinf(high.numpy()).all()))
