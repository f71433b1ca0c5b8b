"""Measured speed: benchmarks with their records, and comparisons of two engines with where they differ."""

from __future__ import annotations

from edgeseg.bench.comparison import Comparison, compare_engines
from edgeseg.bench.comparison_report import make_folder, write_comparison
from edgeseg.bench.record import Record, Settings, read_record, write_record
from edgeseg.bench.runner import Benchmark, run_benchmark

__all__ = [
    "Benchmark",
    "Comparison",
    "Record",
    "Settings",
    "compare_engines",
    "make_folder",
    "read_record",
    "run_benchmark",
    "write_comparison",
    "write_record",
]
