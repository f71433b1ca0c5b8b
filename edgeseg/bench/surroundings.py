"""Where a benchmark ran, and how the machine was before, during and after it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg import __version__
from edgeseg.bench.figures import changed, conditions_of, flags, latency_of
from edgeseg.bench.record import Environment
from edgeseg.bench.reference import VERSION
from edgeseg.device import describe_device
from edgeseg.device.conditions import Moment
from edgeseg.device.state import describe_state, throttle_counts

__all__ = ["Surroundings", "versions"]

#: Besides the backends' libraries, whose versions stand beside their engines.
PACKAGES = ("numpy", "opencv-python", "opencv-python-headless")


class Surroundings:
    """The machine as it is now, before anything is measured.

    Args:
        packages: Whose versions matter to speed.
    """

    def __init__(self, packages: Sequence[str] = PACKAGES) -> None:
        self._packages = packages
        self._device, self._before, self._throttled = describe_device(), describe_state(), throttle_counts()

    def environment(self, moments: Sequence[Moment], reference_ms: npt.NDArray[np.float64]) -> Environment:
        """What a record says of it, now that all is measured.

        Args:
            moments: Looks at the machine meanwhile.
            reference_ms: Times of the reference kernel.
        """
        after = describe_state()
        told = latency_of(reference_ms, (50.0,)) if len(reference_ms) else None
        return Environment(
            device=self._device,
            before=self._before,
            after=after,
            versions=versions(self._packages),
            container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
            reference_ms=float(np.median(reference_ms)) if told else None,
            reference_interval_ms=(told.intervals_ms["50"] or (told.min_ms, told.max_ms)) if told else None,
            reference_version=VERSION,
            conditions=conditions_of(moments),
            flags=(*changed(self._before, after), *flags(moments, self._throttled, throttle_counts())),
        )


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of edgeseg and of those of the packages that are there."""
    found = {"edgeseg": __version__}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
