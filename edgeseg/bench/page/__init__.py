"""A benchmark as one HTML file that needs nothing from elsewhere."""

from __future__ import annotations

from edgeseg.bench.page.page import html

__all__ = ["html"]
