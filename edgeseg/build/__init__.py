"""From a model to a gated engine: prepare, calibrate, quantize, build, measure, keep.

The names below are imported when they are first asked for, so that finding and loading an engine needs nothing of what
building one does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseg.build.composer import build_engine
    from edgeseg.build.recipe import BuildRecipe
    from edgeseg.build.report import BuildReport
    from edgeseg.build.store import find_engine, load_session

__all__ = ["BuildRecipe", "BuildReport", "build_engine", "find_engine", "load_session"]

_HOMES = {
    "BuildRecipe": "recipe",
    "BuildReport": "report",
    "build_engine": "composer",
    "find_engine": "store",
    "load_session": "store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeseg.build' has no attribute '{name}'")
    return getattr(importlib.import_module(f"edgeseg.build.{_HOMES[name]}"), name)
