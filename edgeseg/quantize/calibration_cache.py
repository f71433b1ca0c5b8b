"""Ranges as TensorRT's own calibration cache, for implicit INT8: TensorRT up to 10.7, and its DLA."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

import onnx_ir as ir

from edgeseg.card import Int8Recipe
from edgeseg.errors import UsageError
from edgeseg.quantize.dialects import activation_limits
from edgeseg.quantize.ranges import Ranges

__all__ = ["cache_header", "calibration_cache"]

#: The last that has implicit INT8 on a DLA; 11 has none at all.
LAST = (10, 7)


def calibration_cache(
    prepared: ir.Model, ranges: Ranges, recipe: Int8Recipe, version: str, *, more: Mapping[str, float] | None = None
) -> bytes:
    """The cache that `trtexec --calib` reads: a line for each tensor, its scale as the bits of a float32.

    Every tensor has an entry, because TensorRT computes a layer in half precision that lacks one. Which nodes stay in
    float can't be said here; `trtexec --layerPrecisions` can.

    Args:
        prepared: Float graph that is given to TensorRT, whose names the entries have.
        ranges: Of its weights.
        recipe: Calibrator.
        version: Of the TensorRT that will read it, as in `8.5.2`: it takes caches of its own version alone.
        more: Largest magnitudes of tensors that were put before the graph, by name.

    Raises:
        UsageError: That version has no implicit INT8, or there is no such calibrator.
        ModelFileError: The ranges belong to other weights.
    """
    limits = activation_limits(prepared, ranges, recipe, "s8-sym")
    largest = {name: max(-low, high) for name, (low, high) in limits.items()} | dict(more or {})
    lines = [cache_header(version)]
    lines += [f"{name}: {struct.pack('>f', magnitude / 127).hex()}" for name, magnitude in largest.items()]
    return "\n".join(lines).encode() + b"\n"


def cache_header(version: str) -> str:
    """First line of the cache of a version, such as `TRT-8502-EntropyCalibration2`.

    Raises:
        UsageError: It is no version with implicit INT8.
    """
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    numbers = tuple(int(part or 0) for part in match.groups()) if match else ()
    if not numbers or not (8, 0) <= numbers[:2] <= LAST:
        raise UsageError(
            f"TensorRT '{version}' reads no calibration cache of implicit INT8.",
            hint="Possible: 8.0 to 10.7, as in 8.5.2 (JetPack 5.1) or 10.3.0 (JetPack 6.2). Later ones take s8-sym.",
        )
    major, minor, patch = numbers
    number = major * 10000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch
    return f"TRT-{number}-EntropyCalibration2"
