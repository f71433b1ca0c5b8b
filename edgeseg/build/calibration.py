"""Ranges, and the frames that they were measured on and not measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.data.calibration import FrameSet

if TYPE_CHECKING:
    from edgeseg.quantize.ranges import Ranges

__all__ = ["Calibration"]


@dataclass(frozen=True)
class Calibration:
    """Ranges, and what the gate must know of how they came about.

    Attributes:
        ranges: None for float engines.
        frames: That they were measured on, where that was now.
        search: Further frames of the same source, to choose calibrators and blocks by.
        held_out: Further frames of the same source, for a gate that has none of its own.
        warnings: Sentences.
        chosen_by: Keys of frames that choices were made by elsewhere.
    """

    ranges: Ranges | None = None
    frames: FrameSet | None = None
    search: FrameSet | None = None
    held_out: FrameSet | None = None
    warnings: tuple[str, ...] = ()
    chosen_by: tuple[str, ...] = ()
