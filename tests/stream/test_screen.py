"""A real window on a real X server, which is also killed."""

from __future__ import annotations

import contextlib
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

    def until_seen(self, is_seen: Callable[[], bool], size: tuple[int, int]) -> None:
        """Wait for a picture. Without a window manager Qt misses now and then that its window is there to be drawn in;
        where nothing comes, the window is given another size and this one, as a manager does.
        """
        environment = os.environ | {"DISPLAY": self.display}
        for _ in range(10):
            with contextlib.suppress(AssertionError):
                until(is_seen, 6)
                return
            for width, height in ((size[0] + 8, size[1] + 8), size):
                subprocess.run(
                    ["xdotool", "search", "--name", "^edgeseg$", "windowsize", str(width), str(height)],
                    env=environment, check=False, timeout=30,
                )  # fmt: skip
                time.sleep(0.2)
        raise AssertionError("there is no picture")

    def type(self, key: str) -> None:
        """Type a key into the window."""
        environment = os.environ | {"DISPLAY": self.display}
        subprocess.run(
            ["xdotool", "search", "--sync", "--name", "^edgeseg$", "windowfocus", "--sync", "key", key],
            env=environment, check=True, timeout=30,
        )  # fmt: skip

    def close(self) -> None:
        """Click the cross of the window, as a window manager tells of it."""
        code = (
            "import sys; from Xlib import X, display; from Xlib.protocol import event\n"
            "screen = display.Display(); window = screen.create_resource_object('window', int(sys.argv[1]))\n"
            "ends = [screen.intern_atom('WM_DELETE_WINDOW'), X.CurrentTime, 0, 0, 0]\n"
            "window.send_event(event.ClientMessage(window=window, client_type=screen.intern_atom('WM_PROTOCOLS'), "
            "data=(32, ends))); screen.flush(); screen.close()"
        )
        environment = os.environ | {"DISPLAY": self.display}
        search = ["xdotool", "search", "--sync", "--name", "^edgeseg$"]
        found = subprocess.run(search, env=environment, check=True, capture_output=True, timeout=30)
        window = found.stdout.split()[0].decode()
        subprocess.run([sys.executable, "-c", code, window], env=environment, check=True, timeout=30)


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

        server.until_seen(is_seen, (320, 240))
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


def start(server: Server, folder: Path, *words: str, session_ms: int = 0) -> subprocess.Popen[bytes]:
    """`edgeseg run` with a window, whose engine takes that long, once a picture is to be seen."""
    code = (
        "import sys, time; from edgeseg.backends.ort import OrtSession\n"
        "finish = OrtSession._finish\n"
        f"OrtSession._finish = lambda self, slot: (time.sleep({session_ms} / 1e3), finish(self, slot))[1]\n"
        "from edgeseg.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    source = "synthetic://?width=320&height=240&fps=30"
    command = ["run", source, *words, "--engine", str(tiny_engine(folder).path), "--json"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(WINDOWS), str(Path.cwd())])}
    run = subprocess.Popen(
        [sys.executable, "-c", code, *command],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip
    server.until_seen(lambda: server.picture().std() > 5, (400, 300))
    return run


@pytest.mark.slow
def test_a_display_that_goes_away_ends_its_window_alone(server: Server, tmp_path: Path) -> None:
    run = start(server, tmp_path, "display://", "area.jsonl", "--frames", "300")
    server.process.kill()
    output, told = run.communicate(timeout=120)
    report = msgspec.json.decode(output)
    assert run.returncode == 1 and b"display:// is switched off" in told, told
    assert list(report["failed"]) == ["display://"] and report["shown"] >= 290
    assert len((tmp_path / "area.jsonl").read_bytes().splitlines()) >= 290


@pytest.mark.slow
@pytest.mark.parametrize("session_ms", [0, 400], ids=["a fast engine", "a slow one"])
@pytest.mark.parametrize("way", ["q", "Escape", "its cross"])
def test_the_window_ends_the_stream(way: str, session_ms: int, server: Server, tmp_path: Path) -> None:
    run = start(server, tmp_path, "display://", "area.jsonl", session_ms=session_ms)
    server.close() if way == "its cross" else server.type(way)
    output, told = run.communicate(timeout=60)
    assert run.returncode == 0, told
    assert msgspec.json.decode(output)["failed"] == {}


@pytest.mark.slow
def test_keys_without_a_letter_do_nothing(server: Server, tmp_path: Path) -> None:
    run = start(server, tmp_path, "display://", "--frames", "150")
    for key in ("Left", "Right", "Home", "Insert"):
        server.type(key)
    output, told = run.communicate(timeout=60)
    assert run.returncode == 0 and msgspec.json.decode(output)["shown"] >= 140, told
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.slow
def test_a_window_whose_display_hangs_does_not_outlive_its_stream(server: Server, tmp_path: Path) -> None:
    run = start(server, tmp_path, "display://")
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(server.process.pid, signal.SIGSTOP)
    run.kill()
    run.communicate()
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), 10)
    os.kill(server.process.pid, signal.SIGCONT)


@pytest.mark.slow
def test_the_only_window_that_goes_away_in_a_silence_ends_the_stream(server: Server, tmp_path: Path) -> None:
    run = start(server, tmp_path, "display://", "--stall-after", "60")
    os.kill(camera_of(run), signal.SIGSTOP)
    server.process.kill()
    _, told = run.communicate(timeout=60)
    assert run.returncode == 1 and b"The window is gone" in told and b"web://" in told


def camera_of(run: subprocess.Popen[bytes]) -> int:
    """The camera's process."""
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    return next(int(child) for child in children if b"stream.worker" in Path(f"/proc/{child}/cmdline").read_bytes())
