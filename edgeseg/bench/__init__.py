"""Measured speed: benchmarks with their records, and comparisons of two engines."""

from __future__ import annotations

from edgeseg.bench.comparison import Comparison, compare_engines
from edgeseg.bench.latency import Benchmark, run_benchmark
from edgeseg.bench.record import Record, Settings, read_record, write_benchmark

__all__ = [
    "Benchmark",
    "Comparison",
    "Record",
    "Settings",
    "compare_engines",
    "read_record",
    "run_benchmark",
    "write_benchmark",
]
