"""The part of the camera's frame that is segmented."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from edgeseg.errors import UsageError
from edgeseg.windows import Window

__all__ = ["Region", "Roi"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Roi:
    """A rectangle, in pixels, or in shares of the frame where no value is above 1.

    Attributes:
        x, y: Of its upper left corner.
        width, height: Of it.
    """

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def parse(cls, text: str) -> Roi:
        """From `x,y,width,height`.

        Raises:
            UsageError: These are not four numbers of a rectangle.
        """
        try:
            x, y, width, height = (float(word) for word in text.split(","))
        except ValueError:
            x = y = width = height = -1
        if not (x >= 0 and y >= 0 and width > 0 and height > 0 and max(x, y, width, height) < 65536):
            raise UsageError(
                f"'{text}' is no region.",
                hint="Give x,y,width,height in pixels, or in shares of the frame: --roi 0,0.5,1,0.5 is its lower half.",
            )
        return cls(x, y, width, height)

    def window(self, frame_hw: tuple[int, int]) -> Window:
        """Its whole pixels in a frame of that height and width.

        Raises:
            UsageError: It reaches out of the frame.
        """
        height, width = frame_hw
        shares = max(self.x, self.y, self.width, self.height) <= 1
        across, down = (width, height) if shares else (1, 1)
        left, top = round(self.x * across), round(self.y * down)
        right, bottom = round((self.x + self.width) * across), round((self.y + self.height) * down)
        if right > width or bottom > height or right <= left or bottom <= top:
            region = f"{self.x:g},{self.y:g},{self.width:g},{self.height:g}"
            raise UsageError(f"The region {region} does not lie in frames of {width}x{height} pixels.")
        return Window(top, left, bottom - top, right - left)


@dataclass
class Region:
    """What of each source's frames is segmented. It stays where it is should a camera begin to give another size.

    Attributes:
        roi: As it was asked for; None is all. Pixels are those of a source's first frame.
    """

    roi: Roi | None
    _shares: dict[str, Roi] = field(default_factory=dict)
    _sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def window(self, source: str, frame_hw: tuple[int, int]) -> Window:
        """Its whole pixels in a frame of that source.

        Raises:
            UsageError: It reaches out of the source's first frame.
        """
        before = self._sizes.get(source)
        if before != frame_hw:
            self._sizes[source] = frame_hw
            if before is not None:
                sizes = [f"{width}x{height}" for height, width in (before, frame_hw)]
                logger.warning("'%s' gives frames of %s pixels now, not of %s.", source, sizes[1], sizes[0])
        if self.roi is None:
            return Window(0, 0, *frame_hw)
        if source not in self._shares:
            found, (height, width) = self.roi.window(frame_hw), frame_hw
            self._shares[source] = Roi(
                found.left / width, found.top / height, found.width / width, found.height / height
            )
        return self._shares[source].window(frame_hw)
