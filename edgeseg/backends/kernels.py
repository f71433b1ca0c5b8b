"""Where the time of an engine goes, as its library's own profiler tells it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from edgeseg.backends.session import Session

__all__ = ["Kernel", "run_on_noise"]

#: Runs of an engine under its profiler, at least, at most, and the seconds between these.
FEWEST, MOST, SECONDS = 10, 50, 1.5
SEED = 0


@dataclass(frozen=True)
class Kernel:
    """One step of a library.

    Attributes:
        kind: The library's word for it: `QLinearConv`, `Reorder`.
        names: Of nodes and tensors of the graph that it may come from, the likeliest first; most are no names at all.
        precision: It computes in, `int8` for bytes of either kind; empty where it works on something else.
        ms: It takes in each run of the engine.
    """

    kind: str
    names: tuple[str, ...]
    precision: str
    ms: float


def run_on_noise(session: Session) -> int:
    """Run an engine for a while on a frame of noise; gives how often.

    Raises:
        EdgesegError: The library failed.
    """
    buffer = session.input_buffer()
    noise = np.random.default_rng(SEED).integers(0, 256, buffer.shape, np.uint8)
    begin = time.monotonic()
    for done in range(1, MOST + 1):
        session.infer(noise)
        if done >= FEWEST and time.monotonic() - begin > SECONDS:
            break
    return done
