"""From a model to a gated engine: prepare, calibrate, quantize, build, measure, keep."""

from __future__ import annotations

from edgeseg.build.composer import build_engine
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.report import BuildReport
from edgeseg.build.shelf import find_engine, load_session

__all__ = ["BuildRecipe", "BuildReport", "build_engine", "find_engine", "load_session"]
