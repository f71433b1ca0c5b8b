"""Where frames come from: one file per kind of source."""

from __future__ import annotations

from edgeseg.stream.sources.opening import open_source

__all__ = ["open_source"]
