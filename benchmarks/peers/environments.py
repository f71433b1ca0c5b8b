"""A virtual environment for each peer, so that no library forces its versions on another."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from edgeseg.errors import EdgesegError
from edgeseg.files import sha256_bytes

__all__ = ["make_environment", "requirements"]

PIP_S = 1800


def make_environment(folder: Path, environments: Path) -> Path:
    """The Python of a peer's environment, installed anew where its requirements or this Python have changed.

    A peer without requirements is run by this Python.

    Args:
        folder: Of the peer, with its `requirements.txt`.
        environments: Where they lie.

    Raises:
        EdgesegError: Its packages can't be installed here.
    """
    asked = folder / "requirements.txt"
    if not asked.is_file():
        return Path(sys.executable)
    place = environments / folder.name
    python, stamp = place / "bin" / "python", place / ".installed"
    state = sha256_bytes(asked.read_bytes() + sys.version.encode())
    if stamp.is_file() and stamp.read_text() == state:
        return python
    shutil.rmtree(place, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(place)], folder.name)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    _run([*pip, "-r", str(asked)], folder.name)
    stamp.write_text(state)
    return python


def requirements(folder: Path) -> tuple[str, ...]:
    """Names of the packages that a peer asks for."""
    asked = folder / "requirements.txt"
    lines = asked.read_text().splitlines() if asked.is_file() else []
    return tuple(line.partition("==")[0].strip() for line in lines if line.strip() and not line.startswith("#"))


def _run(command: list[str], name: str) -> None:
    try:
        subprocess.run(command, check=True, timeout=PIP_S, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except subprocess.TimeoutExpired as error:
        raise EdgesegError(f"The environment of {name} was not ready after {PIP_S} s.") from error
    except subprocess.CalledProcessError as error:
        told = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or error.stderr.splitlines()
        raise EdgesegError(f"The environment of {name} can't be made: {' '.join(told[:2]) or error}") from error
