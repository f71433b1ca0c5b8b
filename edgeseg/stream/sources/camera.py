"""What the local cameras share: the options in their addresses, and the time of capture on this machine's clock."""

from __future__ import annotations

import time
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl

import msgspec

from edgeseg.data.uri import split_scheme
from edgeseg.errors import UsageError, nearest

__all__ = ["Number", "Rate", "Side", "camera_number", "monotonic_ns", "parse_camera"]

Options = TypeVar("Options", bound=msgspec.Struct)
Side = Annotated[int, msgspec.Meta(ge=16, le=8192)]
Rate = Annotated[float, msgspec.Meta(ge=0.1, le=1000)]
Number = Annotated[int, msgspec.Meta(ge=0)]
#: A time of capture is believed that lies at most so many nanoseconds back.
BELIEVED_NS = 10_000_000_000


def parse_camera(uri: str, kind: type[Options]) -> tuple[str, Options]:
    """The place that a camera's address names, such as `0` or `/dev/video0`, and its options.

    Args:
        uri: `csi://0?width=1280&height=720`, or without the scheme.
        kind: Struct of the options.

    Raises:
        UsageError: A key is unknown or misspelt (the nearest is named), or a value is out of its range.
    """
    place, _, query = split_scheme(uri)[1].partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key in options:
        if key not in kind.__struct_fields__:
            raise UsageError(f"'{key}' is no option of {uri}.", hint=nearest(key, kind.__struct_fields__))
    try:
        return place, msgspec.convert(options, kind, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"{uri} does not fit: {error}.", hint=_example(uri, kind)) from error


def camera_number(place: str, uri: str) -> int:
    """The number in `csi://0`; 0 where none is given.

    Raises:
        UsageError: It is no number.
    """
    if place and not place.isdecimal():
        raise UsageError(f"'{place}' is no number of a camera.", hint=f"Such as {split_scheme(uri)[0]}://0")
    return int(place or 0)


def monotonic_ns(stamp_ns: int) -> int | None:
    """A camera's time stamp as `time.monotonic_ns()` would have it; None where it is not of the last ten seconds.

    Drivers take it from that clock, or from the one that goes on while the machine is suspended.
    """
    now_ns = time.monotonic_ns()
    suspended_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns
    stamps = (stamp_ns, stamp_ns - suspended_ns)
    return next((stamp for stamp in stamps if 0 <= now_ns - stamp <= BELIEVED_NS), None)


def _example(uri: str, kind: type[Options]) -> str:
    return (
        "Such as " + uri.partition("?")[0] + "?" + "&".join(f"{k}={v}" for k, v in msgspec.to_builtins(kind()).items())
    )
