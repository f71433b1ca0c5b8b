"""The roofline of one engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.backends import Engine, open_backend
from edgeseg.backends.onnx_file import OnnxFileBackend
from edgeseg.bench.roofline.attribute import layers_of
from edgeseg.bench.roofline.ceilings import measure_ceilings
from edgeseg.bench.roofline.structs import Layer, Roofline
from edgeseg.errors import UsageError
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
