"""`edgeseg bench` on real engines of the tiny graph."""

from __future__ import annotations

import errno
import json
import shlex
import signal
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("psutil")

from edgeseg import files
from edgeseg.backends.fake import FakeSession
from edgeseg.bench import read_record
from edgeseg.cli import main
from edgeseg.graph.io import save_graph
from tests.engines import tiny_engine, tiny_model

QUICK = ["--warm-up", "0", "--duration", "0", "--iterations", "3", "--camera", "64x96", "--no-roofline"]


def test_the_json_on_stdout_is_the_record_on_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engines = [str(tiny_engine(tmp_path, name).path) for name in ("onnxruntime", "fake")]
    assert main(["bench", *engines, "-o", str(tmp_path / "out"), *QUICK, "--json"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["schema"] == "edgeseg.bench/2"
    assert [one["name"] for one in report["engines"]] == engines
    assert report == json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [one.name for one in read_record(tmp_path / "out" / "bench.json").engines] == engines
    kept = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert kept == ["bench.html", "bench.json", "bench.md", "bench.samples.npz"]
    assert "bench.html" in printed.err


def test_an_engine_named_twice_is_measured_against_itself(tmp_path: Path) -> None:
    name = str(tiny_engine(tmp_path, "fake").path)
    assert main(["bench", name, name, "-o", str(tmp_path / "out"), *QUICK, "--no-roofline"]) == 0
    record = read_record(tmp_path / "out" / "bench.json")
    assert [one.name for one in record.engines] == [name, f"{name} (2)"]
    assert shlex.split(record.command)[:4] == ["edgeseg", "bench", name, name] and "--no-roofline" in record.command


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_keeps_what_was_measured_and_asking_twice_does_too(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish, calls = FakeSession._finish, [0]

    def interrupted(self: FakeSession, slot: int) -> dict[str, float]:
        calls[0] += 1
        if calls[0] == 30:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return finish(self, slot)

    engine = str(tiny_engine(tmp_path, "fake").path)
    monkeypatch.setattr(FakeSession, "_finish", interrupted)
    assert main(["bench", engine, "-o", str(tmp_path / "out"), *QUICK, "--iterations", "1000"]) == 130
    assert "Keeping what was measured" in capsys.readouterr().err
    record = read_record(tmp_path / "out" / "bench.json")
    assert not record.complete and record.engines[0].latency is not None
    assert 20 < record.engines[0].latency.samples <= 30 and (tmp_path / "out" / "bench.html").is_file()


def test_where_only_the_pages_do_not_fit_on_the_disk_the_record_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = files.write_bytes

    def full(path: Path, content: bytes, **more: bool) -> None:
        if path.suffix == ".html":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content, **more)

    monkeypatch.setattr(files, "write_bytes", full)
    assert main(["bench", str(tiny_engine(tmp_path, "fake").path), "-o", str(tmp_path / "out"), *QUICK]) == 0
    printed = capsys.readouterr()
    assert "FPS" in printed.out and "pages could not be written (No space left on device)" in printed.err
    assert "edgeseg report" in printed.err and read_record(tmp_path / "out" / "bench.json").complete


def test_a_folder_that_can_not_be_written_to_is_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["bench", str(tiny_engine(tmp_path, "fake").path), "-o", str(tmp_path / "file" / "out"), *QUICK]) == 2
    assert "can't be written to" in capsys.readouterr().err


def test_the_table_shows_every_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_graph(tiny_model(), tmp_path / "tiny.onnx")
    words = [str(tiny_engine(tmp_path, "fake").path), str(tmp_path / "tiny.onnx")]
    assert main(["bench", *words, "-o", str(tmp_path / "out"), *QUICK, "--percentile", "75"]) == 0
    printed = capsys.readouterr().out
    assert "p75 ms" in printed and "FPS" in printed
    assert "onnxruntime" in printed and "fake" in printed


def test_the_roofline_is_measured_unless_it_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = str(tiny_engine(tmp_path).path)
    assert main(["bench", engine, "-o", str(tmp_path / "with"), *QUICK[:-1]]) == 0
    assert "of the ceiling" in capsys.readouterr().out
    assert main(["bench", engine, "-o", str(tmp_path / "without"), *QUICK]) == 0
    assert "of the ceiling" not in capsys.readouterr().out
    told, untold = (read_record(tmp_path / name / "bench.json").engines[0] for name in ("with", "without"))
    assert told.roofline is not None and told.roofline.share > 0
    assert (untold.roofline, untold.roofline_note) == (None, "")


def test_without_a_name_the_engine_built_last_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tiny_engine(tmp_path, "fake")
    (tmp_path / "current.json").write_text(json.dumps({"engine": engine.path.name}))
    monkeypatch.setenv("EDGESEG_ENGINES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *QUICK, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engines"][0]["name"] == str(engine.path)
    assert len(list((tmp_path / "runs" / "bench").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["absent"], 2, "no engine 'absent'", id="no such engine"),
        pytest.param(["--percentile", "50,100"], 2, "percentiles above 0 and below 100", id="a percentile of 100"),
        pytest.param(["--percentile", "x"], 2, "percentiles above 0 and below 100", id="a word for a percentile"),
        pytest.param(["--iterations", "0"], 2, "iterations", id="no rounds"),
        pytest.param(["--camera", "8x8"], 2, "no size", id="a camera too small"),
        pytest.param(["--soak", "soon"], 2, "write seconds, minutes or hours", id="no time"),
        pytest.param(["--soak", "10s", "--scenario", "camera"], 2, "leave out --scenario", id="two scenarios"),
        pytest.param(["--soak", "10s", "--duration", "5s"], 2, "leave out --duration", id="two times"),
    ],
)
def test_what_cannot_be_timed_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("EDGESEG_ENGINES", str(tmp_path))
    assert main(["bench", *arguments]) == code
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
