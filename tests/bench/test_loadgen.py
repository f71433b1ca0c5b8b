"""Percentile and early stopping, as MLPerf's own load generator tells them of the same queries."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

lg = pytest.importorskip("mlperf_loadgen", reason="mlcommons-loadgen has wheels for x86 alone")

from edgeseg.bench.statistics import early_stopping


def single_stream(folder: Path, seconds: list[float]) -> tuple[np.ndarray, str]:
    """Milliseconds of queries that take so long, as they are seen by who answers, and the summary of the generator."""
    taken: list[float] = []

    def answer(samples: list[Any]) -> None:
        begin = time.perf_counter()
        end = begin + seconds[len(taken)]
        while time.perf_counter() < end:
            pass
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in samples])
        taken.append(1e3 * (time.perf_counter() - begin))

    settings = lg.TestSettings()
    settings.scenario = lg.TestScenario.SingleStream
    settings.mode = lg.TestMode.PerformanceOnly
    settings.single_stream_expected_latency_ns = 1_000_000
    settings.min_duration_ms = 0
    settings.min_query_count = settings.max_query_count = len(seconds)
    output = lg.LogOutputSettings()
    output.outdir, output.copy_summary_to_stdout = str(folder), False
    log = lg.LogSettings()
    log.log_output, log.enable_trace = output, False
    sut = lg.ConstructSUT(answer, lambda: None)
    qsl = lg.ConstructQSL(16, 16, lambda _: None, lambda _: None)
    try:
        lg.StartTestWithLogSettings(sut, qsl, settings, log, "")
    finally:
        lg.DestroyQSL(qsl)
        lg.DestroySUT(sut)
    return np.array(taken), (folder / "mlperf_log_summary.txt").read_text()


@pytest.mark.parametrize("count", [64, 200])
def test_the_estimate_is_that_of_mlperf(count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(count)
    # Far apart, so that what a query takes on its way moves none past another.
    seconds = (rng.permutation(count) + 1) * 1.5e-4 + 1e-3
    taken, summary = single_stream(tmp_path, seconds.tolist())
    told = re.search(r"90\.0th percentile estimate: (\d+)", summary)
    assert told is not None, summary
    own = early_stopping(taken)
    assert own is not None and own == pytest.approx(int(told[1]) / 1e6, rel=0.02), summary
