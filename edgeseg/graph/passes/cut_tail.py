"""Cut off what a graph does after its logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import onnx_ir as ir

from edgeseg.errors import UsageError

__all__ = ["LOGITS", "CutTail", "Tail", "gives_probabilities"]

#: Name of the prepared graph's output: `(N, C, h, w)` float32 at the decoder's own size.
LOGITS = "logits"

Coordinates = Literal["align_corners", "half_pixel", "asymmetric"]
NHWC_TO_NCHW, NCHW_TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]


@dataclass(frozen=True)
class Tail:
    """What was found behind the logits, from the output back.

    Attributes:
        labels: The output was a label map.
        resized: A bilinear resize was cut off; `coordinates` are its.
        activation: Softmax or Sigmoid was cut off.
        threshold: A comparison was cut off, with this value on its input.
        channels_last: The tensor reached has its channels last.
        probabilities: The tensor reached holds probabilities, which the graph goes on with.
    """

    labels: bool = False
    resized: bool = False
    coordinates: Coordinates = "half_pixel"
    activation: Literal["", "softmax", "sigmoid"] = ""
    threshold: float | None = None
    channels_last: bool = False
    probabilities: bool = False

    def threshold_on_logits(self, asked: float | None) -> float:
        """The threshold to compare the single channel with, on the tensor that is left.

        Args:
            asked: On the graph's own output; without it the graph's, or 0.5 of a probability, or 0 of a logit.
        """
        value = asked if asked is not None else self.threshold
        if self.activation != "sigmoid":
            return (0.5 if self.probabilities else 0.0) if value is None else value
        value = 0.5 if value is None else value
        if not 0 < value < 1:
            raise UsageError(
                f"The threshold {value} is out of range: the output is a probability, so above 0 and below 1."
            )
        return math.log(value / (1 - value))


class CutTail(ir.passes.InPlacePass):
    """Make the logits at the decoder's own size the only output, and tell in `tail` what was cut off.

    Walking back from the output: casts and squeezes, one ArgMax or comparison, one Softmax or Sigmoid, one
    bilinear Resize of height and width, and transpositions of the channels. What stands before the Resize
    stays, so that the graph computes what it did.

    Args:
        output: Name of the tensor to begin at, an output or any tensor inside; None where there is one output.
    """

    def __init__(self, output: str | None = None) -> None:
        super().__init__()
        self.output = output
        self.tail = Tail()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        value, tail = self._start(model.graph), Tail()
        while (producer := value.producer()) is not None and producer.op_type in _STEPS:
            further = _STEPS[producer.op_type](producer, tail)
            source = producer.inputs[0]
            if further is None or source is None:
                break
            value, tail = source, further
        tail = replace(tail, probabilities=gives_probabilities(value))
        value, tail = _channels_first(model.graph, value, tail)
        self.tail = tail
        _check(value, tail)
        _become_output(model.graph, value)
        return ir.passes.PassResult(model, modified=True)

    def _start(self, graph: ir.Graph) -> ir.Value:
        described = ", ".join(f"'{v.name}' {_shape_text(v)}" for v in graph.outputs)
        if self.output is None:
            if len(graph.outputs) != 1:
                raise UsageError(
                    f"The graph has {len(graph.outputs)} outputs: {described}.",
                    hint=f"Say which one holds the logits: --output {graph.outputs[0].name}",
                )
            return graph.outputs[0]
        inside = {value.name: value for node in graph for value in node.outputs}
        if self.output not in inside:
            raise UsageError(f"The graph has no tensor '{self.output}'.", hint=f"Its outputs: {described}.")
        return inside[self.output]


Step = Callable[[ir.Node, Tail], "Tail | None"]


def _pass(node: ir.Node, tail: Tail) -> Tail | None:
    return tail if not tail.resized else None


def _argmax(node: ir.Node, tail: Tail) -> Tail | None:
    axis = node.attributes.get_int("axis", 0)
    if tail.labels or axis not in (1, 3, -1, -3):
        return None
    return replace(tail, labels=True, channels_last=axis in (3, -1))


def _compare(node: ir.Node, tail: Tail) -> Tail | None:
    constant = ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] is not None else None
    if tail.labels or constant is None or constant.size != 1:
        return None
    return replace(tail, labels=True, threshold=float(constant.numpy().reshape(())))


def _activation(node: ir.Node, tail: Tail) -> Tail | None:
    if tail.activation or tail.resized:
        return None
    return replace(tail, activation="sigmoid" if node.op_type == "Sigmoid" else "softmax")


def _resize(node: ir.Node, tail: Tail) -> Tail | None:
    known: dict[str, Coordinates] = {
        "align_corners": "align_corners",
        "half_pixel": "half_pixel",
        "pytorch_half_pixel": "half_pixel",
        "asymmetric": "asymmetric",
    }
    coordinates = known.get(node.attributes.get_string("coordinate_transformation_mode", "half_pixel") or "")
    bilinear = node.attributes.get_string("mode", "nearest") == "linear" and not node.attributes.get_int("antialias", 0)
    if tail.resized or coordinates is None or not bilinear or not _grows(node):
        return None
    return replace(tail, resized=True, coordinates=coordinates)


def _grows(node: ir.Node) -> bool:
    before, after = node.inputs[0].shape if node.inputs[0] is not None else None, node.outputs[0].shape
    if before is None or after is None or len(before) != 4 or not (before.is_static() and after.is_static()):
        return False
    small, large = before.numpy(), after.numpy()
    return tuple(small[:2]) == tuple(large[:2]) and small[2] <= large[2] and small[3] <= large[3]


def _transpose(node: ir.Node, tail: Tail) -> Tail | None:
    order = list(node.attributes.get_ints("perm", ()))
    if order == NCHW_TO_NHWC and not tail.resized:
        return replace(tail, channels_last=False)
    return None


#: Operators that the walk back from the output may step over.
_STEPS: dict[str, Step] = {
    "Cast": _pass,
    "Identity": _pass,
    "Squeeze": _pass,
    "ArgMax": _argmax,
    "Greater": _compare,
    "GreaterOrEqual": _compare,
    "Softmax": _activation,
    "LogSoftmax": _activation,
    "Sigmoid": _activation,
    "Resize": _resize,
    "Transpose": _transpose,
}


def _channels_first(graph: ir.Graph, value: ir.Value, tail: Tail) -> tuple[ir.Value, Tail]:
    """Transpose logits whose channels are last: told by ArgMax, else by the smaller dimension."""
    shape = value.shape
    if shape is None or len(shape) != 4 or not shape.is_static():
        return value, tail
    _, first, height, width = shape.numpy()
    last = tail.channels_last or (width < first and width < height)
    if not last:
        return value, tail
    node = ir.node("Transpose", [value], {"perm": NHWC_TO_NCHW}, name="logits.transpose")
    node.outputs[0].name, node.outputs[0].type = f"{value.name}.channels_first", value.type
    node.outputs[0].shape = ir.Shape([shape[0], shape[3], shape[1], shape[2]])
    producer = value.producer()
    if producer is None:
        raise UsageError("The graph's output is its input; there is nothing to build.")
    graph.insert_after(producer, node)
    return node.outputs[0], replace(tail, channels_last=True)


def _check(value: ir.Value, tail: Tail) -> None:
    shape, dtype = value.shape, value.dtype
    where = f"'{value.name}' {_shape_text(value)}"
    logits = _behind_labels(value)
    if logits is not None:
        raise UsageError(
            f"The output {where} is a label map that is resized after its ArgMax; edgeseg needs the logits before.",
            hint=f"Name them: --output {logits.name}",
        )
    if dtype is not None and dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        found = _nearest_logits(value)
        what = "a label map that no ArgMax makes" if dtype.is_integer() else "no tensor of floats"
        raise UsageError(
            f"The output {where} is {what} ({dtype}); edgeseg needs the logits before it.",
            hint=f"Name the tensor that holds one channel per class: --output {found.name if found else 'NAME'}",
        )
    if shape is None or len(shape) != 4:
        raise UsageError(
            f"The output {where} is no map over the image: a segmentation network gives (N, classes, h, w).",
            hint="Is this a classifier or a detector? Otherwise name the logits: --output NAME",
        )
    if tail.activation == "softmax" and shape[1] == 1:
        raise UsageError(f"The output {where} is a softmax over one channel, which is 1 everywhere.")


def gives_probabilities(value: ir.Value) -> bool:
    """Whether a tensor is a probability that was at most moved about or resized since."""
    producer = value.producer()
    while producer is not None and producer.op_type in _MOVES and producer.inputs[0] is not None:
        producer = producer.inputs[0].producer()
    if producer is not None and producer.op_type == "Clip":
        limits = [ir.convenience.get_const_tensor(v) if v is not None else None for v in producer.inputs[1:3]]
        return [None if limit is None else float(limit.numpy()) for limit in limits] == [0.0, 1.0]
    return producer is not None and producer.op_type in ("Sigmoid", "HardSigmoid", "Softmax", "Round")


def _nearest_logits(value: ir.Value) -> ir.Value | None:
    """The nearest float tensor before `value` with several channels and a map."""
    waiting = [value]
    for _ in range(32):
        producer = waiting.pop(0).producer() if waiting else None
        for source in producer.inputs if producer is not None else ():
            if source is not None and source.producer() is not None:
                shape = source.shape
                if source.dtype is ir.DataType.FLOAT and shape is not None and len(shape) == 4 and shape[1] != 1:
                    return source
                waiting.append(source)
    return None


def _behind_labels(value: ir.Value) -> ir.Value | None:
    """The logits of a label map that was only moved about since its ArgMax, None where there is none."""
    producer = value.producer()
    while producer is not None and producer.op_type in _MOVES and producer.inputs[0] is not None:
        producer = producer.inputs[0].producer()
    return producer.inputs[0] if producer is not None and producer.op_type == "ArgMax" else None


_MOVES = ("Cast", "Identity", "Reshape", "Resize", "Squeeze", "Transpose", "Unsqueeze", "Upsample")


def _become_output(graph: ir.Graph, value: ir.Value) -> None:
    graph.outputs.clear()
    for node in graph:
        for other in node.outputs:
            if other is not value and other.name == LOGITS:
                other.name = f"{LOGITS}.before"
    value.name = LOGITS
    graph.outputs.append(value)


def _shape_text(value: ir.Value) -> str:
    return "of unknown shape" if value.shape is None else "(" + ", ".join(str(dim) for dim in value.shape) + ")"
