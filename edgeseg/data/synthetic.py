"""`synthetic://`: a rendered street with the faults of real cameras, to be asked for by frame number."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

import msgspec

from edgeseg.data.uri import split_scheme
from edgeseg.errors import UsageError, nearest

__all__ = ["Synthetic", "parse_synthetic"]

Side = Annotated[int, msgspec.Meta(ge=16, le=8192)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Never = Annotated[int, msgspec.Meta(ge=-1)]


class Synthetic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `synthetic://?key=value&…` asks for. Frame numbers count from 0; -1 is never.

    Attributes:
        width, height: Of the frames, pixels.
        fps: Frames per second, kept like a camera keeps them: who reads too slowly misses frames. 0 waits for the
            reader instead.
        frames: Number of frames, 0 for no end.
        seed: Of the street and of the faults.
        stall_at: Before this frame the source is silent for `stall_s` seconds.
        resize_at: From this frame on, frames have three quarters of their width and height.
        corrupt: Share of frames that arrive damaged, 0 to 1.
        freeze_at: From this frame on, the picture stays the same.
    """

    width: Side = 640
    height: Side = 480
    fps: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.0
    frames: Count = 0
    seed: Count = 0
    stall_at: Never = -1
    stall_s: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 5.0
    resize_at: Never = -1
    corrupt: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    freeze_at: Never = -1

    def size_at(self, index: int) -> tuple[int, int]:
        """Height and width of the frame at `index`, pixels."""
        if 0 <= self.resize_at <= index:
            return self.height * 3 // 4, self.width * 3 // 4
        return self.height, self.width

    def shown_at(self, index: int) -> int:
        """The frame of the street that the frame at `index` shows."""
        return min(index, self.freeze_at) if self.freeze_at >= 0 else index


def parse_synthetic(uri: str) -> Synthetic:
    """The options in `synthetic://` or `synthetic://?width=1280&height=720&fps=30`.

    Raises:
        UsageError: A key is unknown or misspelt (the nearest is named), or a value is out of its range.
    """
    scheme, rest = split_scheme(uri)
    before, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = [key for key in options if key not in Synthetic.__struct_fields__]
    if scheme != "synthetic" or before or unknown:
        wrong = f"'{unknown[0]}' is no option of synthetic://" if unknown else f"'{uri}' is not synthetic://?key=value"
        raise UsageError(f"{wrong}.", hint=nearest(unknown[0] if unknown else "", Synthetic.__struct_fields__))
    try:
        return msgspec.convert(options, Synthetic, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"{uri} does not fit: {error}.") from error
