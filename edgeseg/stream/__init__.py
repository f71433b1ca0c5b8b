"""Frames from a source through a session into sinks."""

from __future__ import annotations

from edgeseg.stream.pipeline import StreamReport, run_stream
from edgeseg.stream.sinks import Sink, open_sink
from edgeseg.stream.sources import Captured, Source, open_source

__all__ = ["Captured", "Sink", "Source", "StreamReport", "open_sink", "open_source", "run_stream"]
