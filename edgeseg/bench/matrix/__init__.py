"""A matrix of engines: built, measured in rounds, and put together."""

from __future__ import annotations

from edgeseg.bench.matrix.plan import Cell, Plan, cells
from edgeseg.bench.matrix.run import run_matrix

__all__ = ["Cell", "Plan", "cells", "run_matrix"]
