"""Sources of frames, opened by one word."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

from edgeseg.stream.live import LiveSource, Patience, Reading
from edgeseg.stream.source import Source
from edgeseg.stream.sources.table import camera_kind, is_network, keeps_time, open_here
from edgeseg.stream.sources.v4l2 import lasting_address

__all__ = ["open_source", "patience_with"]

Policy = Literal["latest", "all"]


def patience_with(uri: str) -> Patience:
    """How long a source of that kind is waited for: 2 s for a frame, 10 s over a network."""
    return Patience(open_s=15.0, stall_s=10.0) if is_network(uri) else Patience()


def open_source(
    uri: str,
    *,
    policy: Policy | None = None,
    loop: bool = False,
    stop: Callable[[], bool] = lambda: False,
    patience: Patience | None = None,
) -> Source:
    """The source that `uri` means.

    What keeps its own time, cameras above all, is read by a process of its own, opened again where it fails (see
    `LiveSource`). Closed at the end: `with open_source(uri) as source`.

    Args:
        uri: A USB camera (`0`, `/dev/video0`, `/dev/v4l/by-id/...`, `v4l2:///dev/video0?width=1280&height=720&fps=30`),
            `csi://0`, `picamera://0`, `rtsp://`, `http://`, a video file, an image, a folder of images, `demo://bikes`,
            or `synthetic://`. In addresses of networks `$NAME` stands for what the environment says.
        policy: `latest` gives the newest frame and passes over older ones; a file is then played at its own pace. `all`
            gives every frame that a camera gives, and has it wait. None is `latest` for cameras and `all` for files.
        loop: A file begins anew at its end.
        stop: Once it says True, a camera is waited for no longer.
        patience: With a camera that fails; None is that of `patience_with`.

    Raises:
        UsageError: There is no such kind of source, or an option does not fit.
        SourceLost: There is nothing at the address, or it can't be decoded.
        MissingDependency: The package or library that it needs is not there.
    """
    if is_network(uri):
        uri = os.path.expandvars(uri)
    if camera_kind(uri) == "v4l2":
        uri = lasting_address(uri)
    live = keeps_time(uri)
    here = policy == "all" and not camera_kind(uri) if live else policy != "latest"
    if here:
        return open_here(uri, loop=loop, waits=True)
    reading = Reading(loop=loop, paced=not live, waits=live and policy == "all")
    return LiveSource(uri, reading, stop=stop, patience=patience or patience_with(uri))
