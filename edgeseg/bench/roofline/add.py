"""Rooflines of the engines of a benchmark, measured when their samples are there, so that these are not spoiled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends import Engine
from edgeseg.bench.roofline.structs import COLUMNS, Layer
from edgeseg.bench.runner import Benchmark
from edgeseg.errors import EdgesegError

__all__ = ["add_rooflines"]

logger = logging.getLogger(__name__)
OnProgress = Callable[[float, str], None]


def add_rooflines(
    done: Benchmark, engines: Mapping[str, Engine], on_progress: OnProgress = lambda *_: None
) -> Benchmark:
    """The benchmark with a roofline of each engine, or with a note why there is none: nothing makes it fail.

    Ctrl-C ends it; the engines from there on have none.

    Args:
        done: Measured; one that was stopped is given back as it is.
        engines: Those that were, by name.
        on_progress: Told the share done, 0 to 1, and what is under way.
    """
    if not done.record.complete:
        return done
    records, samples = list(done.record.engines), dict(done.samples)
    stopped = False
    for index, one in enumerate(records):
        note = "It was stopped before."
        if not stopped:
            try:
                from edgeseg.bench.roofline.measure import measure_roofline  # A board may lack what makes graphs.

                found, layers = measure_roofline(
                    _of_batch(engines[one.name], one.batch),
                    done.samples.get(f"{index}.inference_ms"),
                    _part(on_progress, index, len(records)),
                )
                records[index] = msgspec.structs.replace(one, roofline=found)
                samples |= {f"{index}.roofline.{name}": column for name, column in _columns(layers).items()}
                continue
            except EdgesegError as error:
                note = error.message
            except ImportError as error:
                note = f"It needs the package '{error.name}', which is not installed."
            except KeyboardInterrupt:
                stopped = True
            except Exception as error:  # Whatever is wrong with a library: the benchmark is there, and stays.
                logger.debug("No roofline of %s.", one.name, exc_info=True)
                note = f"{type(error).__name__}: {error}"
        records[index] = msgspec.structs.replace(one, roofline_note=note)
    return Benchmark(msgspec.structs.replace(done.record, engines=tuple(records)), samples)


def _of_batch(engine: Engine, batch: int) -> Engine:
    """The engine for as many frames at once as it was measured with."""
    return Engine(engine.path, msgspec.structs.replace(engine.card, batch=batch))


def _columns(layers: Sequence[Layer]) -> dict[str, npt.NDArray[Any]]:
    """A column for each field; of times that are not told, NaN."""
    return {
        name: np.array([np.nan if (value := getattr(layer, name)) is None else value for layer in layers])
        for name in COLUMNS
    }


def _part(on_progress: OnProgress, index: int, count: int) -> OnProgress:
    return lambda share, what: on_progress((index + share) / count, what)
