"""Where results go: one file per kind of sink."""

from __future__ import annotations

from edgeseg.stream.sinks.opening import open_sink

__all__ = ["open_sink"]
