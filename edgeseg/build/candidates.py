"""The engines that a build tries: which graph on which backend."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import onnx_ir as ir

from edgeseg.backends import Backend, Engine, EngineOptions, installed_backends, open_backend
from edgeseg.build.recipe import BuildRecipe
from edgeseg.card import Dialect, Int8Recipe, Precision, Upsample
from edgeseg.errors import MissingDependency, UsageError
from edgeseg.graph.attach import attach_head_and_tail
from edgeseg.graph.io import graph_sha256, require_card, save_graph
from edgeseg.quantize.dialects import quantize_onnx
from edgeseg.quantize.ranges import Ranges

__all__ = ["Built", "Candidate", "Quantization", "build_candidate", "count_convs", "plan"]

HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Candidate:
    """One engine to be tried. A `reference` is measured and shown, and never picked."""

    backend: Backend
    precision: Precision
    dialect: Dialect
    role: Literal["candidate", "reference"]

    @property
    def is_baseline(self) -> bool:
        """It is float32 on ONNX Runtime, which all others are compared with."""
        return (self.backend.name, self.precision, self.dialect) == ("onnxruntime", "fp32", "float")

    @property
    def name(self) -> str:
        """Unique among the candidates of a build."""
        return f"{self.backend.name} {self.precision} {self.dialect}"


@dataclass(frozen=True)
class Quantization:
    """How a graph is quantized: a recipe, and the ranges that it goes with."""

    recipe: Int8Recipe
    ranges: Ranges


@dataclass(frozen=True)
class Built:
    """A candidate's engine.

    Attributes:
        quantization: None for float engines.
        graph_sha256: Canonical hash of the graph that it was built from.
        int8_convs, total_convs: Convolutions with Q/DQ on input and weights, and all.
        float_nodes: Convolutions and other heavy operators without.
    """

    candidate: Candidate
    engine: Engine
    quantization: Quantization | None
    graph_sha256: str
    int8_convs: int
    total_convs: int
    float_nodes: tuple[str, ...]


def plan(recipe: BuildRecipe) -> list[Candidate]:
    """What to build: the baseline first, then other references, then candidates with the likeliest fastest first.

    Raises:
        UsageError: No backend asked for runs that precision.
        MissingDependency: No engine library is installed.
    """
    backends = installed_backends() if recipe.backend == "auto" else [open_backend(recipe.backend)]
    if not backends:
        raise MissingDependency(
            "No engine library is installed.", hint="Install one: pip install 'edgeseg[onnxruntime,openvino,vision]'"
        )
    wanted = [
        Candidate(backend, recipe.precision, dialect, "candidate")
        for backend in backends
        for dialect in (backend.dialects if recipe.precision == "int8" else ("float",))
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
    candidate: Candidate, prepared: ir.Model, quantization: Quantization | None, upsample: Upsample, folder: Path
) -> Built:
    """Build one engine in a new folder inside `folder`.

    Raises:
        UsageError: No such calibrator or node.
        ModelFileError: The library refuses the graph, or the ranges are of other weights.
    """
    if quantization is None:
        graph = prepared
    else:
        graph = quantize_onnx(prepared, quantization.ranges, dialect=candidate.dialect, recipe=quantization.recipe)
    backend = candidate.backend
    whole = attach_head_and_tail(graph, head=backend.head, tail=backend.tail, upsample=upsample)
    card = require_card(whole)
    digest = graph_sha256(whole)
    height, width = card.fixed_size_hw
    own = Path(tempfile.mkdtemp(prefix=candidate.name.replace(" ", "-") + "-", dir=folder))
    source = own / "source.onnx"
    followed = card.int8 if quantization is not None else {}
    made_from = {**card.made_from, "engine_graph": digest}
    save_graph(whole, source, msgspec.structs.replace(card, int8=followed, made_from=made_from))
    options = EngineOptions(precision=candidate.precision if candidate.dialect == "float" else "fp32")
    name = f"{card.model}-{height}x{width}-{candidate.precision}-{backend.name}{backend.suffix}"
    engine = backend.build(source, own / name, options)
    source.unlink()
    return Built(candidate, engine, quantization, digest, *count_convs(whole))


def count_convs(engine_graph: ir.Model) -> tuple[int, int, tuple[str, ...]]:
    """Convolutions with Q/DQ on input and weights, all convolutions, and the names of heavy operators without."""
    convs = [node for node in engine_graph.graph if node.op_type in ("Conv", "ConvTranspose")]
    quantized = [node for node in convs if _is_quantized(node)]
    floats = tuple(
        node.name or node.op_type for node in engine_graph.graph if node.op_type in HEAVY and not _is_quantized(node)
    )
    return len(quantized), len(convs), floats


def _is_quantized(node: ir.Node) -> bool:
    producers = [value.producer() for value in node.inputs[:2] if value is not None]
    return len(producers) == 2 and all(made is not None and made.op_type == "DequantizeLinear" for made in producers)
