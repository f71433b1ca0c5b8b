"""A matrix of engines: its cells, rounds put together, what is left out, and how it goes on after a stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("onnx_ir")
pytest.importorskip("psutil")

import psutil

from edgeseg.bench import Record, Settings, read_record, run_benchmark, write_record
from edgeseg.bench.matrix.merge import Rounds, merge
from edgeseg.bench.matrix.plan import cells
from edgeseg.bench.matrix.rounds import fault
from edgeseg.bench.page import html
from edgeseg.card import Preprocess
from edgeseg.cli import main
from edgeseg.device import describe_device
from edgeseg.graph.io import save_graph
from tests.engines import runnable, tiny_engine, tiny_model

QUICK = Settings(warm_up_s=0, duration_s=0, iterations=30, percentiles=(50, 90), camera_hw=(64, 96))
#: That the tiny graph was made for.
AS_PIXELS = Preprocess(channels="bgr", std=(1.0, 1.0, 1.0))
OPTIONS = ("--duration", "0", "--iterations", "20", "--warm-up", "0", "--camera", "64x96", "--rounds", "2")


@pytest.mark.parametrize(
    ("sizes", "threads", "names"),
    [
        pytest.param((), (), ["net fp32 ort"], id="the model's own size on all cores"),
        pytest.param(((32, 48), (64, 96)), (), ["net 32x48 fp32 ort", "net 64x96 fp32 ort"], id="two sizes"),
        pytest.param((), (1, 2, 1), ["net fp32 ort 1 thread", "net fp32 ort 2 threads"], id="each number once"),
    ],
)
def test_every_combination_is_one_cell(
    sizes: tuple[tuple[int, int], ...], threads: tuple[int, ...], names: list[str]
) -> None:
    found = cells(["net"], sizes, ["fp32"], ["ort"], threads)
    assert [one.name for one in found] == names
    assert len({one.folder for one in found}) == len(found)


def test_models_of_one_file_name_have_folders_of_their_own() -> None:
    first, second = cells(["a/net.onnx", "b/net.onnx"], (), ["int8"], ["ort"], ())
    assert first.folder != second.folder and "/" not in first.folder


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rounds]:
    engine = tiny_engine(tmp_path_factory.mktemp("engine"), "fake")
    measured = {name: [run_benchmark({"it": engine}, QUICK) for _ in range(2)] for name in ("first", "second")}
    return {name: [(one.record, one.samples) for one in of_one] for name, of_one in measured.items()}


def test_rounds_are_put_together_sample_by_sample(rounds: dict[str, Rounds]) -> None:
    record, samples = merge(rounds, {"third": "It does not run."}, "edgeseg bench --matrix", complete=True)
    assert [one.name for one in record.engines] == ["first", "second"]
    for index, one in enumerate(record.engines):
        parts = [own for _, own in list(rounds.values())[index]]
        every = np.concatenate([own["0.latency_ms"] for own in parts])
        assert np.array_equal(samples[f"{index}.latency_ms"], every)
        assert one.latency is not None and one.latency.samples == 60
        assert one.latency.percentiles_ms["50"] == pytest.approx(np.median(every))
        assert one.fps == pytest.approx(60 / (every.sum() / 1e3), rel=1e-3)
        assert one.stages["resize"].samples == 60
    every_reference = [own["reference.ms"] for of_one in rounds.values() for _, own in of_one]
    assert sorted(samples["reference.ms"]) == sorted(np.concatenate(every_reference))
    assert min(abs(samples[f"{index}.begin_s"].min()) for index in (0, 1)) < 0.1, "the first begins at 0"
    columns = record.environment.conditions
    assert len({len(getattr(columns, name)) for name in columns.__struct_fields__}) == 1
    assert record.left_out == {"third": "It does not run."}
    assert "third was left out: It does not run." in html([(record, samples)])


def test_a_disturbed_round_is_named(rounds: dict[str, Rounds]) -> None:
    record, samples = rounds["second"][1]
    busy = msgspec.structs.replace(record.environment, flags=("Others kept 1.0 cores busy.",))
    disturbed = (msgspec.structs.replace(record, environment=busy), samples)
    merged, _ = merge({**rounds, "second": [rounds["second"][0], disturbed]}, {}, "", complete=True)
    assert "second, round 2: Others kept 1.0 cores busy." in merged.environment.flags


def cut(name: str) -> Callable[[Record, Path], None]:
    def change(record: Record, folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:100])

    return change


def said(**fields: Any) -> Callable[[Record, Path], None]:
    def change(record: Record, folder: Path) -> None:
        tied = read_record(folder / "bench.json")
        (folder / "bench.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(tied, **fields)))

    return change


def on(**fields: Any) -> Callable[[Record, Path], None]:
    def change(record: Record, folder: Path) -> None:
        device = msgspec.structs.replace(record.environment.device, **fields)
        said(environment=msgspec.structs.replace(record.environment, device=device))(record, folder)

    return change


def by(record: Record, folder: Path) -> None:
    versions = record.environment.versions | {"numpy": "0.1"}
    said(environment=msgspec.structs.replace(record.environment, versions=versions))(record, folder)


def by_a_library(record: Record, folder: Path) -> None:
    said(engines=(msgspec.structs.replace(record.engines[0], library="0.2"),))(record, folder)


def failed(record: Record, folder: Path) -> None:
    said(engines=(msgspec.structs.replace(record.engines[0], failed="The accelerator is gone."),))(record, folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda *_: None, "", id="as it was measured"),
        pytest.param(cut("bench.json"), "is no record", id="its record is cut off"),
        pytest.param(cut("bench.samples.npz"), "not the one that was written", id="its samples are cut off"),
        pytest.param(said(samples_sha256="0" * 64), "not the one that was written", id="it has another's samples"),
        pytest.param(said(complete=False), "stopped before its time", id="it was stopped"),
        pytest.param(by, "made by numpy 0.1 instead of numpy", id="another numpy"),
        pytest.param(by_a_library, " 0.2 instead of ", id="another library"),
        pytest.param(failed, "The accelerator is gone.", id="its engine failed"),
        pytest.param(on(cpu="Z80"), "another machine: processor Z80 instead of", id="another processor"),
        pytest.param(on(cores=99), "another machine: cores 99 instead of", id="fewer cores"),
        pytest.param(on(power_mode="MAXN"), "another machine: power mode MAXN", id="another power mode"),
    ],
)
def test_a_round_counts_where_it_is_whole_and_of_this_machine(
    change: Callable[[Record, Path], None], reason: str, rounds: dict[str, Rounds], tmp_path: Path
) -> None:
    record, samples = rounds["first"][0]
    path = write_record(record, samples, tmp_path)
    change(record, tmp_path)
    found = fault(path, describe_device())
    assert reason in found if reason else found == ""


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    save_graph(tiny_model(kind="graph", preprocess=AS_PIXELS), path)
    return path


def matrix(network: Path, out: Path, *more: str) -> int:
    return main(["bench", "--matrix", str(network), "--backends", "onnxruntime", "-o", str(out), *OPTIONS, *more])


def test_what_is_measured_is_not_measured_again_and_what_cannot_be_is_named(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runnable("onnxruntime")
    out = tmp_path / "matrix"
    assert matrix(network, out, "--precisions", "fp32,int8", "--threads", "1") == 0
    record = read_record(out / "bench.json")
    (one,) = record.engines
    assert one.name == f"{network} fp32 onnxruntime 1 thread" and one.execution["threads"] == 1
    assert one.latency is not None and one.latency.samples == 20 and record.complete
    (reason,) = record.left_out.values()
    assert "no ranges lie beside it" in reason and "was left out" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in (out / "rounds").rglob("bench.json")}
    assert len(before) == 2
    cut = next(iter(before))
    cut.write_bytes(cut.read_bytes()[:100])
    assert matrix(network, out, "--precisions", "fp32,int8", "--threads", "1") == 0
    assert f"Round {cut.parent.name} of {one.name} is measured again" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in (out / "rounds").rglob("bench.json")}
    assert [path for path in before if after[path] != before[path]] == [cut]
    (one,) = read_record(out / "bench.json").engines
    assert one.latency is not None and one.latency.samples == 20
    assert matrix(network, out, "--precisions", "fp32", "--threads", "2") == 2
    told = capsys.readouterr().err
    assert "Another matrix was begun" in told and "--threads 1" in told


def test_ctrl_c_keeps_the_rounds_that_are_done_and_the_same_command_goes_on(network: Path, tmp_path: Path) -> None:
    runnable("onnxruntime")
    out = tmp_path / "matrix"
    words = ["bench", "--matrix", str(network), "--backends", "onnxruntime", "--precisions", "fp32", "-o", str(out)]
    command = [sys.executable, "-m", "edgeseg", *words, *OPTIONS]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(out.glob("rounds/*/1/bench.json")) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "go on with: edgeseg bench --matrix" in told
    record = read_record(out / "bench.json")
    assert not record.complete and record.engines[0].latency is not None
    assert record.engines[0].latency.samples == 10
    assert subprocess.run(command, capture_output=True).returncode == 0
    record = read_record(out / "bench.json")
    assert record.complete and record.engines[0].latency is not None and record.engines[0].latency.samples == 20


def round_under_way(matrix: subprocess.Popen[bytes]) -> psutil.Process:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for child in psutil.Process(matrix.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "--no-roofline" in child.cmdline():
                    return child
        time.sleep(0.02)
    raise AssertionError("no round began")


def end_of(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.02)


def test_a_matrix_that_is_killed_leaves_nobody_measuring_and_two_never_measure_in_one_folder(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runnable("onnxruntime")
    out = tmp_path / "matrix"
    words = ["bench", "--matrix", str(network), "--backends", "onnxruntime", "--precisions", "fp32", *OPTIONS]
    words += ["--duration", "8s", "-o", str(out)]
    first = subprocess.Popen([sys.executable, "-m", "edgeseg", *words], stderr=subprocess.DEVNULL)
    try:
        measuring = round_under_way(first)
        assert main(words) == 2
        assert "Another process measures a matrix" in capsys.readouterr().err
    finally:
        first.kill()
        first.wait()
    end_of(measuring)
    assert not list(out.rglob("bench.json")), "the round that was under way came to no end"
    assert main([*words, "--rounds", "3"]) == 2
    assert "Another matrix was begun" in capsys.readouterr().err, "the folder is free again"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--matrix", "--precisions", "int7"], "no precision 'int7'", id="a precision that there is not"),
        pytest.param(["--matrix", "--backends", "openvin"], "'openvin' can't run here", id="a backend misspelled"),
        pytest.param(["--matrix", "--threads", "0"], "no list of threads", id="no thread"),
        pytest.param(["--matrix", "--imgsz", "36x"], "is no size", id="half a size"),
        pytest.param(["--threads", "2"], "--threads goes with --matrix", id="an option without --matrix"),
        pytest.param(["--imgsz", "32x48"], "--imgsz goes with --matrix", id="sizes without --matrix"),
        pytest.param(["--matrix", "--scenario", "camera"], "single-stream or throughput", id="another scenario"),
        pytest.param(["--matrix", "--soak", "1m"], "not soak", id="a soak"),
        pytest.param(["--matrix", "nothing.onnx"], "None of the", id="no such model"),
    ],
)
def test_what_cannot_be_a_matrix_is_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words, "-o", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
