"""Rooflines of the engines of a benchmark, measured when their samples are there, so that these are not spoiled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edgeseg.backends import Engine, open_backend
from edgeseg.backends.onnx_file import OnnxFileBackend
from edgeseg.bench.roofline.attribute import layers_of
from edgeseg.bench.roofline.ceilings import measure_ceilings
from edgeseg.bench.roofline.structs import COLUMNS, Layer, Roofline
from edgeseg.bench.runner import Benchmark
from edgeseg.errors import EdgesegError, UsageError
from edgeseg.graph.io import load_graph

__all__ = ["add_rooflines", "measure_roofline"]

logger = logging.getLogger(__name__)
#: Layers that a record names.
NAMED = 10
#: A layer that is faster than its ceiling by less is at its ceiling.
NOISE = 0.05
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
                found, layers = measure_roofline(
                    engines[one.name],
                    done.samples.get(f"{index}.inference_ms"),
                    _part(on_progress, index, len(records)),
                )
                records[index] = msgspec.structs.replace(one, roofline=found)
                samples |= {f"{index}.roofline.{name}": column for name, column in _columns(layers).items()}
                continue
            except EdgesegError as error:
                note = error.message
            except KeyboardInterrupt:
                stopped = True
            except Exception as error:  # Whatever is wrong with a library: the benchmark is there, and stays.
                logger.debug("No roofline of %s.", one.name, exc_info=True)
                note = f"{type(error).__name__}: {error}"
        records[index] = msgspec.structs.replace(one, roofline_note=note)
    return Benchmark(msgspec.structs.replace(done.record, engines=tuple(records)), samples)


def measure_roofline(
    engine: Engine, inferences_ms: npt.NDArray[Any] | None, on_progress: OnProgress = lambda *_: None
) -> tuple[Roofline, tuple[Layer, ...]]:
    """An engine's roofline, and all its layers in the order of the graph.

    Args:
        engine: Of a library that takes ONNX files.
        inferences_ms: Milliseconds of each of its inferences.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        UsageError: It is another library's, or there are no inferences.
        EdgesegError: The library refuses the networks that the ceilings are measured with.
        ModelFileError: The shapes of the engine's graph can't be told.
    """
    card = engine.card
    backend = open_backend(card.backend)
    if not isinstance(backend, OnnxFileBackend):
        raise UsageError(f"Ceilings of {card.backend} are not measured.", hint="Those of onnxruntime and openvino are.")
    if inferences_ms is None or not len(inferences_ms):
        raise UsageError("No inference was measured.")
    ceilings = measure_ceilings(card.backend, card.float_precision, lambda share, what: on_progress(share / 2, what))
    on_progress(0.5, f"layers of {engine.path.name}")
    layers = layers_of(load_graph(engine.path), backend.profile(engine), ceilings, card.float_precision)
    bound_ms, inference_ms = sum(layer.bound_ms for layer in layers), float(np.median(inferences_ms))
    slow = sorted((layer for layer in layers if layer.measured_ms), key=lambda layer: -layer.lost_ms)
    found = Roofline(
        ceilings=ceilings,
        macs=sum(layer.macs for layer in layers),
        bytes=sum(layer.bytes for layer in layers),
        bound_ms=bound_ms,
        inference_ms=inference_ms,
        share=bound_ms / inference_ms,
        layers=len(layers),
        above=sum((layer.share or 0.0) > 1 + NOISE for layer in layers),
        held_back_by=tuple(layer for layer in slow[:NAMED] if layer.lost_ms > 0),
    )
    on_progress(1.0, f"layers of {engine.path.name}")
    return found, layers


def _columns(layers: Sequence[Layer]) -> dict[str, npt.NDArray[Any]]:
    """A column for each field; of times that are not told, NaN."""
    return {
        name: np.array([np.nan if (value := getattr(layer, name)) is None else value for layer in layers])
        for name in COLUMNS
    }


def _part(on_progress: OnProgress, index: int, count: int) -> OnProgress:
    return lambda share, what: on_progress((index + share) / count, what)
