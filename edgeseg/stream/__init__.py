"""Frames from a source through a session into sinks."""

from __future__ import annotations

from edgeseg.stream.frame import segment_frame
from edgeseg.stream.live import Patience
from edgeseg.stream.options import StreamOptions
from edgeseg.stream.pipeline import Callbacks, run_stream
from edgeseg.stream.report import StreamReport
from edgeseg.stream.roi import Roi
from edgeseg.stream.sink import Segmented, Sink
from edgeseg.stream.sinks import open_sink
from edgeseg.stream.source import Captured, Source
from edgeseg.stream.sources import open_source

__all__ = [
    "Callbacks",
    "Captured",
    "Patience",
    "Roi",
    "Segmented",
    "Sink",
    "Source",
    "StreamOptions",
    "StreamReport",
    "open_sink",
    "open_source",
    "run_stream",
    "segment_frame",
]
