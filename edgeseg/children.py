"""How another process of edgeseg is started, and how it ends with the one that started it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

__all__ = ["child_command", "child_environment", "end_with_stdin"]


def child_command(module: str, *arguments: str) -> list[str]:
    """What runs a module's `main`. Unlike `python -m` it imports nothing from the current folder, which is a user's."""
    code = f"import sys; sys.path[:] = filter(None, sys.path); from {module} import main; main()"
    return [sys.executable, "-c", code, *arguments]


def child_environment() -> dict[str, str]:
    """This process's, with edgeseg itself on the path, be it a clone that is run from its folder."""
    home = str(Path(__file__).resolve().parents[1])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), home)))}


def end_with_stdin() -> None:
    """End this process as soon as its stdin ends: who started it has closed it, or is gone, however that happened."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()


def _end_with_stdin() -> None:
    while os.read(0, 1024):  # Not by sys.stdin, whose lock Python wants when it ends.
        pass
    os._exit(1)
