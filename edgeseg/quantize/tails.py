"""Long tails: tensors whose few largest values take bits from all others."""

from __future__ import annotations

import math

import msgspec
import onnx_ir as ir

from edgeseg.quantize.calibrators import thresholds
from edgeseg.quantize.ranges import Ranges

__all__ = ["Tail", "find_tails"]

ACTIVATIONS = ("Clip", "Relu")


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """How one tensor's values lie.

    Attributes:
        minimum, maximum: Exact.
        most: Magnitude that 99.99 % of the values do not exceed.
        bits: That minmax spends on the rest: the binary logarithm of the largest magnitude over `most`.
    """

    tensor: str
    minimum: float
    maximum: float
    most: float
    bits: float


def find_tails(ranges: Ranges, prepared: ir.Model) -> list[Tail]:
    """The tensors that are quantized, those that lose most to their tail first.

    A tensor that only Relu or Clip reads is left out: what it holds is cut before it is rounded.
    """
    cut = {
        value.name
        for node in prepared.graph
        for value in node.outputs
        if (readers := value.uses()) and all(usage.node.op_type in ACTIVATIONS for usage in readers)
    }
    most = thresholds(ranges, "percentile:99.99", "s8-sym")
    tails = [
        Tail(
            tensor=name,
            minimum=found.minimum,
            maximum=found.maximum,
            most=most[name][1],
            bits=math.log2(max(-found.minimum, found.maximum) / most[name][1]) if most[name][1] > 0 else 0.0,
        )
        for name, found in ranges.tensors.items()
        if name not in cut
    ]
    return sorted(tails, key=lambda tail: (-tail.bits, tail.tensor))
