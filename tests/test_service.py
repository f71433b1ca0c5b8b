"""What a service tells systemd, and its unit."""

from __future__ import annotations

import configparser
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseg.service import Notifier, unit_text


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(5)
        yield heard


def test_it_is_told_by_the_protocol(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    notifier = Notifier()
    for tell in (notifier.ready, notifier.alive, lambda: notifier.status("live, 30 FPS"), notifier.stopping):
        tell()
    assert [manager.recv(100) for _ in range(4)] == [b"READY=1", b"WATCHDOG=1", b"STATUS=live, 30 FPS", b"STOPPING=1"]
    notifier.close()
    notifier.close()
    notifier.alive()


def test_an_abstract_socket_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0edgeseg-test")
        heard.settimeout(5)
        notifier = Notifier("@edgeseg-test")
        notifier.ready()
        assert heard.recv(100) == b"READY=1"
        notifier.close()


@pytest.mark.parametrize(
    "address", [pytest.param("", id="none"), pytest.param("/nowhere/notify", id="one that is gone")]
)
def test_without_a_manager_nothing_happens(address: str) -> None:
    notifier = Notifier(address)
    for tell in (notifier.ready, notifier.alive, notifier.stopping, notifier.close):
        assert tell() is None, "who is not there is no reason to stop"  # type: ignore[func-returns-value]


COMMANDS = [
    pytest.param(["/usr/bin/python3", "-m", "edgeseg", "run", "0", "null://"], id="plain words"),
    pytest.param(["/opt/my tools/python", "a b", 'say "so"', "50%", "$HOME", "a;b", "back\\slash"], id="odd words"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_unit_is_an_ini_file_whose_command_is_the_one_given(command: list[str]) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(unit_text(command, user="me", name="door"))
    service = unit["Service"]
    assert (service["Type"], service["User"], service["StateDirectory"]) == ("notify", "me", "door")
    words = shlex.split(service["ExecStart"], comments=False)
    assert [word.replace("%%", "%").replace("$$", "$") for word in words] == command


@pytest.mark.parametrize("command", COMMANDS[:1])
def test_systemd_finds_no_fault_in_it(command: list[str], tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "edgeseg.service"
    unit.write_text(unit_text(command, user="root"))
    done = subprocess.run([program, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if "edgeseg" in line]
    assert not told, told
