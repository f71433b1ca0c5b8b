"""How frames come to the engines."""

from __future__ import annotations

__all__: list[str] = []
