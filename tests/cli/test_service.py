"""`edgeseg service print-unit`, and a run that is a service."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx_ir")

from edgeseg.build.store import EngineStore
from edgeseg.cli import main
from tests.engines import tiny_engine

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    path = tiny_engine(folder).path
    EngineStore(folder).keep({}, path.name)
    return path


@pytest.fixture(autouse=True)
def here(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESEG_ENGINES", str(engine.parent))
    monkeypatch.chdir(tmp_path)


def command_of(unit: str) -> list[str]:
    found = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert found is not None
    return [word.replace("%%", "%") for word in shlex.split(found[1])]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param([], ["0", "web://127.0.0.1:8080"], id="a USB camera and a page"),
        pytest.param(["--", "rtsp://host/a", "null://"], ["rtsp://host/a", "null://"], id="what is given"),
        pytest.param(["--", "0", "--wait-source"], ["0", "--wait-source"], id="it waits already"),
    ],
)
def test_the_unit_runs_what_is_given_with_the_engine_of_now(
    arguments: list[str], expected: list[str], engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["service", "print-unit", *arguments]) == 0
    command = command_of(capsys.readouterr().out)
    assert command[:4] == [sys.executable, "-m", "edgeseg", "run"]
    assert command[4 : 4 + len(expected)] == expected
    assert command[command.index("--engine") + 1] == str(engine) and command.count("--wait-source") == 1


def test_another_engine_user_and_name_can_be_given(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--user", "camera", "--name", "door", "--", "0", "--engine", engine.name]
    assert main(["service", "print-unit", *arguments]) == 0
    unit = capsys.readouterr().out
    assert "\nUser=camera\n" in unit and "\nStateDirectory=door\n" in unit
    assert command_of(unit).count("--engine") == 1 and str(engine) in command_of(unit)


def test_a_password_in_the_unit_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", "print-unit", "--", "rtsp://me:secret@host/1", "null://"]) == 0
    told = capsys.readouterr().err
    assert "chmod 600" in told and "secret" not in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--", "0", "--opacty", "1"], "--opacty", id="an option that run does not have"),
        pytest.param(["--name", "a b"], "'a b' is no name of a service", id="a name with a space"),
        pytest.param(["--", "0", "--engine", "tinny"], "Possible: tiny", id="a misspelt engine"),
    ],
)
def test_what_systemd_would_fail_at_is_told_before(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["service", "print-unit", *arguments]) == 2
    printed = capsys.readouterr()
    assert said in printed.err and not printed.out


def listen(heard: socket.socket, process: subprocess.Popen[str], until: bytes) -> list[bytes]:
    words = []
    end = time.monotonic() + 40
    while time.monotonic() < end:
        try:
            words.append(heard.recv(200))
        except TimeoutError:
            assert process.poll() is None, process.communicate()
            continue
        if words[-1] == until:
            return words
    raise AssertionError(words)


def test_a_service_is_ready_alive_and_ends_in_time_with_logs_in_json(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(0.5)
        environment = os.environ | {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "EDGESEG_JSON_LOGS": "1",
            "PYTHONPATH": str(ROOT),
        }
        source = "synthetic://?width=64&height=48&fps=20&stall_at=15&stall_s=600"
        process = subprocess.Popen(
            [sys.executable, "-m", "edgeseg", "run", source, "area.jsonl", "--stall-after", "0.5", "--json"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        listen(heard, process, b"READY=1")
        for _ in range(3):
            assert listen(heard, process, b"WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        printed, told = process.communicate(timeout=10)
    assert process.returncode == 130, told
    report = json.loads(printed)
    assert report["shown"] > 0 and len(Path("area.jsonl").read_text().splitlines()) == report["shown"]
    for line in filter(lambda line: line.startswith("{"), told.splitlines()):
        assert set(json.loads(line)) >= {"ts", "level", "event", "message"}


#: An engine whose third answer never comes, as of a GPU that hangs.
HANGS = """
import sys, time
from edgeseg.backends.ort import OrtSession
from edgeseg.cli import main
from edgeseg.stream import inference
finish, calls = OrtSession._finish, []
def hang(self, slot):
    calls.append(slot)
    if len(calls) > int(sys.argv[2]): time.sleep(600)
    return finish(self, slot)
OrtSession._finish = hang
OrtSession.close = lambda self: time.sleep(600)
inference.DEADLINE_S = float(sys.argv[1])
sys.exit(main(['run', 'synthetic://?width=64&height=48&fps=20', 'area.jsonl', '--json']))
"""


def test_an_engine_that_hangs_is_given_up_and_what_was_written_stays() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS, "1", "20"],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "The engine has not answered for 1 s" in done.stderr, done.stderr
    assert "has not answered" in json.loads(done.stdout)["error"]["message"]
    assert len(Path("area.jsonl").read_text().splitlines()) > 5


def test_a_sink_that_can_not_be_closed_does_not_hide_that_the_engine_hangs() -> None:
    full = (
        "from edgeseg.stream.sinks.jsonl import AreaLines\n"
        "def full(self): raise OSError(28, 'full')\n"
        "AreaLines.close = full\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", full + HANGS, "1", "20"],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "The engine has not answered for 1 s" in done.stderr, done.stderr


def test_the_watchdog_is_not_fed_while_the_session_hangs(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(0.5)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-c", HANGS, "600", "0"], env=environment, stderr=subprocess.PIPE, text=True
        )
        listen(heard, process, b"READY=1")
        words, end = [], time.monotonic() + 3
        while time.monotonic() < end:
            try:
                words.append(heard.recv(200))
            except TimeoutError:
                assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert any(word.startswith(b"STATUS") for word in words)
    assert words.count(b"WATCHDOG=1") <= 1, "one at the beginning"
    assert process.returncode == 130, "it ends though the engine hangs"
