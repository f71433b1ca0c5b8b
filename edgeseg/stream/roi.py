"""The part of the camera's frame that is segmented."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.errors import UsageError
from edgeseg.windows import Window

__all__ = ["Roi"]


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
