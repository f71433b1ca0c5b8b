"""Which class reads which kind of source, and that source in this very process."""

from __future__ import annotations

import importlib
import re

import msgspec

from edgeseg.data.images import IMAGE_SUFFIXES
from edgeseg.data.synthetic import parse_synthetic
from edgeseg.data.uri import local_path, split_scheme, without_password
from edgeseg.errors import SourceLost, UsageError, nearest
from edgeseg.stream.source import Source
from edgeseg.stream.sources.files import ImageSource, VideoSource
from edgeseg.stream.sources.looped import Looped
from edgeseg.stream.sources.synthetic import SyntheticSource

__all__ = ["CAMERAS", "POSSIBLE", "camera_kind", "is_network", "keeps_time", "open_here"]

#: Cameras by scheme, imported when they are opened. Each class takes the whole address and the first frame's number.
CAMERAS = {
    "v4l2": "edgeseg.stream.sources.v4l2:V4l2Source",
    "csi": "edgeseg.stream.sources.csi:CsiSource",
    "picamera": "edgeseg.stream.sources.picamera:PicameraSource",
    "rtsp": "edgeseg.stream.sources.network:NetworkSource",
    "rtsps": "edgeseg.stream.sources.network:NetworkSource",
    "http": "edgeseg.stream.sources.network:NetworkSource",
    "https": "edgeseg.stream.sources.network:NetworkSource",
}
NETWORK = ("rtsp", "rtsps", "http", "https")
OTHERS = ("demo", "file", "synthetic")
POSSIBLE = (
    "Possible: 0 or /dev/video0 (USB camera), csi://0, picamera://0, rtsp://host/path, http://host/path, a video file, "
    "an image, a folder of images, demo://bikes, synthetic://?width=640&height=480&fps=30"
)


def camera_kind(uri: str) -> str:
    """The scheme of a camera's address, `v4l2` for `0` and `/dev/video0`; empty for all else."""
    if re.match(r"(\d+|/dev/(video\d+|v4l/.+))(\?|$)", uri):
        return "v4l2"
    scheme = split_scheme(uri)[0]
    return scheme if scheme in CAMERAS else ""


def is_network(uri: str) -> bool:
    """Whether frames come over a network, where waiting takes longer."""
    return camera_kind(uri) in NETWORK


def keeps_time(uri: str) -> bool:
    """Whether frames come by the source's own clock: cameras, and `synthetic://` with `fps`.

    Raises:
        UsageError: An option of `synthetic://` does not fit.
    """
    return bool(camera_kind(uri)) or (split_scheme(uri)[0] == "synthetic" and parse_synthetic(uri).fps > 0)


def open_here(uri: str, *, first: int = 0, loop: bool = False, waits: bool = False) -> Source:
    """The source that `uri` means, read by this process.

    Args:
        uri: See `open_source`.
        first: Number of the first frame, of a source that goes on where it was.
        loop: A file begins anew at its end; `synthetic://` has none.
        waits: Each frame of `synthetic://` waits to be read, whatever its pace.

    Raises:
        UsageError: There is no such kind of source, or an option does not fit.
        SourceLost: There is nothing at the address, or it can't be decoded.
        MissingDependency: The package or library that it needs is not there.
    """
    kind = camera_kind(uri)
    if kind:
        module, _, name = CAMERAS[kind].partition(":")
        camera: Source = getattr(importlib.import_module(module), name)(uri, first=first)
        return camera
    scheme = split_scheme(uri)[0]
    if scheme == "synthetic":
        spec = parse_synthetic(uri)
        return SyntheticSource(msgspec.structs.replace(spec, frames=0) if loop else spec, first=first, waits=waits)
    path = local_path(uri)
    if path is None:
        hint = nearest(scheme, [*CAMERAS, *OTHERS])
        raise UsageError(
            f"'{without_password(uri)}' is no source that can be opened.",
            hint=POSSIBLE if hint.startswith("Possible") else hint,
        )
    if not path.is_dir() and not path.is_file():
        shown = f"***@{uri.rpartition('@')[2]}" if "@" in uri else path  # Perhaps an address without its scheme.
        raise SourceLost(f"There is no file and no folder at {shown}.", hint=POSSIBLE)
    kind_of_file = ImageSource if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES else VideoSource
    return Looped(lambda: kind_of_file(path)) if loop else kind_of_file(path)
