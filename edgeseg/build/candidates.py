"""The engines that a build tries: which graph on which backend."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import onnx_ir as ir

from edgeseg.backends import Backend, Engine, EngineOptions, installed_backends, open_backend
from edgeseg.backends.tensorrt.layers import read_layers, types_read
from edgeseg.build.engine_graph import Quantization, make_engine_graph
from edgeseg.build.recipe import BuildRecipe
from edgeseg.build.store import cache_beside, graph_beside
from edgeseg.card import Dialect, Precision
from edgeseg.errors import MissingDependency, UsageError
from edgeseg.files import write_bytes
from edgeseg.graph.io import graph_sha256, save_graph

__all__ = ["Built", "Candidate", "build_candidate", "plan"]

INSTALL = "Install one for the processor: pip install 'edgeseg[onnxruntime,openvino,vision]'"


@dataclass(frozen=True)
class Candidate:
    """One engine to be tried. A `reference` is measured and shown, and never picked.

    Attributes:
        spare_depthwise: Depthwise convolutions stay in float too.
        own_tail: The graph ends with its logits, and the backend picks the best class.
    """

    backend: Backend
    precision: Precision
    dialect: Dialect
    role: Literal["candidate", "reference"]
    spare_depthwise: bool = False
    own_tail: bool = False

    @property
    def is_baseline(self) -> bool:
        """It is float32 on ONNX Runtime, which all others are compared with."""
        return (self.backend.name, self.precision, self.dialect) == ("onnxruntime", "fp32", "float")

    @property
    def name(self) -> str:
        """Unique among the candidates of a build."""
        spared = f", depthwise in {self.backend.rest}" if self.spare_depthwise else ""
        tail = ", own tail" if self.own_tail else ""
        return f"{self.backend.name} {self.precision} {self.dialect}{spared}{tail}"


@dataclass(frozen=True)
class Built:
    """A candidate's engine.

    Attributes:
        quantization: None for float engines.
        graph_sha256: Canonical hash of the graph that it was built from.
        int8_convs, total_convs: Convolutions with Q/DQ on input and weights, and all.
        float_nodes: Convolutions and other heavy operators without.
        not_int8: Convolutions with Q/DQ that the library runs in float all the same, where it tells.
    """

    candidate: Candidate
    engine: Engine
    quantization: Quantization | None
    graph_sha256: str
    int8_convs: int
    total_convs: int
    float_nodes: tuple[str, ...]
    not_int8: tuple[str, ...] = ()


def plan(recipe: BuildRecipe) -> list[Candidate]:
    """What to build: the baseline first, then other references, then candidates with the likeliest fastest first.

    Raises:
        UsageError: No backend asked for runs that precision.
        MissingDependency: No engine library is installed.
    """
    if recipe.backend == "auto":
        found = {backend: backend.obstacle() for backend in installed_backends()}
        backends = [backend for backend, obstacle in found.items() if not obstacle]
        if found and not backends:
            reasons = "; ".join(f"{backend.name}: {obstacle}" for backend, obstacle in found.items())
            raise MissingDependency(f"No installed engine library can run here: {reasons}.", hint=INSTALL)
    else:
        backends = [open_backend(recipe.backend)]
    if not backends:
        raise MissingDependency("No engine library is installed.", hint=INSTALL)
    wanted = [
        Candidate(backend, recipe.precision, dialect, "candidate", spare)
        for backend in backends
        for dialect in (backend.dialects if recipe.precision == "int8" else ("float",))
        for spare in ((False, True) if recipe.precision == "int8" and _may_spare(backend, recipe) else (False,))
        if recipe.precision == "int8" or recipe.precision in backend.floats
    ]
    if not wanted:
        possible = sorted({"int8", *(precision for backend in backends for precision in backend.floats)})
        names = ", ".join(backend.name for backend in backends)
        raise UsageError(
            f"{names} can't run {recipe.precision} on this machine.",
            hint="Possible here: " + ", ".join(f"--{precision}" for precision in possible) + ".",
        )
    return sorted([*_references(backends, wanted), *wanted], key=lambda one: not one.is_baseline)


def _may_spare(backend: Backend, recipe: BuildRecipe) -> bool:
    """Whether INT8 is also tried with depthwise convolutions in float; a calibration cache can't say so."""
    return backend.spares_depthwise and not backend.wants_cache(EngineOptions(tensorrt=recipe.tensorrt))


def _references(backends: list[Backend], wanted: list[Candidate]) -> list[Candidate]:
    """Float32 on ONNX Runtime, which everything is compared with, and the float engines of the backends asked for."""
    known = {backend.name: backend for backend in backends}
    if "onnxruntime" not in known:
        known = {"onnxruntime": open_backend("onnxruntime"), **known}
    everything = [
        Candidate(backend, precision, "float", "reference")
        for backend in known.values()
        for precision in backend.floats
    ]
    taken = {candidate.name for candidate in wanted}
    return [candidate for candidate in everything if candidate.name not in taken]


def build_candidate(
    candidate: Candidate,
    prepared: ir.Model,
    quantization: Quantization | None,
    recipe: BuildRecipe,
    folder: Path,
    on_progress: Callable[[float, str], None] = lambda *_: None,
) -> Built:
    """Build one engine in a new folder inside `folder`.

    Args:
        candidate: What to build.
        prepared: The float graph.
        quantization: How it is quantized; None for float engines.
        recipe: Its tail, and options of the library.
        folder: Gets the new folder.
        on_progress: Told the share done of what the library is at, 0 to 1, and its name.

    Raises:
        UsageError: No such calibrator or node.
        ModelFileError: The library refuses the graph, or the ranges are of other weights.
    """
    backend = candidate.backend
    precision = candidate.precision if candidate.dialect == "float" else backend.rest
    options = EngineOptions(precision=precision, tensorrt=recipe.tensorrt)
    graph = make_engine_graph(
        prepared,
        quantization,
        candidate.dialect,
        backend,
        options,
        spare_depthwise=candidate.spare_depthwise,
        tail="outside" if candidate.own_tail else backend.tail,
        upsample=recipe.upsample,
    )
    card, digest = graph.card, graph_sha256(graph.model)
    height, width = card.fixed_size_hw
    own = Path(tempfile.mkdtemp(prefix=candidate.name.replace(" ", "-") + "-", dir=folder))
    source = own / "source.onnx"
    card = msgspec.structs.replace(
        card,
        int8=card.int8 if quantization is not None else {},
        made_from={**card.made_from, "engine_graph": digest, "recipe": recipe.sha256()},
        dialect=candidate.dialect,
        measured={**card.measured, **graph.told},
    )
    save_graph(graph.model, source, card)
    name = f"{card.model}-{height}x{width}-{candidate.precision}-{backend.name}{backend.suffix}"
    if graph.cache is not None:
        write_bytes(cache_beside(own / name), graph.cache)
        options = dataclasses.replace(options, calibration=cache_beside(own / name))
    engine = backend.build(source, own / name, options, on_progress)
    if backend.native:
        source.replace(graph_beside(engine.path))
    else:
        source.unlink()
    missed = _not_int8(engine, graph.quantized)
    return Built(
        candidate, engine, quantization, digest, len(graph.quantized), graph.total_convs, graph.float_nodes, missed
    )


def _not_int8(engine: Engine, quantized: Collection[str]) -> tuple[str, ...]:
    """Those of the quantized convolutions that an engine is told to read in another type than INT8."""
    types = types_read(read_layers(engine.path), quantized)
    return tuple(name for name in quantized if types.get(name, "int8") != "int8")
