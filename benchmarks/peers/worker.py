"""One peer in a process of its own: run by the peer's Python, told what to do by lines of JSON.

    PYTHON worker.py PEER.py VARIANT GIVEN MADE CORES

`PEER.py` has `prepare(variant, given, made)`, which makes what the peer needs of the files in the folder `given` in the
folder `made`, and `open_peer(variant, given, made, threads)`, which returns an object with `settings`, a dict, and
`infer(frame, stages)`, from a frame `(H, W, 3)` uint8 BGR to its class map `(H, W)` uint8. This file needs nothing but
the standard library and numpy.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Protocol

#: Seconds at the beginning of a turn whose frames are no samples: caches and threads are still another peer's.
SETTLE_S = 0.15


class Peer(Protocol):
    settings: dict[str, Any]

    def infer(self, frame: Any, stages: Stages) -> Any: ...


class Stages:
    """Stamps of one frame on its way. `mark` ends a stage."""

    def __init__(self) -> None:
        self.ns: dict[str, int] = {}
        self._last = time.perf_counter_ns()

    def mark(self, stage: str, inside: dict[str, int] | None = None) -> None:
        """What was done since the last mark is `stage`, less the nanoseconds that are told of stages `inside`."""
        now = time.perf_counter_ns()
        inside = inside or {}
        self.ns |= inside
        self.ns[stage] = max(0, now - self._last - sum(inside.values()))
        self._last = now


class Worker:
    """Does what the lines say; each method is one of them."""

    def __init__(self, module: Any, variant: str, given: Path, made: Path, threads: int) -> None:
        self._module, self._variant, self._given, self._made, self._threads = module, variant, given, made, threads
        self._peer: Peer
        self._frames: Any
        self._next = 0

    def prepare(self) -> dict[str, Any]:
        """Convert and quantize."""
        self._made.mkdir(parents=True, exist_ok=True)
        self._module.prepare(self._variant, self._given, self._made)
        return {}

    def open(self) -> dict[str, Any]:
        """Load what was prepared, and answer one frame."""
        import numpy as np

        self._frames = np.load(self._given / "frames.npy")
        self._peer = self._module.open_peer(self._variant, self._given, self._made, self._threads)
        self._peer.infer(self._frames[0], Stages())
        return {"settings": self._peer.settings, "versions": installed()}

    def turn(self, seconds: float) -> dict[str, Any]:
        """Frames one after the other for so long, and one at least."""
        infer = self._peer.infer
        begins: list[int] = []
        latencies: list[int] = []
        stages: list[dict[str, int]] = []
        settled = time.perf_counter_ns() + round(1e9 * min(SETTLE_S, seconds / 2))
        end = settled + round(1e9 * seconds)
        while time.perf_counter_ns() < settled:
            infer(self._frame(), Stages())
        while not begins or time.perf_counter_ns() < end:
            frame = self._frame()
            begin = time.perf_counter_ns()
            taken = Stages()
            infer(frame, taken)
            latencies.append(time.perf_counter_ns() - begin)
            begins.append(begin)
            stages.append(taken.ns)
        return {"begins_ns": begins, "latencies_ns": latencies, "stages_ns": stages}

    def class_maps(self, path: str) -> dict[str, Any]:
        """Write the class map of every frame, uint8 `(N, H, W)`."""
        import numpy as np

        maps = np.stack([np.array(self._peer.infer(frame, Stages())) for frame in self._frames])
        if maps.shape != self._frames.shape[:3] or maps.dtype != np.uint8:
            raise ValueError(f"The class maps are {maps.dtype} {maps.shape}, not uint8 {self._frames.shape[:3]}.")
        np.save(path, maps)
        return {}

    def _frame(self) -> Any:
        self._next = (self._next + 1) % len(self._frames)
        return self._frames[self._next]


def installed() -> dict[str, str]:
    """Versions by package of this Python's environment."""
    from importlib.metadata import distributions

    return dict(sorted((one.metadata["Name"], one.version) for one in distributions()))


def main(peer: str, variant: str, given: str, made: str, cores: str) -> None:
    """Answer each line with one of JSON, `{"done": ...}` or `{"failed": ...}`, until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What a library prints is no answer.
    chosen = {int(core) for core in cores.split(",")}
    os.sched_setaffinity(0, chosen)
    worker = None
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if worker is None:
                worker = Worker(load_module(Path(peer)), variant, Path(given), Path(made), len(chosen))
            answer = {"done": getattr(worker, asked.pop("do"))(**asked)}
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer, default=str) + "\n")
        answers.flush()


def load_module(path: Path) -> Any:
    """The peer's module."""
    spec = importlib.util.spec_from_file_location("peer", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["peer"] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    # Subfolders of this one are called as the packages that they are about.
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]
    main(*sys.argv[1:])
