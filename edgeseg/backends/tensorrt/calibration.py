"""The calibration cache of implicit INT8, of which each version of TensorRT takes its own alone."""

from __future__ import annotations

import re

from edgeseg.errors import UsageError

__all__ = ["cache_header", "calibration_cache"]

#: The last that has implicit INT8 on a DLA; 11 has none at all.
LAST = (10, 7)


def calibration_cache(entries: bytes, version: str) -> bytes:
    """The whole cache for a version of TensorRT, of its lines.

    Raises:
        UsageError: That version has no implicit INT8.
    """
    return cache_header(version).encode() + b"\n" + entries


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
