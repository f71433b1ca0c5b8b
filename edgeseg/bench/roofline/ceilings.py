"""The ceilings of this machine: what an engine library reaches here when nothing is in its way."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from edgeseg.backends import Backend, Session, open_backend
from edgeseg.backends.base import Processor
from edgeseg.bench.roofline.bandwidth import bandwidths
from edgeseg.bench.roofline.gpu_bandwidth import gpu_bandwidths
from edgeseg.bench.roofline.structs import Ceilings
from edgeseg.bench.roofline.synthetic import Shape, build_network, network, noise_ranges
from edgeseg.card import Precision
from edgeseg.device.conditions import Watch
from edgeseg.device.cpu import inference_threads
from edgeseg.device.cuda import open_cuda
from edgeseg.graph.cost import count_macs

__all__ = ["measure_ceilings"]

#: Of several kinds, because libraries differ in what they do best. On processors they are small, so that some run is
#: not disturbed; on GPUs few, because each takes seconds to build.
SHAPES: dict[Processor, tuple[Shape, ...]] = {
    "cpu": (Shape(3, 128, (32, 32), 2), Shape(1, 256, (32, 32), 4), Shape(3, 64, (64, 64), 2)),
    "gpu": (Shape(3, 128, (128, 128), 8), Shape(3, 256, (64, 64), 8)),
}
#: A run takes so long, or is repeated with larger maps: many cores need much to do. A map has so many values at most.
LEAST_MS, LARGEST_MAP = 2.0, 1 << 26
#: Height and width at which the ranges of noise are measured, which are the same at any.
NOISE_HW = (32, 32)
#: Each network is run so often at least; until it was not faster by so much for so many seconds, which is later where
#: others disturb it; and so many seconds at most.
RUNS, BETTER, PATIENCE_S, LONGEST_S = 5, 0.98, 0.25, 1.0
SEED = 0
OnProgress = Callable[[float, str], None]
_MEASURED: dict[tuple[str, Precision, int], Ceilings] = {}


def measure_ceilings(
    backend: str, processor: Processor, floats: Precision, on_progress: OnProgress = lambda *_: None
) -> Ceilings:
    """The best rates of a library with the threads of an engine, or on the GPU; measured once in a process.

    Each is the best run of several synthetic networks, built and run as engines are. That takes seconds, and a minute
    or two where the library times its kernels to build them.

    Args:
        backend: Its name.
        processor: That its engines compute on.
        floats: Precision of float operators.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        EdgesegError: The library refuses them.
    """
    key = backend, floats, inference_threads()
    if key not in _MEASURED:
        with Watch(None) as watch:
            found = _measured(open_backend(backend), processor, floats, on_progress)
        # The last look may have come right behind another, and tell of next to no time.
        others = statistics.median(moment.others for moment in watch.moments)
        _MEASURED[key] = msgspec.structs.replace(found, others=others)
    return _MEASURED[key]


def _measured(library: Backend, processor: Processor, floats: Precision, on_progress: OnProgress) -> Ceilings:
    def tell(share: float, what: str) -> None:
        on_progress(share, f"ceilings of this machine: {what}")

    tell(0.0, "memory")
    on_gpu, threads = processor == "gpu", inference_threads()
    moved = gpu_bandwidths(open_cuda()) if on_gpu else bandwidths(threads)
    kinds: tuple[Precision, ...] = (floats, "int8")
    networks = [(precision, shape) for precision in kinds for shape in SHAPES[processor]]
    rates: defaultdict[Precision, float] = defaultdict(float)
    for index, (precision, shape) in enumerate(networks):
        what = f"{library.name} {precision}, network {index + 1} of {len(networks)}"
        tell((1 + index) / (1 + len(networks)), what)
        rates[precision] = max(rates[precision], _rate(library, precision, floats, shape))
    return Ceilings(
        library=f"{library.name} {library.version()}",
        device=open_cuda().device.name if on_gpu else "",
        threads=0 if on_gpu else threads,
        macs_per_s=dict(rates),
        bytes_per_s=moved,
        others=0.0,
    )


def _rate(library: Backend, precision: Precision, floats: Precision, shape: Shape) -> float:
    """Multiply-adds a second of one kind of network; where a run is too short, of larger maps too."""
    best_ms, rate = _timed(library, precision, floats, shape)
    if doublings := _doublings(shape, best_ms):
        height, width = (side << doublings for side in shape.size_hw)
        rate = max(rate, _timed(library, precision, floats, shape._replace(size_hw=(height, width)))[1])
    return rate


def _doublings(shape: Shape, best_ms: float) -> int:
    """How often the sides of its maps are doubled for a run of `LEAST_MS`, as far as their size allows."""
    needed = math.ceil(math.log(LEAST_MS / best_ms, 4))
    possible = math.floor(math.log(LARGEST_MAP / (shape.channels * math.prod(shape.size_hw)), 4))
    return max(0, min(needed, possible))


def _timed(library: Backend, precision: Precision, floats: Precision, shape: Shape) -> tuple[float, float]:
    """The milliseconds of the best run of a network, and its multiply-adds a second."""
    ranges = noise_ranges(network(shape._replace(size_hw=NOISE_HW))) if precision == "int8" else None
    model = network(shape)
    with tempfile.TemporaryDirectory(prefix="edgeseg-") as folder:
        engine = build_network(model, library, floats, Path(folder), ranges)
        # Where logits are asked for, nothing is spent on picking the best class.
        with library.load(engine, "logits") as session:
            best_ms = _best_ms(session)
    return best_ms, 1e3 * count_macs(model, shape.size_hw) / best_ms


def _best_ms(session: Session) -> float:
    """The fastest run on noise, when none has been faster for a while."""
    session.time_stages()
    noise = np.random.default_rng(SEED).integers(0, 256, session.input_buffer().shape, np.uint8)
    best, runs, begin = math.inf, 0, time.monotonic()
    bettered = begin
    while runs < RUNS or (bettered + PATIENCE_S > time.monotonic() < begin + LONGEST_S):
        np.copyto(session.input_buffer(), noise)
        ticket = session.submit()
        ticket.result()
        runs += 1
        if (taken := ticket.stage_ms["inference"]) < best * BETTER:
            bettered = time.monotonic()
        best = min(best, taken)
    return best
