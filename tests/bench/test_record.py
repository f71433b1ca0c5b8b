"""Records of benchmarks: their figures, and the files that hold them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cv2")
pytest.importorskip("onnx_ir")

from edgeseg.bench import Record, Settings, read_record, run_benchmark, write_benchmark
from edgeseg.bench.markdown import columns, markdown, row
from edgeseg.bench.record import timing
from edgeseg.errors import UsageError
from tests.engines import tiny_engine

QUICK = Settings(warm_up_ms=1, duration_s=0, iterations=5, camera_hw=(64, 96))


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=300), st.integers(1, 4))
def test_figures_are_those_of_the_samples(samples: list[int], batch: int) -> None:
    found = timing(samples, (50, 90, 99), batch)
    assert found.runs == len(samples)
    assert found.fps == pytest.approx(batch * len(samples) / (sum(samples) / 1e9))
    assert found.mean_ms == pytest.approx(sum(samples) / len(samples) / 1e6)
    assert (found.min_ms, found.max_ms) == (min(samples) / 1e6, max(samples) / 1e6)
    for text, value in found.percentiles_ms.items():
        if value is not None:
            below = sum(sample / 1e6 <= value * (1 + 1e-12) for sample in samples)
            assert below >= len(samples) * float(text) / 100 - 1


@pytest.mark.parametrize(
    ("runs", "shown"),
    [(1, []), (2, ["50"]), (9, ["50"]), (10, ["50", "90"]), (99, ["50", "90"]), (100, ["50", "90", "99"])],
)
def test_a_percentile_needs_a_run_beyond_it(runs: int, shown: list[str]) -> None:
    found = timing([5] * runs, (50, 90, 99, 99.9), 1)
    assert [name for name, value in found.percentiles_ms.items() if value is not None] == shown
    assert list(found.percentiles_ms) == ["50", "90", "99", "99.9"]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    engine = tiny_engine(tmp_path_factory.mktemp("engine"), "fake")
    return run_benchmark({"first|name": engine, "second": engine}, QUICK).record


def test_a_written_record_comes_back_as_it_was(record: Record, tmp_path: Path) -> None:
    path = write_benchmark(record, {"0.inference": [1, 2, 3]}, "# text", tmp_path / "new")
    assert read_record(path) == record
    assert (tmp_path / "new" / "bench.md").read_text() == "# text"
    with np.load(tmp_path / "new" / record.samples) as arrays:
        assert arrays["0.inference"].tolist() == [1, 2, 3]


def other_version(content: bytes) -> bytes:
    return content.replace(b"edgeseg.bench/1", b"edgeseg.bench/2")


@pytest.mark.parametrize(
    "spoiled",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"{}", id="nothing in it"),
        pytest.param(None, id="another version"),
    ],
)
def test_what_is_no_record_is_refused(record: Record, tmp_path: Path, spoiled: bytes | None) -> None:
    path = tmp_path / "bench.json"
    path.write_bytes(other_version(msgspec.json.encode(record)) if spoiled is None else spoiled)
    with pytest.raises(UsageError, match=r"no record of schema edgeseg\.bench/1"):
        read_record(path)


def test_the_markdown_has_a_row_for_each_engine_and_the_command(record: Record) -> None:
    text = markdown(record)
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert table[2].startswith("| first\\|name | fake ")
    assert all(line.replace("\\|", "").count("|") == len(columns(record)) + 1 for line in table)
    assert record.command in lines
    assert record.environment.device.cpu in text
    assert "5 runs of each" in text


def test_a_percentile_of_too_few_runs_is_told_as_not_available(record: Record) -> None:
    cells = dict(zip(columns(record), row(record.engines[0]), strict=True))
    assert cells["p99 ms"] == "n/a"
    assert float(cells["p50 ms"]) >= 0
