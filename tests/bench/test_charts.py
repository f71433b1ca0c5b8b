"""Charts over the time of a benchmark: one line where it was measured, and gaps where it was not."""

from __future__ import annotations

import datetime
import itertools
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("jinja2")
pytest.importorskip("onnx_ir")
pytest.importorskip("psutil")

from edgeseg.bench import Settings, run_benchmark
from edgeseg.bench.matrix.merge import merge
from edgeseg.bench.page import html
from edgeseg.bench.page.charts import POINTS, time_series
from tests.engines import tiny_engine


def lines(svg: str) -> list[list[list[float]]]:
    """Of each line of a chart its pieces, each the places of its points along the first axis."""
    paths = re.findall(r'<path class="line [^"]*" d="([^"]*)"', svg)
    pieces = [re.split(r" (?=M)", path) for path in paths]
    return [[[float(x) for x in re.findall(r"[ML]([\d.]+) ", piece)] for piece in line] for line in pieces]


@pytest.mark.parametrize(
    ("seconds", "pieces"),
    [
        pytest.param(np.arange(0, 20, 0.5), 1, id="without a pause"),
        pytest.param(np.concatenate([np.arange(0, 5, 0.5), np.arange(45, 50, 0.5)]), 2, id="two rounds"),
        pytest.param(np.concatenate([np.arange(45, 50, 0.5), np.arange(0, 5, 0.5)]), 2, id="the first measured anew"),
        pytest.param(np.concatenate([at + np.arange(0, 5, 0.001) for at in (0, 50, 99)]), 3, id="very many frames"),
        pytest.param(np.concatenate([at + np.arange(0, 1, 0.1) for at in (0, 2, 4)]), 1, id="turns of a second"),
        pytest.param(np.arange(0, 600, 60.0), 1, id="a look a minute"),
        pytest.param(np.array([0.0]), 1, id="a single look"),
    ],
)
def test_a_line_over_time_has_gaps_where_nothing_was_measured(seconds: Any, pieces: int) -> None:
    (line,) = lines(time_series("Reference kernel", "ms", {0: (seconds, np.ones(len(seconds)))}))
    assert len(line) == pieces and 0 < sum(len(piece) for piece in line) <= POINTS
    steps = [np.diff(piece) for piece in line]
    assert all((step >= 0).all() for step in steps), "from left to right"
    gaps = [after[0] - before[-1] for before, after in itertools.pairwise(line)]
    assert all(gap > step.max() for gap in gaps for step in steps)


def test_the_page_of_a_matrix_shows_the_pauses_between_its_rounds(tmp_path: Path) -> None:
    settings = Settings(warm_up_s=0, duration_s=0, iterations=30, percentiles=(50,), camera_hw=(64, 96))
    first = run_benchmark({"it": tiny_engine(tmp_path, "fake")}, settings)
    a_minute_later = datetime.datetime.fromisoformat(first.record.created) + datetime.timedelta(minutes=1)
    second = msgspec.structs.replace(first.record, created=a_minute_later.isoformat())
    page = html([merge({"it": [(first.record, first.samples), (second, first.samples)]}, {}, "", complete=True)])
    (chart,) = re.findall(r'<svg[^>]*aria-label="Latency over time">.*?</svg>', page, re.DOTALL)
    assert [len(line) for line in lines(chart)] == [2]
