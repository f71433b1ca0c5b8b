"""Records of benchmarks: their figures, and the files that hold them."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnx_ir")
pytest.importorskip("psutil")

from edgeseg.bench import Record, Settings, read_record, run_benchmark, write_record
from edgeseg.bench.markdown import columns, doubts, markdown
from edgeseg.bench.record import Drift
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


def test_a_record_without_any_time_of_the_reference_kernel_comes_back(record: Record, tmp_path: Path) -> None:
    environment = msgspec.structs.replace(record.environment, reference_ms=None, reference_interval_ms=None)
    untimed = msgspec.structs.replace(record, environment=environment)
    found = read_record(write_record(untimed, {}, tmp_path))
    assert found.environment.reference_ms is None and "- Reference kernel: it never ran" in markdown(found)


def test_where_a_record_can_not_be_written_the_older_one_keeps_its_samples(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_record(record, {"0.latency_ms": np.array([1.0])}, tmp_path)
    before = sorted((file.name, file.read_bytes()) for file in tmp_path.iterdir())
    write = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if self.suffix == ".json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_record(record, {"0.latency_ms": np.array([2.0])}, tmp_path)
    assert sorted((file.name, file.read_bytes()) for file in path.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"duration_s": 60.0, "iterations": 1024}, "", id="the rules were kept"),
        pytest.param({"duration_s": 3.0, "iterations": 1024}, "Short: 3 s and 1,024 frames", id="a short time"),
        pytest.param({"duration_s": 60.0, "iterations": 10}, "Short: 60 s and 10 frames", id="few frames"),
        pytest.param({"duration_s": 60.0, "iterations": 1024, "warm_up_s": 2.0}, "not steady", id="a warm-up"),
    ],
)
def test_what_was_measured_for_too_short_a_time_says_so(record: Record, changed: dict[str, Any], said: str) -> None:
    settings = msgspec.structs.replace(record.settings, **changed)
    environment = msgspec.structs.replace(record.environment, flags=())
    told = doubts(msgspec.structs.replace(record, settings=settings, environment=environment))
    assert bool(told) == bool(said) and said in " ".join(told)


def test_a_soak_that_slowed_down_is_at_the_head_with_its_figures(record: Record) -> None:
    drift = Drift(fps_first=50.0, fps_last=40.0, rss_slope_mb=2.5, verdict="It slowed down by 20%.", steady=False)
    soaked = msgspec.structs.replace(record.engines[0], drift=drift)
    text = markdown(msgspec.structs.replace(record, engines=(soaked, record.engines[1])))
    assert "**first|name: It slowed down by 20%.**" in text.split("| engine |")[0]
    assert "50.0 FPS in its first fifth, 40.0 in its last; memory +2.5 MB in ten minutes." in text


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
