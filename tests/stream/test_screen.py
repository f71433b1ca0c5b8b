"""A real window on a real X server, which is also killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeseg.data.scene import Scene
from edgeseg.errors import EdgesegError
from edgeseg.stream.sinks.screen import Screen
from tests.engines import tiny_engine
from tests.stream.parts import UInt8

#: `make test-slow` puts an OpenCV with windows here, beside the one without that all other tests use.
WINDOWS = Path(sys.prefix) / "windows"


def test_what_kept_a_window_from_opening_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":4711")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(EdgesegError, match=r"\w\w+"):
        Screen()


class Server:
    """An X server without a screen, on a display that was free."""

    def __init__(self, folder: Path) -> None:
        reading, writing = os.pipe()
        self._picture = folder / "Xvfb_screen0"
        command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "800x600x24", "-noreset", "-fbdir", str(folder)]
        self.process = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
        os.close(writing)
        with open(reading) as told:
            number = told.readline().strip()
        assert number, "the X server does not start"
        self.display = f":{number}"

    def picture(self) -> UInt8:
        """What is to be seen, `(600, 800, 3)` uint8 BGR; the server keeps it in the format of xwd."""
        dump = np.fromfile(self._picture, np.uint8)
        begin = int.from_bytes(dump[:4].tobytes(), "big") + 12 * int.from_bytes(dump[76:80].tobytes(), "big")
        return dump[begin : begin + 800 * 600 * 4].reshape(600, 800, 4)[:, :, :3].copy()

    def type(self, key: str) -> None:
        """Type a key into the window."""
        environment = os.environ | {"DISPLAY": self.display}
        subprocess.run(
            ["xdotool", "search", "--sync", "--name", "^edgeseg$", "windowfocus", "--sync", "key", key],
            env=environment, check=True, timeout=30,
        )  # fmt: skip


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    if not WINDOWS.is_dir():
        pytest.skip("no OpenCV with windows: make test-slow installs one")
    for program in ("Xvfb", "xdotool"):
        if subprocess.run(["which", program], capture_output=True, check=False).returncode:
            pytest.skip(f"no {program} here: tests/debian.sh browser installs it")
    server = Server(tmp_path)
    monkeypatch.setenv("DISPLAY", server.display)
    monkeypatch.setenv("PYTHONPATH", str(WINDOWS))
    monkeypatch.setenv("QT_LOGGING_RULES", "*=false")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    yield server
    server.process.kill()
    server.process.wait()


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_window_shows_the_newest_picture_and_tells_what_is_typed(server: Server) -> None:
    picture = Scene((240, 320)).render(7)
    screen = Screen()
    try:
        for _ in range(50):
            screen.show(255 - picture)
        screen.show(picture)

        def is_seen() -> bool:
            seen = server.picture()
            places = np.argwhere((seen == picture[0, 0]).all(2))
            return any(np.array_equal(seen[y : y + 240, x : x + 320], picture) for y, x in places[:50])

        until(is_seen)
        for key in ("h", "plus", "Escape"):
            server.type(key)
        typed = ""
        while typed != "h+\x1b":
            assert "h+\x1b".startswith(typed), typed
            typed += screen.typed()
    finally:
        screen.end()


@pytest.mark.slow
def test_a_window_that_hangs_makes_nobody_wait(server: Server) -> None:
    screen = Screen()
    os.kill(server.process.pid, signal.SIGSTOP)
    begin = time.monotonic()
    for _ in range(200):
        screen.show(np.zeros((240, 320, 3), np.uint8))
        assert screen.typed() == ""
    assert time.monotonic() - begin < 5.0, "no picture waits for the display"
    screen.end()
    assert time.monotonic() - begin < 8.0


@pytest.mark.slow
def test_a_display_that_goes_away_ends_its_window_alone(server: Server, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "edgeseg", "run", "synthetic://?width=320&height=240&fps=30", "display://", "area.jsonl",
        "--engine", str(tiny_engine(tmp_path).path), "--frames", "300", "--json",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(WINDOWS), str(Path.cwd())])}
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    until(lambda: server.picture().std() > 5, 60)
    server.process.kill()
    output, told = run.communicate(timeout=120)
    report = msgspec.json.decode(output)
    assert run.returncode == 1 and b"display:// is switched off" in told, told
    assert list(report["failed"]) == ["display://"] and report["shown"] >= 290
    assert len((tmp_path / "area.jsonl").read_bytes().splitlines()) >= 290
