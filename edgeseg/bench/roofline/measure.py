"""The roofline of one engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseg.backends import Backend, Engine, open_backend
from edgeseg.bench.roofline.attribute import layers_of
from edgeseg.bench.roofline.ceilings import measure_ceilings
from edgeseg.bench.roofline.structs import Ceilings, Layer, Roofline
from edgeseg.build.store import graph_beside
from edgeseg.errors import UsageError
from edgeseg.graph.batch import set_batch
from edgeseg.graph.io import load_graph

__all__ = ["measure_roofline"]

#: Layers that a record names.
NAMED = 10
#: A layer that is faster than its ceiling by less is at its ceiling.
NOISE = 0.05
OnProgress = Callable[[float, str], None]


def measure_roofline(
    engine: Engine, inferences_ms: npt.NDArray[Any] | None, on_progress: OnProgress = lambda *_: None
) -> tuple[Roofline, tuple[Layer, ...]]:
    """An engine's roofline, and all its layers in the order of the graph.

    Args:
        engine: Any; of native code, with its graph beside it.
        inferences_ms: Milliseconds of each of its inferences.
        on_progress: Told the share done, 0 to 1, and what is under way.

    Raises:
        UsageError: Ceilings of what it computes on are not measured, its graph is missing, or there are no inferences.
        EdgesegError: The library refuses the networks that the ceilings are measured with.
        ModelFileError: The shapes of the engine's graph can't be told.
    """
    card = engine.card
    backend = open_backend(card.backend)
    processor = backend.processor(card)
    if processor is None:
        raise UsageError(f"Ceilings of what this engine of {card.backend} computes on are not measured.")
    if inferences_ms is None or not len(inferences_ms):
        raise UsageError("No inference was measured.")
    graph = _graph(engine, backend)
    on_progress(0.0, f"layers of {engine.path.name}")
    kernels = backend.profile(engine)
    ceilings = measure_ceilings(
        card.backend, processor, card.float_precision, lambda share, what: on_progress(0.1 + 0.9 * share, what)
    )
    layers = layers_of(graph, kernels, ceilings, card.float_precision)
    on_progress(1.0, f"roofline of {engine.path.name}")
    return _roofline(ceilings, layers, float(np.median(inferences_ms))), layers


def _roofline(ceilings: Ceilings, layers: tuple[Layer, ...], inference_ms: float) -> Roofline:
    bound_ms = sum(layer.bound_ms for layer in layers)
    slow = sorted((layer for layer in layers if layer.measured_ms), key=lambda layer: -layer.lost_ms)
    return Roofline(
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


def _graph(engine: Engine, backend: Backend) -> ir.Model:
    """The graph that an engine was built from, with the shapes of as many frames as it takes."""
    path = graph_beside(engine.path) if backend.native else engine.path
    if not path.is_file():
        raise UsageError(
            f"The graph is missing that {engine.path.name} was built from: {path.name}.",
            hint="Build the engine anew, which keeps its graph beside it: edgeseg build",
        )
    graph = load_graph(path)
    shape = graph.graph.inputs[0].shape
    return graph if shape is None or shape.is_static() else set_batch(graph, engine.card.batch)
