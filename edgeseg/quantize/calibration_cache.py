"""Ranges as TensorRT's own calibration cache, for implicit INT8: TensorRT up to 10.7, and its DLA."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import onnx_ir as ir

from edgeseg.card import Int8Recipe
from edgeseg.quantize.dialects import activation_limits
from edgeseg.quantize.ranges import Ranges

__all__ = ["cache_entries"]


def cache_entries(
    prepared: ir.Model, ranges: Ranges, recipe: Int8Recipe, *, more: Mapping[str, float] | None = None
) -> bytes:
    """The cache that `trtexec --calib` reads, without its header: a line for each tensor, with its scale's bits.

    Every tensor has an entry, because TensorRT computes a layer in half precision that lacks one. Which nodes stay in
    float can't be said here; `trtexec --layerPrecisions` can.

    Args:
        prepared: Float graph that is given to TensorRT, whose names the entries have.
        ranges: Of its weights.
        recipe: Calibrator.
        more: Largest magnitudes of tensors that were put before the graph, by name.

    Raises:
        UsageError: There is no such calibrator.
        ModelFileError: The ranges belong to other weights.
    """
    limits = activation_limits(prepared, ranges, recipe, "s8-sym")
    largest = {name: max(-low, high) for name, (low, high) in limits.items()} | dict(more or {})
    lines = (f"{name}: {struct.pack('>f', magnitude / 127).hex()}\n" for name, magnitude in largest.items())
    return "".join(lines).encode()
