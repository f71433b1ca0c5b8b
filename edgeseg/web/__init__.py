"""The live page: the picture and how the stream is, over HTTP."""

from __future__ import annotations

from edgeseg.web.page import PageSink

__all__ = ["PageSink"]
