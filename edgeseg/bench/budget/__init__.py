"""The most accurate engine that keeps a budget of time on this machine, found by measuring."""

from __future__ import annotations

from edgeseg.bench.budget.report import Budget, BudgetBuild, Front
from edgeseg.bench.budget.search import build_within

__all__ = ["Budget", "BudgetBuild", "Front", "build_within"]
