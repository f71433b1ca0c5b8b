"""The ceilings of this machine: what an engine library reaches here when nothing is in its way."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgeseg.backends import Backend, Session, open_backend
from edgeseg.bench.roofline.bandwidth import bandwidths
from edgeseg.bench.roofline.structs import Ceilings
from edgeseg.bench.roofline.synthetic import Shape, build_network, network
from edgeseg.card import Dialect, Precision
from edgeseg.device.conditions import Watch
from edgeseg.device.cpu import inference_threads
from edgeseg.graph.cost import count_macs

__all__ = ["measure_ceilings"]

#: Of several kinds, because libraries differ in what they do best; small, so that some run is not disturbed.
SHAPES = (Shape(3, 128, (32, 32), 2), Shape(1, 256, (32, 32), 4), Shape(3, 64, (64, 64), 2))
#: A run takes so long at least, or its maps are made larger, so many times at most: many cores need much to do.
LEAST_MS, LARGER = 2.0, 4
#: Each network is run so often at least; until it was not faster by so much for so many seconds, which is later where
#: others disturb it; and so many seconds at most.
RUNS, BETTER, PATIENCE_S, LONGEST_S = 5, 0.98, 0.25, 1.0
OnProgress = Callable[[float, str], None]
_MEASURED: dict[tuple[str, Precision, int], Ceilings] = {}


def measure_ceilings(backend: str, floats: Precision, on_progress: OnProgress = lambda *_: None) -> Ceilings:
    """The best rates of a library with the threads of an engine; measured once in a process, in seconds.

    Each is the best run of several synthetic networks, built and run as engines are.

    Args:
        backend: Of ONNX files.
        floats: Precision of float operators.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        EdgesegError: The library refuses them.
    """
    key = backend, floats, inference_threads()
    if key not in _MEASURED:
        with Watch(None) as watch:
            found = _measured(*key, on_progress)
        # The last look may have come right behind another, and tell of next to no time.
        others = statistics.median(moment.others for moment in watch.moments)
        _MEASURED[key] = msgspec.structs.replace(found, others=others)
    return _MEASURED[key]


def _measured(backend: str, floats: Precision, threads: int, on_progress: OnProgress) -> Ceilings:
    on_progress(0.0, "ceilings of this machine: memory")
    moved, library, rates = bandwidths(threads), open_backend(backend), {}
    kinds: tuple[tuple[Precision, Dialect], ...] = ((floats, "float"), ("int8", library.dialects[0]))
    for index, (precision, dialect) in enumerate(kinds):
        on_progress((1 + 2 * index) / 5, f"ceilings of this machine: {backend} {precision}")
        rates[precision] = max(_rate(library, dialect, floats, shape) for shape in SHAPES)
    named = f"{backend} {library.version()}"
    return Ceilings(library=named, threads=threads, macs_per_s=rates, bytes_per_s=moved, others=0.0)


def _rate(library: Backend, dialect: Dialect, floats: Precision, shape: Shape) -> float:
    """Multiply-adds a second of one kind of network, at the size that suits the machine."""
    rates = []
    for doublings in range(LARGER):
        height, width = (side << doublings for side in shape.size_hw)
        model = network(shape._replace(size_hw=(height, width)))
        with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder:
            engine = build_network(model, library, dialect, floats, Path(folder))
            with library.load(engine) as session:
                best_ms = _best_ms(session)
        rates.append(1e3 * count_macs(model, (height, width)) / best_ms)
        if best_ms >= LEAST_MS:
            break
    return max(rates)


def _best_ms(session: Session) -> float:
    """The fastest run, when none has been faster for a while."""
    best, runs, begin = math.inf, 0, time.monotonic()
    bettered = begin
    while runs < RUNS or (bettered + PATIENCE_S > time.monotonic() < begin + LONGEST_S):
        ticket = session.submit()
        ticket.result()
        runs += 1
        if (taken := ticket.stage_ms["inference"]) < best * BETTER:
            bettered = time.monotonic()
        best = min(best, taken)
    return best
