"""Sinks, opened by one word."""

from __future__ import annotations

from pathlib import Path

from edgeseg.data.uri import local_path, split_scheme, without_password
from edgeseg.errors import UsageError
from edgeseg.labels import LabelSet
from edgeseg.stream.sink import Sink
from edgeseg.stream.sinks.images import ClassMapFolder, NullSink, NumberedImages, StillImage
from edgeseg.stream.sinks.jsonl import AreaLines
from edgeseg.stream.sinks.video import VideoSink
from edgeseg.stream.source import Source

__all__ = ["open_sink"]

_FILES = (".mp4", ".jsonl", ".png", ".jpg", ".jpeg")
_POSSIBLE = (
    "Possible: a video (out.mp4), an image (out.png, out.jpg), numbered images (out_%i.jpg), a folder for class maps "
    "(maps/), what each class covers (areas.jsonl), a window (display://0), a network camera "
    "(rtsp://127.0.0.1:8554/edgeseg), a page (web://127.0.0.1:8080), null://"
)


def open_sink(uri: str, source: Source, labels: LabelSet, *, still: int | None = None) -> Sink:
    """The sink that `uri` means.

    Args:
        uri: `out.mp4` for an overlay video; `out.png` or `out.jpg` for the overlay of one frame; `out_%i.jpg` for all
            of them; a folder for class maps; `areas.jsonl` for the share of the picture that each class covers;
            `display://0` for a window; `rtsp://127.0.0.1:8554/edgeseg` for a network camera; `null://` for nothing.
            `file://` may be before a path.
        source: Its frame rate is the video's, and its files are never written over.
        labels: Classes and their colours.
        still: Number of the frame that `out.png` shows, counted from 0; None for one in the second half.

    Raises:
        UsageError: There is no such kind of sink, or it would write into its source.
        MissingDependency: The package, library or display that it needs is not there.
        EdgesegError: Another process writes to that place.
        OSError: It can't be written to.
    """
    scheme = split_scheme(uri)[0]
    if scheme == "null":
        return NullSink()
    if scheme == "display":
        from edgeseg.stream.sinks.window import open_window

        return open_window(labels, uri)
    if scheme == "rtsp":
        from edgeseg.stream.sinks.rtsp import RtspSink

        return RtspSink(uri, source.fps or 25.0)
    path = local_path(uri) if scheme in ("", "file") else None
    suffix = path.suffix.lower() if path is not None and not path.is_dir() else ""
    if path is None or (suffix not in (*_FILES, "") and not uri.endswith("/")):
        raise UsageError(f"'{without_password(uri)}' is no sink that can be opened.", hint=_POSSIBLE)
    _refuse_source(path, source)
    return _open_path(path, suffix, source, labels, still)


def _open_path(path: Path, suffix: str, source: Source, labels: LabelSet, still: int | None) -> Sink:
    if suffix == ".mp4":
        return VideoSink(path, source.fps or 25.0, by_capture_time=source.live)
    if suffix == ".jsonl":
        return AreaLines(path, labels)
    if suffix in _FILES:
        return NumberedImages(path) if "%i" in path.name else StillImage(path, still)
    return ClassMapFolder(path, labels)


def _refuse_source(path: Path, source: Source) -> None:
    if source.place is None:
        return
    read, written = source.place.resolve(), path.resolve()
    beside = read.is_file() and written == read.parent
    if read == written or beside or (read.is_dir() and read in written.parents):
        raise UsageError(
            f"{path} could overwrite the source {source.place}, which is never written to.", hint="Name another place."
        )
