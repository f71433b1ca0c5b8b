"""How a stream is to be run."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.errors import UsageError
from edgeseg.stream.roi import Roi

__all__ = ["StreamOptions"]


@dataclass(frozen=True)
class StreamOptions:
    """What may be asked of a stream.

    Attributes:
        opacity: Of the overlay's colours, 0 to 1.
        hud: Whether overlays tell state, FPS and frame age; None is for live sources alone.
        roi: What of each frame is segmented; the rest is 255. None is all.
        target_fps: Of each source at most so many frames a second are inferred; others are left out evenly.
        smooth: Strength of the temporal smoothing, 0 to 1; see `Smoothing`.
        unknown: Pixels whose best class has less confidence than this, 0 to 1, are 255; needs a session for logits.
        limit: At most so many frames are inferred; None is all.

    Raises:
        UsageError: One is out of its range.
    """

    opacity: float = 0.5
    hud: bool | None = None
    roi: Roi | None = None
    target_fps: float | None = None
    smooth: float = 0.0
    unknown: float | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("opacity", "smooth", "unknown"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"'{name}' is {value}; 0 to 1 is possible.")
        for name in ("target_fps", "limit"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"'{name}' is {value}; it must be above 0.")
