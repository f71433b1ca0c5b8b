"""Records of benchmarks: their figures, and the files that hold them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnx_ir")
pytest.importorskip("psutil")

from edgeseg.bench import Record, Settings, read_record, run_benchmark, write_record
from edgeseg.bench.markdown import columns, markdown
from edgeseg.bench.schema import record_schema
from edgeseg.errors import UsageError
from edgeseg.files import sha256_file
from tests.engines import tiny_engine

QUICK = Settings(warm_up_s=0, duration_s=0, iterations=5, camera_hw=(64, 96))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    engine = tiny_engine(tmp_path_factory.mktemp("engine"), "fake")
    return run_benchmark({"first|name": engine, "second": engine}, QUICK).record


def test_a_written_record_comes_back_as_it_was(record: Record, tmp_path: Path) -> None:
    path = write_record(record, {"0.latency_ms": np.array([1.0, 2.5])}, tmp_path / "new")
    written = sha256_file(tmp_path / "new" / record.samples)
    assert read_record(path) == msgspec.structs.replace(record, samples_sha256=written)
    with np.load(tmp_path / "new" / record.samples) as arrays:
        assert arrays["0.latency_ms"].tolist() == [1.0, 2.5]


def other_version(content: bytes) -> bytes:
    return content.replace(b"edgeseg.bench/2", b"edgeseg.bench/1")


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
    with pytest.raises(UsageError, match=r"no record of schema edgeseg\.bench/2"):
        read_record(path)


def test_the_markdown_has_a_row_for_each_engine_and_the_command(record: Record) -> None:
    text = markdown(record)
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert table[2].startswith("| first\\|name | ") and table[3].startswith("| second | ")
    assert table[0].startswith("| engine | FPS | p50 ms |") and all(" | fake " in line for line in table[2:4])
    assert all(line.replace("\\|", "").count("|") == len(columns(record)) + 1 for line in table[:4])
    assert record.command in lines
    assert record.environment.device.cpu in text


def test_what_makes_figures_doubtful_stands_at_the_head(record: Record) -> None:
    throttled = msgspec.structs.replace(record.environment, flags=("The machine was throttled.",))
    broken = msgspec.structs.replace(record.engines[0], failed="the accelerator is gone")
    doubtful = msgspec.structs.replace(
        record, environment=throttled, engines=(broken, record.engines[1]), complete=False
    )
    head = markdown(doubtful).split("| engine |")[0]
    assert "**The machine was throttled.**" in head
    assert "**first|name failed: the accelerator is gone**" in head
    assert "**It was stopped before its time" in head


def test_the_committed_schema_is_that_of_records_and_a_record_fits_it(record: Record) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    committed = (Path(__file__).parents[2] / "schema/bench-2.json").read_bytes()
    assert committed == record_schema(), "run: make schema"
    told = msgspec.json.decode(msgspec.json.encode(record))
    jsonschema.Draft202012Validator(msgspec.json.decode(committed)).validate(told)
    told["engines"][0]["fps"] = "fast"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(msgspec.json.decode(committed)).validate(told)
