"""A peer's process, seen from outside."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from edgeseg.errors import EdgesegError

__all__ = ["WorkerProcess"]

WORKER = Path(__file__).with_name("worker.py")
ROOT = Path(__file__).parents[2]
#: What would change how a library runs without being on record.
UNWANTED = ("PYTHON", "OMP_", "KMP_", "MKL_", "ONEDNN_", "TORCH", "OV_")
ENDING_S = 5.0


class WorkerProcess:
    """Runs `worker.py` for one peer, pinned to some cores. Used as a context.

    Args:
        python: Of the peer's environment.
        folder: Of its `peer.py`.
        variant: As that calls it.
        given: The material.
        made: Where it keeps what it makes.
        cores: That it may run on.
        log: Gets what the peer's libraries print.
        sees_edgeseg: It may import this checkout of edgeseg.
    """

    def __init__(
        self,
        python: Path,
        folder: Path,
        variant: str,
        *,
        given: Path,
        made: Path,
        cores: Sequence[int],
        log: Path,
        sees_edgeseg: bool = False,
    ) -> None:
        self._log = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
        if sees_edgeseg:
            environment["PYTHONPATH"] = str(ROOT)
        words: list[str | Path] = [
            folder / "peer.py",
            variant,
            given.resolve(),
            made.resolve(),
            ",".join(map(str, cores)),
        ]
        with log.open("ab") as told:
            self._told_before = told.tell()
            self._process = subprocess.Popen(
                [python, *([] if sees_edgeseg else ["-I"]), WORKER, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=told,
                cwd=ROOT,
                env=environment,
                start_new_session=True,  # Ctrl-C is this process's to deal with.
            )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._process:  # Closes its pipes, which ends it, and waits.
            try:
                self._process.communicate(timeout=ENDING_S if kind is None else 0)
            except subprocess.TimeoutExpired:
                self._kill()

    def ask(self, do: str, timeout_s: float, **details: Any) -> dict[str, Any]:
        """What the worker answers.

        Raises:
            EdgesegError: It says that it failed, died, or does not answer in time.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(msgspec.json.encode({"do": do, **details}) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died(do) from None
        if not select.select([self._process.stdout], [], [], timeout_s)[0]:
            raise EdgesegError(f"No answer to '{do}' within {timeout_s:g} s.", hint=f"What it printed: {self._log}")
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._died(do)
        answer: dict[str, dict[str, Any]] = msgspec.json.decode(line)
        if "failed" in answer:
            raise EdgesegError(f"'{do}' failed: {answer['failed']}", hint=f"What it printed: {self._log}")
        return answer["done"]

    def _died(self, do: str) -> EdgesegError:
        try:
            code = self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:  # It closed its output, and lives.
            self._kill()
            code = self._process.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        told = self._log.read_bytes()[self._told_before :].decode(errors="replace").strip().splitlines()
        last = f": {told[-1]}" if told else "."
        return EdgesegError(f"It died {how} at '{do}'{last}", hint=f"What it printed: {self._log}")

    def _kill(self) -> None:
        """It and what it started: a compiler, or a build."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
